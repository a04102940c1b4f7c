"""Hyperparameters: which there are, their ranges, and what of them XGBoost itself is to see.

Names and ranges are the developer guide's "XGBoost hyperparameters" [D], with the container's own checks [S], in the
container's words.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .errors import UserError

_WHOLE = {
    "num_round": "[1, +inf)",
    "csv_weights": "[0, 1]",
    "early_stopping_rounds": "[1, +inf)",
    "verbosity": "[0, 3]",
    "nthread": "[1, +inf)",
    "max_depth": "[0, +inf)",
    "refresh_leaf": "[0, 1]",
    "max_leaves": "[0, +inf)",
    "max_bin": "[0, +inf)",
    "one_drop": "[0, 1]",
    "num_class": "[2, +inf)",
    "seed": "(-2147483648, 2147483647)",
    "num_parallel_tree": "[1, +inf)",
    "_kfold": "[2, +inf)",
    "_num_cv_round": "[1, +inf)",
}
_REAL = {
    "eta": "[0, 1]",
    "gamma": "[0, +inf)",
    "min_child_weight": "[0, +inf)",
    "max_delta_step": "[0, +inf)",
    "subsample": "(0, 1]",
    "colsample_bytree": "(0, 1]",
    "colsample_bylevel": "(0, 1]",
    "colsample_bynode": "(0, 1]",
    "lambda": "[0, +inf)",
    "alpha": "[0, +inf)",
    "sketch_eps": "(0, 1)",
    "scale_pos_weight": "(0, +inf)",
    "rate_drop": "[0, 1]",
    "skip_drop": "[0, 1]",
    "lambda_bias": "[0, 1]",
    "tweedie_variance_power": "(1, 2)",
    "base_score": "[0, +inf)",
    "aft_loss_distribution_scale": "[0, +inf)",
}
_BOOLEAN = ("true", "false")
_CHOICE = {
    "booster": ("gbtree", "gblinear", "dart"),
    "tree_method": ("auto", "exact", "approx", "hist", "gpu_hist"),
    "dsplit": ("row", "col"),
    "process_type": ("default", "update"),
    "grow_policy": ("depthwise", "lossguide"),
    "predictor": ("auto", "cpu_predictor", "gpu_predictor"),
    "sample_type": ("uniform", "weighted"),
    "normalize_type": ("tree", "forest"),
    "sampling_method": ("uniform", "gradient_based"),
    "aft_loss_distribution": ("normal", "logistic", "extreme"),
    "save_model_on_termination": _BOOLEAN,
    "deterministic_histogram": _BOOLEAN,
    "use_dask_gpu_training": _BOOLEAN,
    "objective": (
        *("binary:logistic", "binary:logitraw", "binary:hinge", "count:poisson", "multi:softmax", "multi:softprob"),
        *("rank:pairwise", "rank:ndcg", "rank:map", "reg:linear", "reg:squarederror", "reg:logistic", "reg:gamma"),
        *("reg:pseudohubererror", "reg:squaredlogerror", "reg:absoluteerror", "reg:tweedie"),
        *("survival:aft", "survival:cox"),
    ),
}
_LITERAL = ("monotone_constraints", "interaction_constraints")
_AS_TEXT = frozenset({*_CHOICE, *_LITERAL, "updater"})
_ALIASES = {"learning_rate": "eta", "min_split_loss": "gamma", "reg_lambda": "lambda", "reg_alpha": "alpha"}

#: Metrics that are the better the higher they are.
MAXIMIZED = frozenset({
    *("accuracy", "auc", "aucpr", "balanced_accuracy", "f1", "f1_binary", "f1_macro", "map", "ndcg", "precision", "r2"),
    *("recall", "precision_macro", "precision_micro", "recall_macro", "recall_micro"),
})  # fmt: skip
_MINIMIZED = frozenset({
    *("aft-nloglik", "cox-nloglik", "error", "gamma-deviance", "gamma-nloglik", "interval-regression-accuracy"),
    *("logloss", "mae", "mape", "merror", "mlogloss", "mphe", "mse", "poisson-nloglik", "rmse", "rmsle"),
    "tweedie-nloglik",
})  # fmt: skip
_WITH_THRESHOLD = ("error", "ndcg", "map")

_LAST_WITH_SILENT = (0, 72)

# What XGBoost's newest release has under another name, or no more: it has chosen the same by itself since 2.0.
_GONE = ("predictor", "dsplit", "sketch_eps", "deterministic_histogram")


@dataclass(frozen=True)
class Parameters:
    """Hyperparameters that have been checked.

    :param rounds: how many rounds to train in all.
    :param booster: what XGBoost's own ``train`` takes.
    :param metrics: to be computed each round, in order; none: the objective's own.
    :param early_stopping: rounds without a better validation metric; 0: no early stopping.
    :param csv_weights: whether the second column of CSV data is the rows' weight.
    :param keep_model: whether the model of each round is saved, so that a job that is stopped has one.
    """

    rounds: int
    booster: dict[str, Any]
    metrics: tuple[str, ...]
    early_stopping: int
    csv_weights: bool
    keep_model: bool


def parse(given: Mapping[str, str], release: tuple[int, int] = (3, 0)) -> Parameters:
    """Check hyperparameters.

    :param given: as hyperparameters.json has them: all text.
    :param release: of the container.
    :raises UserError: for the first that is wrong, missing, or not known.
    """
    texts = {_ALIASES.get(name, name): text for name, text in given.items()}
    if release <= _LAST_WITH_SILENT:
        texts.pop("silent", None)
    if "num_round" not in texts:
        raise UserError("Missing required hyperparameter: num_round")
    values = {name: _value(name, text) for name, text in texts.items()}
    _check_together(values)
    metrics = list(values.pop("eval_metric", ()))
    objective_metric = values.pop("_tuning_objective_metric", None)
    if objective_metric is not None and objective_metric not in metrics:
        metrics.append(objective_metric)
    for name in _GONE:
        values.pop(name, None)
    return Parameters(
        rounds=values.pop("num_round"),
        metrics=tuple(metrics),
        early_stopping=values.pop("early_stopping_rounds", 0),
        csv_weights=bool(values.pop("csv_weights", 0)),
        keep_model=values.pop("save_model_on_termination", "false") == "true",
        booster=values,
    )


def _value(name: str, text: str) -> Any:
    for kind, convert in ((_WHOLE, int), (_REAL, float)):
        if name in kind:
            return _in_range(name, _parsed(name, text, convert), kind[name])
    if name in _CHOICE and text not in _CHOICE[name]:
        raise UserError(f"Hyperparameter {name}: {text} is not in {list(_CHOICE[name])}")
    if name in _LITERAL:
        _parsed(name, text, ast.literal_eval)
    if name == "eval_metric":
        return [_metric(each.strip()) for each in text.split(",")]
    if name == "_tuning_objective_metric":
        return _metric(text.partition(":")[2])
    if name not in _AS_TEXT:
        raise UserError(f"Extraneous hyperparameter found: {name}")
    return text


def _parsed(name: str, text: str, convert: Callable[[str], Any]) -> Any:
    try:
        return convert(text)
    except (ValueError, SyntaxError) as error:
        raise UserError(f"Hyperparameter {name}: could not parse value") from error


def _in_range(name: str, value: float, interval: str) -> float:
    low, high = (float(end) for end in interval[1:-1].split(","))
    above = value >= low if interval[0] == "[" else value > low
    below = value <= high if interval[-1] == "]" else value < high
    if not (above and below):
        raise UserError(f"Hyperparameter {name}: {value} is not in {interval}")
    return value


def _metric(name: str) -> str:
    kind, at, threshold = name.partition("@")
    if at and kind in _WITH_THRESHOLD:
        _parsed("eval_metric", threshold, lambda text: float(text.rstrip("-")))
    elif name not in MAXIMIZED | _MINIMIZED:
        raise UserError(f"Hyperparameter eval_metric: value {name!r} not in range {sorted(MAXIMIZED | _MINIMIZED)}")
    return name


def _check_together(values: Mapping[str, Any]) -> None:
    objective = values.get("objective", "reg:squarederror")
    if objective.startswith("multi:") and "num_class" not in values:
        raise UserError("Require input for parameter 'num_class' for multi-classification")
    metrics = values.get("eval_metric", ())
    if "auc" in metrics and not objective.startswith(("binary:", "rank:")):
        raise UserError("Metric 'auc' can only be applied for classification and ranking problems.")
    if "_kfold" in values or "_num_cv_round" in values:
        raise UserError("_kfold and _num_cv_round (cross validation) are not implemented by Local SageMaker")
    if values.get("use_dask_gpu_training") == "true" or values.get("tree_method") == "gpu_hist":
        raise UserError("training on GPUs is not implemented by Local SageMaker's built-in XGBoost")
