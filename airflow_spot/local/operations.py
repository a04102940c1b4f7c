"""The operations that Local SageMaker has. Each module exports its own; a new one is added here."""

from __future__ import annotations

from airflow_spot.local import (
    endpoints,
    invocations,
    models,
    processing,
    search,
    summaries,
    tags,
    training,
    transform,
    tuning,
)
from airflow_spot.local.api import Operations
from airflow_spot.local.wire_faults import S3_OPERATIONS

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
