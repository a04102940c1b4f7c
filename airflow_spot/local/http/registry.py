"""The operations and the kinds of resources that there are. Each room exports its own; a new one is added here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_spot.local.backend import Operations
from airflow_spot.local.faults.connection import S3_OPERATIONS
from airflow_spot.local.hosting import endpoints, invocations, model_packages, models
from airflow_spot.local.hosting.endpoint import ENDPOINTS
from airflow_spot.local.hosting.model_packages import MODEL_PACKAGE_GROUPS, MODEL_PACKAGES
from airflow_spot.local.hosting.models import ENDPOINT_CONFIGS, MODELS
from airflow_spot.local.offers import placement_scores, pricing, service_quotas, spot_prices
from airflow_spot.local.processing import operations as processing
from airflow_spot.local.processing.job import PROCESSING_JOBS
from airflow_spot.local.resources import listings, search, tags
from airflow_spot.local.storage.store import Kind
from airflow_spot.local.training import operations as training
from airflow_spot.local.training.job import TRAINING_JOBS
from airflow_spot.local.transform import operations as transform
from airflow_spot.local.transform.job import TRANSFORM_JOBS
from airflow_spot.local.tuning import operations as tuning
from airflow_spot.local.tuning.job import TUNING_JOBS

#: In the order in which the web page lists them.
KINDS: tuple[Kind[Any], ...] = (
    TRAINING_JOBS,
    PROCESSING_JOBS,
    TRANSFORM_JOBS,
    TUNING_JOBS,
    MODEL_PACKAGE_GROUPS,
    MODEL_PACKAGES,
    MODELS,
    ENDPOINT_CONFIGS,
    ENDPOINTS,
)

OPERATIONS: Operations = {
    **training.OPERATIONS,
    **processing.OPERATIONS,
    **transform.OPERATIONS,
    **tuning.OPERATIONS,
    **model_packages.OPERATIONS,
    **models.OPERATIONS,
    **endpoints.OPERATIONS,
    **listings.OPERATIONS,
    **tags.OPERATIONS,
    **search.OPERATIONS,
}

#: What tells prices, capacity and quotas: by the service that a request is signed for.
OFFERS: Mapping[str, Operations] = {
    "pricing": pricing.OPERATIONS,
    "servicequotas": service_quotas.OPERATIONS,
    "ec2": {**spot_prices.OPERATIONS, **placement_scores.OPERATIONS},
}

#: What is asked for permissions and images, and answered elsewhere; calls of it are recorded, and can fail.
RECORDED = frozenset({"iam:GetRole", "iam:SimulatePrincipalPolicy", "ecr:DescribeImages"})

#: What a fault plan can strike.
STRIKABLE = frozenset(
    {
        *OPERATIONS,
        *invocations.OPERATIONS.values(),
        *(f"s3:{name}" for name in S3_OPERATIONS),
        *(f"{service}:{name}" for service, operations in OFFERS.items() for name in operations),
        *RECORDED,
    }
)
