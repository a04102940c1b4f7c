"""
Trainers of the SageMaker SDK as a task's config: 2.x Estimators and their subclasses, 3.x ModelTrainer.

It runs where the SDK is installed, which need not be where Airflow is. ``airflow-spot export`` is its command.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from airflow_spot.core.sdk_request import as_config
from airflow_spot.sdk.capture import Kept, held_back
from airflow_spot.sdk.trainers import ExportError, ask

__all__ = ["ExportError", "from_estimator"]


def from_estimator(
    trainer: Any,
    inputs: Any = None,
    *,
    upload: bool = True,
    tell: Callable[[str], Any] = lambda line: None,
) -> dict[str, Any]:
    """
    Return the config that trains as a trainer of the SDK would, and train nothing.

    The SDK itself makes the request, as ``fit()`` or ``train()`` does; the call that would create the job is held
    back. Its code is uploaded to a key made of its content, so that two exports of the same give the same config. It
    calls AWS as the SDK does, for a role and its default bucket: call it in a task, not where a DAG is parsed.

    :param trainer: an Estimator or one of its subclasses (2.x), or a ModelTrainer (3.x).
    :param inputs: as the trainer takes them; or S3 URIs by channel, or one alone.
    :param upload: False uploads nothing: the config is complete, its code is not there.
    :param tell: takes a line for each thing that was changed.
    :raises ExportError: it is no trainer, or asks SageMaker for no job, as with ``instance_type="local"``.
    """
    with tempfile.TemporaryDirectory() as folder:
        kept = Kept(Path(folder))
        with held_back(kept):
            ask(trainer, inputs, kept)
        made = as_config(kept.request or {}, kept.uploads(), kept.digest())
        for line in made.told:
            tell(line)
        if upload and made.keys:
            tell(kept.send(made.keys))
    return dict(made.config)
