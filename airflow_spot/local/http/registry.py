"""The operations that Local SageMaker has. Each module exports its own; a new one is added here."""

from __future__ import annotations

from airflow_spot.local.backend import Operations
from airflow_spot.local.faults.connection import S3_OPERATIONS
from airflow_spot.local.hosting import endpoints, invocations, models
from airflow_spot.local.processing import operations as processing
from airflow_spot.local.resources import listings as summaries
from airflow_spot.local.resources import search, tags
from airflow_spot.local.training import operations as training
from airflow_spot.local.transform import operations as transform
from airflow_spot.local.tuning import operations as tuning

OPERATIONS: Operations = {
    **training.OPERATIONS,
    **processing.OPERATIONS,
    **transform.OPERATIONS,
    **tuning.OPERATIONS,
    **models.OPERATIONS,
    **endpoints.OPERATIONS,
    **summaries.OPERATIONS,
    **tags.OPERATIONS,
    **search.OPERATIONS,
}

#: What a fault plan can strike.
STRIKABLE = frozenset({*OPERATIONS, *invocations.OPERATIONS.values(), *(f"s3:{name}" for name in S3_OPERATIONS)})
