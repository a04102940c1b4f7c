"""The log's lines, and the metrics that XGBoost has not."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from airflow_spot.local.builtin.xgb import metrics


def test_a_line() -> None:
    log = {"train": {"rmse": [9.0, 0.123456], "mae": [9.0, 2]}, "validation": {"rmse": [9.0, 1e-7]}}
    assert metrics.line(41, log) == "[41]#011train-rmse:0.12346#011train-mae:2.00000#011validation-rmse:0.00000"


@pytest.mark.parametrize(
    ("name", "objective", "labels", "predictions", "value"),
    [
        ("accuracy", "binary:logistic", [0, 1, 1, 1], [0.2, 0.9, 0.4, 0.6], 0.75),
        ("accuracy", "binary:logitraw", [0, 1, 1, 1], [-2, 0.1, -0.1, 3], 0.75),
        ("accuracy", "multi:softmax", [0, 2, 1, 2], [0, 2, 2, 2], 0.75),
        ("accuracy", "multi:softprob", [0, 1], [[0.6, 0.3, 0.1], [0.1, 0.2, 0.7]], 0.5),
        ("balanced_accuracy", "binary:logistic", [0, 1, 1, 1], [0.2, 0.9, 0.4, 0.6], 5 / 6),
        ("mse", "reg:squarederror", [1, 2], [1, 4], 2),
        ("r2", "reg:squarederror", [1, 3], [1, 3], 1),
        ("f1_binary", "binary:logistic", [0, 1, 1, 1], [0.2, 0.9, 0.4, 0.6], 0.8),
        ("f1", "multi:softmax", [0, 1], [0, 0], 1 / 3),
        ("precision", "binary:hinge", [0, 1], [1, 1], 0.5),
        ("recall_macro", "multi:softmax", [0, 1, 2], [0, 1, 1], 2 / 3),
        ("recall_micro", "multi:softmax", [0, 1, 2, 2], [0, 1, 1, 1], 0.5),
    ],
)
def test_values(name: str, objective: str, labels: list[int], predictions: list[object], value: float) -> None:
    pytest.importorskip("sklearn")
    compute = metrics.more(("rmse", name), objective)
    assert compute is not None
    found = compute(np.array(predictions), SimpleNamespace(get_label=lambda: np.array(labels)))
    assert found == [(name, pytest.approx(value))]


def test_xgboosts_own_are_left_to_it() -> None:
    assert metrics.more(("rmse", "auc"), "binary:logistic") is None
