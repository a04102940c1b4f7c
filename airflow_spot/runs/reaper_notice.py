"""Whether a reaper runs in this deployment: a job can outlive its task where nobody is there to stop it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone

from airflow_spot.observers import Log

VARIABLE = "airflow_spot_reaper_ran"
#: A reaper that has not run for so long is taken for none.
DAY = timedelta(days=1)


def note_run(now: datetime, log: Log, write: Callable[[str, str, str], None] | None = None) -> None:
    """Note that a reaper has run: the runs of this deployment look for it. Raises nothing."""
    try:
        if write is None:
            from airflow_spot.compat import variables

            write = variables.write_variable
        write(VARIABLE, now.isoformat(timespec="seconds"), "When airflow_spot's reaper last ran.")
    except Exception as error:
        log.info("The Variable %s could not be written (%s): runs will say that no reaper has run", VARIABLE, error)


def warn_without_reaper(now: datetime, log: Log, read: Callable[[str], str | None] | None = None) -> None:
    """Warn at a try's start that no reaper has run for a day. Raises nothing, and is silent where nobody knows."""
    try:
        if read is None:
            from airflow_spot.compat import variables

            read = variables.read_variable
        value = read(VARIABLE)
    except Exception:
        return
    if is_overdue(value, now):
        log.warning(
            "No reaper has run here for a day: a training job whose task is marked failed between two tries, or whose "
            "last worker is lost, trains to its max_run. See docs/operator.md, When a job can outlive its task"
        )


def is_overdue(value: str | None, now: datetime) -> bool:
    """
    Return whether the last reaper's run was more than a day ago, or there was none.

    :param value: what the Variable says; a person may have written anything.
    """
    try:
        ran = datetime.fromisoformat(value or "")
    except ValueError:
        return True
    if ran.tzinfo is None:
        ran = ran.replace(tzinfo=timezone.utc)
    return now - ran > DAY
