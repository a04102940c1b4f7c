"""A triggerer that cannot see a job which its worker sees."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from airflow_spot.core.outcomes import ENDED_STATUSES

#: For so long the worker looks for itself; then the triggerer is asked again. To defer at once would be answered at
#: once, again and again, for as long as the job trains.
POLL_SECONDS = 1800.0


def blind_triggerer(event: Mapping[str, Any], find: Callable[[str], Mapping[str, Any] | None]) -> str | None:
    """
    Return why the triggerer could not see the job that it was to wait for; None where it could.

    :param event: what it fired with.
    :param find: describes a job, as the worker sees it; called where the triggerer found none.
    """
    status, name = event.get("status"), event.get("job_name")
    if status == "access_denied":
        return f"Triggerer has no permission to describe the job ({event.get('message')})"
    if status != "not_found" or not name:
        return None
    found = find(name)
    if found is None or found["TrainingJobStatus"] in ENDED_STATUSES:
        return None
    return (
        f"Triggerer does not find training job {name}, which this worker sees {found['TrainingJobStatus']}: the two "
        "look in different regions or accounts. Give them the same connection, or the operator region_name"
    )
