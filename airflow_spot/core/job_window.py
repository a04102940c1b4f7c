"""Since when a job must have been created to matter: what is older is not listed. Pure."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from airflow_spot.core.spot_rules import MAX_WAIT_LIMIT

#: No job of ours is live for longer: ``max_wait`` is held to a limit, an on-demand job waits for at most 56 days (until
#: its training plan begins) and runs for 28, and SageMaker gives any job two days to stop and upload. Source:
#: StoppingCondition in SageMaker's API reference.
LONGEST_LIFE = timedelta(seconds=MAX_WAIT_LIMIT) + timedelta(days=6)
#: Between our clock, the scheduler's and SageMaker's, with room for a time zone that somebody got wrong.
_RUN_MARGIN = timedelta(days=1)
#: Behind a moment of SageMaker's own clock, or a list that lagged when it was asked.
RECENT_MARGIN = timedelta(minutes=15)

#: A DAG run's id as Airflow makes it: what began the run, and a moment that is in the id, so that a DAG run which is
#: deleted and made again under the same id has the same.
_OWN_ID = re.compile(r"[a-z_]+__(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{6})?)(Z|[+-]\d\d:\d\d)(?:_.*)?")


def live_since(now: datetime) -> datetime:
    """Return the moment since which every job was created that is live now."""
    return now - LONGEST_LIFE


def run_since(run_id: str, not_before: datetime | None, now: datetime) -> datetime | None:
    """
    Return a moment before which no job of a DAG run was created; None where nothing says.

    An id that somebody chose can come back with a DAG run that was deleted and made again, whose jobs are then the
    earlier one's too: none that may be live is left out for that.

    :param not_before: of the DAG run: when it could begin at the earliest, which a clear does not change.
    """
    if not_before is None:
        return None
    named = _moment_in(run_id)
    if named is None or named > now:
        named = live_since(now)
    return min(not_before, named) - _RUN_MARGIN


def _moment_in(run_id: str) -> datetime | None:
    match = _OWN_ID.fullmatch(run_id)
    if match is None:
        return None
    try:
        return datetime.fromisoformat(match[1] + match[2].replace("Z", "+00:00"))
    except ValueError:
        return None
