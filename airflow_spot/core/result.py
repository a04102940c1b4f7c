"""What a task returns: small, clean JSON, no secret in it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from airflow_spot.core.attempt import Attempt
from airflow_spot.core.history import History
from airflow_spot.core.money.prices import Prices
from airflow_spot.core.money.totals import total
from airflow_spot.core.parameter_errors import SECRET_ARGUMENTS, SECRET_FIELDS
from airflow_spot.core.secrets.redaction import redact_description
from airflow_spot.core.urls import without_credentials

#: The newest transitions of a job that a result holds: after 87 interruptions they alone would be 70 kilobytes.
TRANSITIONS_KEPT = 50
_LEFT_OUT = SECRET_FIELDS | {"ResponseMetadata"}


def json_clean(value: Any) -> Any:
    """Turn a response of boto3 into plain JSON: times become ISO 8601 text, and URLs lose their credentials."""
    if isinstance(value, str):
        return without_credentials(value)
    if isinstance(value, Mapping):
        return {str(key): json_clean(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_clean(inner) for inner in value]
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return None  # a metric that diverged: a database's JSON has neither NaN nor infinity
    return value if value is None or isinstance(value, (int, float, bool)) else str(value)


def without_secrets(description: Mapping[str, Any]) -> dict[str, Any]:
    """Return what DescribeTrainingJob said, without hyperparameters, environment and arguments, and their values."""
    told = redact_description(description)
    if isinstance(algorithm := told.get("AlgorithmSpecification"), Mapping):
        told["AlgorithmSpecification"] = {key: algorithm[key] for key in algorithm if key not in SECRET_ARGUMENTS}
    if len(transitions := told.get("SecondaryStatusTransitions") or ()) > TRANSITIONS_KEPT:
        told["SecondaryStatusTransitions"] = transitions[-TRANSITIONS_KEPT:]
    return {key: json_clean(value) for key, value in told.items() if key not in _LEFT_OUT}


def attempt_facts(attempt: Attempt, now: datetime, prices: Prices | None = None) -> dict[str, Any]:
    """Return what a task's result and the history say of one attempt."""
    return {
        "job_name": attempt.job_name,
        "instance_type": attempt.placement.instance_type,
        "instance_count": attempt.placement.instance_count,
        "spot": attempt.placement.spot,
        "outcome": attempt.outcome.value if attempt.outcome else "in_progress",
        "why": attempt.why,
        **total([attempt], now, prices).to_json(),
    }


def build_result(
    description: Mapping[str, Any],
    history: History,
    key: str,
    now: datetime,
    prices: Prices | None = None,
    model_s3_uri: str | None = None,
) -> dict[str, Any]:
    """
    Return a task's result. Its keys are fixed.

    :param description: of the winning job, as DescribeTrainingJob returned it.
    :param history: of its generation.
    :param key: the run key.
    :param now: until when a job that is handed over while it trains counts.
    :param prices: on-demand prices; without them no money.
    :param model_s3_uri: where the model was copied to, if it was.
    """
    types = [kind for attempt in history.attempts for kind, _ in attempt.placement.instances]
    return {
        "Training": without_secrets(description),
        "Spot": {
            "run": key,
            "generation": history.generation,
            "attempts": [attempt_facts(attempt, now, prices) for attempt in history.attempts],
            **total(history.attempts, now, prices, history.progress.lost).to_json(),
            "prices": prices.only(types).to_json() if prices is not None else None,
            "checkpoint_s3_uri": history.checkpoint_s3_uri or None,
            "model_artifacts": (description.get("ModelArtifacts") or {}).get("S3ModelArtifacts"),
            "model_s3_uri": model_s3_uri,
            "progress": history.reports.last.to_json() if history.reports.last else None,
        },
    }
