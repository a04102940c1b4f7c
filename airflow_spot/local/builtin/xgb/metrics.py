"""The log line of each round, and the metrics that the container has beside XGBoost's own.

A line is ``[12]#011train-rmse:0.12345#011validation-rmse:0.23456``. The container prints tabs; SageMaker's log shows
``#011`` for one, in all releases from 0.72 on [T], and so it is what AWS's metric expressions look for [T].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .errors import needs

TAB = "#011"


def line(number: int, log: Mapping[str, Mapping[str, list[Any]]]) -> str:
    """Return the line of a round.

    :param number: the round's, from 0.
    :param log: the values so far by data and metric, as XGBoost hands them to callbacks.
    """
    words = [f"{data}-{name}:{values[-1]:.5f}" for data, metrics in log.items() for name, values in metrics.items()]
    return TAB.join([f"[{number}]", *words])


def more(names: tuple[str, ...], objective: str) -> Callable[[Any, Any], list[tuple[str, float]]] | None:
    """Return XGBoost's ``custom_metric`` for those of the metrics that it has not; None if it has all.

    :param objective: decides how predictions become classes.
    :raises UserError: if scikit-learn, which computes them, is not there.
    """
    wanted = [name for name in names if name in MORE]
    if not wanted:
        return None
    try:
        from sklearn import metrics
    except ImportError as error:
        raise needs(f"scikit-learn for {', '.join(wanted)}", error) from error
    # XGBoost hands over margins, probabilities (one a row, or one a class), or the classes themselves.
    limit = 0.0 if objective == "binary:logitraw" else 0.5

    def compute(predictions: Any, data: Any) -> list[tuple[str, float]]:
        classes = predictions
        if predictions.ndim > 1:
            classes = predictions.argmax(axis=1)
        elif objective != "multi:softmax":
            classes = predictions > limit
        values = []
        for name in wanted:
            function, arguments = MORE[name]
            found = predictions if name in _OF_VALUES else classes
            values.append((name, float(getattr(metrics, function)(data.get_label(), found, **arguments))))
        return values

    return compute


_OF_VALUES = ("mse", "r2")
#: By name: scikit-learn's function, and its arguments.
MORE: dict[str, tuple[str, dict[str, Any]]] = {
    "accuracy": ("accuracy_score", {}),
    "balanced_accuracy": ("balanced_accuracy_score", {}),
    "mse": ("mean_squared_error", {}),
    "r2": ("r2_score", {}),
    "f1": ("f1_score", {"average": "macro"}),
    **{
        f"{name}{suffix}": (f"{name}_score", {"average": average, **more})
        for name, more in (("f1", {}), ("precision", {"zero_division": 0}), ("recall", {"zero_division": 0}))
        for suffix, average in (("_binary", "binary"), ("_macro", "macro"), ("_micro", "micro"))
    },
    "precision": ("precision_score", {"average": "binary", "zero_division": 0}),
    "recall": ("recall_score", {"average": "binary", "zero_division": 0}),
}
