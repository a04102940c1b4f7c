"""Hyperparameters are checked as the container checks them."""

from __future__ import annotations

import pytest

from airflow_spot.local.builtin.xgb.errors import UserError
from airflow_spot.local.builtin.xgb.parameters import parse

BASE = {"num_round": "10"}


def test_what_is_xgboosts_own_and_what_is_not() -> None:
    found = parse({
        **BASE,
        "learning_rate": "0.2",
        "max_depth": "5",
        "objective": "binary:logistic",
        "eval_metric": "error@0.3, auc",
        "_tuning_objective_metric": "validation:f1",
        "early_stopping_rounds": "3",
        "csv_weights": "1",
        "save_model_on_termination": "true",
        "predictor": "cpu_predictor",
        "interaction_constraints": "[[1, 2]]",
    })  # fmt: skip
    assert found.booster == {
        "eta": 0.2,
        "max_depth": 5,
        "objective": "binary:logistic",
        "interaction_constraints": "[[1, 2]]",
    }
    assert found.metrics == ("error@0.3", "auc", "f1")
    assert (found.rounds, found.early_stopping, found.csv_weights, found.keep_model) == (10, 3, True, True)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"num_round": ""}, "num_round: could not parse value"),
        ({"num_round": "0"}, r"num_round: 0 is not in \[1, \+inf\)"),
        ({"eta": "1.5"}, r"eta: 1.5 is not in \[0, 1\]"),
        ({"subsample": "0"}, r"subsample: 0.0 is not in \(0, 1\]"),
        ({"max_depth": "2.5"}, "max_depth: could not parse value"),
        ({"objective": "reg:rmse"}, "objective: reg:rmse is not in"),
        ({"objective": "multi:softmax"}, "Require input for parameter 'num_class'"),
        ({"eval_metric": "rmse,speed"}, "'speed' not in range"),
        ({"eval_metric": "error@x"}, "eval_metric: could not parse value"),
        ({"eval_metric": "auc"}, "'auc' can only be applied"),
        ({"monotone_constraints": "(1,"}, "monotone_constraints: could not parse value"),
        ({"silent": "1"}, "Extraneous hyperparameter found: silent"),
        ({"_kfold": "3"}, "cross validation"),
        ({"tree_method": "gpu_hist"}, "GPUs"),
    ],
)
def test_what_is_wrong_is_named(given: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse({**BASE, **given})


def test_the_number_of_rounds_is_needed() -> None:
    with pytest.raises(UserError, match="Missing required hyperparameter: num_round"):
        parse({"eta": "0.1"})


def test_the_oldest_release_knows_silent() -> None:
    assert parse({**BASE, "silent": "0"}, (0, 72)).booster == {}
