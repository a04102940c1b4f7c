"""Which of AWS's built-in algorithms keep no checkpoints: SageMaker lets such a spot job wait for an hour at most."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

#: MaxWaitTimeInSeconds of a built-in algorithm that does not checkpoint. Source: "Managed Spot Training" in the
#: SageMaker developer guide, which also names those that do: image classification, object detection, semantic
#: segmentation, and XGBoost from 0.90-1 on (repository sagemaker-xgboost).
MAX_WAIT_LIMIT = 3600

#: The repositories of those that do not; "xgboost" is XGBoost 0.72. Source: the developer guide's list of algorithms.
REPOSITORIES = frozenset(
    {
        "blazingtext",
        "factorization-machines",
        "forecasting-deepar",
        "ipinsights",
        "kmeans",
        "knn",
        "lda",
        "linear-learner",
        "ntm",
        "object2vec",
        "pca",
        "randomcutforest",
        "seq2seq",
        "xgboost",
    }
)

_ACCOUNTS = """
104374241257 106583098589 156387875391 174872318107 204372634319 224300973850 226302683700 237065988967
249704162688 257386234256 258307448986 266724342769 272398656194 286214385809 293181348795 297031611018
306986355934 351501993468 353608530281 364406365360 382416733822 387376663083 390948362332 404615174143
433757028032 438346466558 455444449433 469771592824 475088953585 490574956308 495149712605 501404015308
514117268639 522234722520 544295431143 566113047672 628508329040 632365934929 633353088612 644912444149
664544806723 669576153137 680994064768 685385470294 712309505854 749696950732 765400339828 766337827248
811284229777 813361260812 825641698319 835164637446 855470959533 867004704886 951798379941 991648021394
999678624901 999911452149
"""
#: AWS's accounts that hold these repositories, over all regions. An image of the same name in another account is
#: somebody's own. Source: the registry paths of the developer guide and of the SageMaker Python SDK.
ACCOUNTS = frozenset(_ACCOUNTS.split())

_IMAGE = re.compile(r"(?P<account>\d{12})\.dkr\.ecr(?:-fips)?\.[a-z0-9-]+\.[a-z.]+/(?P<repository>[^:@]+)(?:[:@].*)?")


def without_checkpoints(specification: Any) -> str | None:
    """
    Return the name of the built-in algorithm that a request trains, if it is one that keeps no checkpoints.

    An image that is not known to be AWS's is left alone, and so is an ``AlgorithmName``, which is an algorithm resource
    of the user's own or of AWS Marketplace: nothing tells whether it checkpoints.

    :param specification: the request's AlgorithmSpecification; values that are still templates are no match.
    """
    image = specification.get("TrainingImage") if isinstance(specification, Mapping) else None
    found = _IMAGE.fullmatch(image) if isinstance(image, str) else None
    if found is None or found["account"] not in ACCOUNTS or found["repository"] not in REPOSITORIES:
        return None
    return found["repository"]
