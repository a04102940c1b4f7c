"""What stands in for AWS's built-in algorithms: by image name, the program that a job's or endpoint's process runs.

Each program is a folder here that an interpreter runs by its path, in the environment that the service was started
for: airflow_spot need not be installed there, what the algorithm itself needs must.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_spot.local.builtin.metric_names import metrics_of

FOLDER = Path(__file__).parent

_XGBOOST = re.compile(r"(?:^|/)(?:[\w.-]*sagemaker-xgboost[\w.-]*|xgboost)(?::(?P<tag>[\w.-]+))?(?:@sha256:\w+)?$")
_LEGACY = (0, 72)
_NEWEST = (3, 0)
_LEGACY_TAGS = ("1", "latest")

# Those of the developer guide's table "Metrics Computed by the XGBoost Algorithm" [D], and what Describe showed for a
# job of 1.5-1 beside them [T].
_METRICS = (
    *("accuracy", "auc", "error", "f1", "logloss", "mae", "map", "merror", "mlogloss", "mse", "ndcg", "rmse"),
    *("cox-nloglik", "gamma-deviance", "gamma-nloglik", "poisson-nloglik", "r2"),
)


@dataclass(frozen=True)
class Algorithm:
    """A built-in algorithm in one of its releases.

    :param release: of the container, e.g. ``(1, 7)``.
    """

    release: tuple[int, int]

    def command(self, interpreter: Sequence[str]) -> list[str]:
        """Return what runs it; ``train`` or ``serve`` is to be added.

        :param interpreter: a Python that has the algorithm's packages.
        """
        return [*interpreter, str(FOLDER / "xgb"), ".".join(map(str, self.release))]

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """MetricDefinitions, which AWS has for its own algorithms: DescribeTrainingJob shows them [T]."""
        number = r"([-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)"
        return [
            {"Name": f"{channel}:{metric}", "Regex": rf".*\[[0-9]+\].*#011{channel}-{metric}:{number}.*"}
            for channel in ("train", "validation")
            for metric in _METRICS
        ]


def algorithm(image: str | None) -> Algorithm | None:
    """Return the built-in algorithm that an image holds, by its name; None for any other image.

    ``.../sagemaker-xgboost:1.7-1`` in all its releases, and ``.../xgboost:1`` or ``:latest``, which is 0.72 [D].
    """
    match = _XGBOOST.search(image or "")
    if match is None:
        return None
    tag = match["tag"] or ""
    if "sagemaker-xgboost" not in match[0]:
        return Algorithm(_LEGACY) if tag in _LEGACY_TAGS else None
    release = re.match(r"(\d+)\.(\d+)", tag)
    return Algorithm((int(release[1]), int(release[2])) if release else _NEWEST)


def metric_definitions(specification: Mapping[str, Any], hyperparameters: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the MetricDefinitions of a job: those given, else those that AWS has for the algorithm of its image.

    :param specification: an AlgorithmSpecification.
    :param hyperparameters: with a script among them, the image is a framework's.
    """
    return list(specification.get("MetricDefinitions") or _own_metrics(specification, hyperparameters))


def brings_metrics(specification: Mapping[str, Any], hyperparameters: Mapping[str, str]) -> bool:
    """Return whether a job's algorithm has metric definitions of AWS's own, which a request may not override [T]."""
    return bool(_own_metrics(specification, hyperparameters))


def _own_metrics(specification: Mapping[str, Any], hyperparameters: Mapping[str, str]) -> list[dict[str, Any]]:
    if "sagemaker_program" in hyperparameters or "ContainerEntrypoint" in specification:
        return []  # with a script, or a command, its image is a framework's
    image = specification.get("TrainingImage")
    known = algorithm(image)
    return known.metrics if known else metrics_of(image)
