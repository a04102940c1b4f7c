"""What a task returns: small, clean JSON, no secret in it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from airflow_spot.core.history import History
from airflow_spot.core.parameter_errors import SECRET_FIELDS
from airflow_spot.core.redaction import told
from airflow_spot.core.savings import savings_percent

_LEFT_OUT = SECRET_FIELDS | {"ResponseMetadata"}


def json_clean(value: Any) -> Any:
    """Turn a response of boto3 into plain JSON: times become ISO 8601 text."""
    if isinstance(value, Mapping):
        return {str(key): json_clean(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_clean(inner) for inner in value]
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return None  # a metric that diverged: a database's JSON has neither NaN nor infinity
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)


def without_secrets(description: Mapping[str, Any]) -> dict[str, Any]:
    """Give what DescribeTrainingJob said, without hyperparameters and environment, and their values."""
    return {key: json_clean(value) for key, value in told(description).items() if key not in _LEFT_OUT}


def build_result(description: Mapping[str, Any], history: History, key: str) -> dict[str, Any]:
    """
    Make a task's result.

    :param description: of the winning job, as DescribeTrainingJob returned it.
    :param history: of its generation.
    :param key: the run key.
    """
    attempts = [attempt.summary() for attempt in history.attempts]
    training = sum(attempt.training_seconds for attempt in history.attempts)
    billable = sum(attempt.billable_seconds for attempt in history.attempts)
    return {
        "Training": without_secrets(description),
        "Spot": {
            "run": key,
            "generation": history.generation,
            "attempts": attempts,
            "interruptions": sum(attempt.interruptions for attempt in history.attempts),
            "training_seconds": training,
            "billable_seconds": billable,
            "savings_percent": savings_percent(training, billable),
            "checkpoint_s3_uri": (description.get("CheckpointConfig") or {}).get("S3Uri"),
            "model_artifacts": (description.get("ModelArtifacts") or {}).get("S3ModelArtifacts"),
        },
    }
