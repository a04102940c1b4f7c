"""What a run's script reports of itself: read in the worker while a job trains, and once more after its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from airflow_spot.aws.script_progress import read_report
from airflow_spot.core.attempt import Attempt
from airflow_spot.core.events import Event, ScriptProgressed
from airflow_spot.core.history import History
from airflow_spot.core.run_state import WatchedReports
from airflow_spot.core.starts import training_since

if TYPE_CHECKING:
    from airflow_spot.hooks.training import SageMakerSpotTrainingHook


class ReportReader:
    """
    Reads the reports of a run's newest attempt. It fails nothing.

    :param expected: the script was sent along with ``airflow_spot.checkpoint``.
    :param tell: hears what is news.
    """

    def __init__(self, hook: SageMakerSpotTrainingHook, *, expected: bool, tell: Callable[[Event], None]) -> None:
        self._hook = hook
        self._expected = expected
        self._tell = tell

    def look(self, history: History, now: datetime) -> History:
        """Read what the script reports, where it is time to; at most one small object."""
        newest = history.live or history.last
        if newest is None or not newest.checkpoint_s3_uri or not self._is_due(newest, history, now):
            return history
        found = read_report(self._hook.s3_hook.get_conn, newest.checkpoint_s3_uri)
        reports, is_news = history.reports.take(found, now)
        if found is not None:
            self._tell(ScriptProgressed(newest.job_name, found, is_news))
        return replace(history, reports=reports)

    def _is_due(self, newest: Attempt, history: History, now: datetime) -> bool:
        if newest.live:
            due = history.reports.next_look(training_since(newest.starts), expected=self._expected)
            return due is not None and now >= due
        of_this_try = newest.whole and newest.number >= history.first_of_try
        return of_this_try and newest.trained and history.reports.is_last_due(newest.ended, expected=self._expected)

    def watched(self, attempt: Attempt) -> WatchedReports | None:
        """Return what the triggerer is to look at; None for nothing."""
        return WatchedReports(attempt.checkpoint_s3_uri, self._expected) if attempt.checkpoint_s3_uri else None
