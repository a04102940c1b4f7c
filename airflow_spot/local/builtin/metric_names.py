"""The metrics that AWS's built-in algorithms compute, beside XGBoost: what a tuning job may have as its objective.

The names are those of the developer guide's tables "Metrics computed by ..." [D]. The algorithms themselves do not run
here, the simulated engine stands in for them; their expressions are therefore nobody's, and assumed [A].
"""

from __future__ import annotations

import re
from typing import Any

from airflow_spot.local.settings import ACCOUNT

_LINEAR = (
    *("absolute_loss", "binary_classification_accuracy", "binary_f_beta", "dcg", "macro_f_beta", "macro_precision"),
    *("macro_recall", "mse", "multiclass_accuracy", "multiclass_top_k_accuracy", "objective_loss", "precision"),
    *("recall", "roc_auc_score"),
)
_NAMES: dict[str, tuple[str, ...]] = {
    "blazingtext": ("train:mean_rho", "validation:accuracy"),
    "factorization-machines": (
        "test:rmse",
        "test:binary_classification_accuracy",
        "test:binary_classification_cross_entropy",
        "test:binary_f_beta",
    ),
    "forecasting-deepar": ("test:RMSE", "test:mean_wQuantileLoss", "train:final_loss"),
    "image-classification": ("validation:accuracy", "train:accuracy"),
    "ipinsights": ("validation:discriminator_auc",),
    "kmeans": ("test:msd", "test:ssd"),
    "knn": ("test:accuracy", "test:mse"),
    "lda": ("test:pwll",),
    "linear-learner": (
        *(f"test:{name}" for name in _LINEAR),
        *(f"validation:{name}" for name in _LINEAR),
        "validation:rmse",
    ),
    "ntm": ("validation:total_loss",),
    "object-detection": ("validation:mAP",),
    "object2vec": (
        *("test:accuracy", "test:cross_entropy", "test:mean_squared_error"),
        *("validation:accuracy", "validation:cross_entropy", "validation:mean_squared_error"),
    ),
    "pca": ("test:mse",),
    "randomcutforest": ("test:f1",),
    "semantic-segmentation": ("validation:mIOU", "validation:pixel_accuracy"),
    "seq2seq": ("validation:accuracy", "validation:bleu", "validation:perplexity"),
}
#: Which accounts are AWS's is not looked at: any other than the service's own counts [A].
_IMAGE = re.compile(rf"(?!{ACCOUNT})\d{{12}}\.dkr\.ecr\.[\w.-]+/({'|'.join(_NAMES)})(?:[:@].*)?")


def metrics_of(image: str | None) -> list[dict[str, Any]]:
    """Return the MetricDefinitions of the built-in algorithm in an image; none for any other image."""
    found = _IMAGE.fullmatch(image or "")
    number = r"([-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)"
    return [
        {"Name": name, "Regex": rf".*#quality_metric.*{name.replace(':', ' ')} <loss>={number}"}
        for name in (_NAMES[found[1]] if found else ())
    ]
