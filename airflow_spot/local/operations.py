"""The operations that Local SageMaker has. Each module exports its own; a new one is added here."""

from __future__ import annotations

from airflow_spot.local import endpoints, models, processing, search, summaries, tags, training, transform, tuning
from airflow_spot.local.api import Operations

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
