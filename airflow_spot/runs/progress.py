"""Whether a run makes progress: by looks at its checkpoint folder, when a start ended, and now and then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from airflow_spot.aws.checkpoint_store import look_at
from airflow_spot.core.attempt import Attempt
from airflow_spot.core.builtin_algorithms import without_checkpoints
from airflow_spot.core.channels import writable_channel
from airflow_spot.core.events import CheckpointsSeen, Event, TrainedLong, of_finding
from airflow_spot.core.folder_look import FolderLook
from airflow_spot.core.history import History
from airflow_spot.core.plan import Plan
from airflow_spot.core.progress import Progress, ProgressRules, WatchedStarts, needs_look, take_in
from airflow_spot.core.run_state import WatchedFolder

if TYPE_CHECKING:
    from airflow_spot.hooks.training import SageMakerSpotTrainingHook

_OWN = "use_checkpoints=False: the script manages them"


class ProgressWatch:
    """
    Looks at the checkpoints of a run's attempts, and tells what it finds.

    It fails nothing: what cannot be seen says so.

    :param plan: the run's.
    :param tell: hears what was found.
    """

    def __init__(
        self, hook: SageMakerSpotTrainingHook, plan: Plan, rules: ProgressRules, tell: Callable[[Event], None]
    ) -> None:
        self._hook = hook
        self._plan = plan
        self._rules = rules
        self._tell = tell
        self._confirmed: tuple[int, int, int] | None = None

    def begin(self, history: History) -> Progress:
        """Return what is known where nothing was carried: the count begins again."""
        newest = history.live or history.last
        watched = self._watched(newest) if newest is not None else None
        return Progress.anew(watched, trained=any(attempt.trained for attempt in history.attempts))

    def look(self, history: History, now: datetime) -> History:
        """Look at the newest attempt's checkpoints; at most one list of its folder."""
        newest = history.live or history.last
        if newest is None or not newest.whole or newest.number < history.first_of_try:
            return history
        watched, progress = self._watched(newest), history.progress
        if needs_look(progress, self._rules, watched, now):
            history = replace(history, progress=self._take_in(progress, watched, newest.job_name, now))
        return self._long(history, now)

    def confirm(self, history: History, now: datetime) -> History:
        """
        Look once more where as many starts as may left nothing new, before anything is done about it.

        What a start saved at its end is uploaded after that, and may have come since the last look.
        """
        newest = history.live or history.last
        if newest is None or not newest.whole or not history.progress.is_stuck(self._rules):
            return history
        looked = (newest.number, history.progress.barren, history.progress.starts)
        if self._confirmed == looked:
            return history
        self._confirmed = looked
        watched = self._watched(newest)
        return replace(history, progress=self._take_in(history.progress, watched, newest.job_name, now))

    def folder(self, attempt: Attempt) -> WatchedFolder | None:
        """Return what the triggerer is to look at while an attempt may be interrupted; None for nothing."""
        watched = self._watched(attempt)
        if watched.why_not or not watched.spot:
            return None
        return WatchedFolder(watched.uri, attempt.number, self._rules, watched.elsewhere)

    def _take_in(self, progress: Progress, watched: WatchedStarts, job_name: str, now: datetime) -> Progress:
        look = self._seen(watched, now)
        if new := look.new_since(progress.seen):
            self._tell(CheckpointsSeen.of(job_name, watched.uri, new))
        known, found = take_in(progress, self._rules, watched, look)
        for each in found:
            self._tell(of_finding(each, job_name, watched.uri))
        return known

    def _seen(self, watched: WatchedStarts, now: datetime) -> FolderLook:
        if watched.why_not:
            return FolderLook(now, problem=watched.why_not)
        return look_at(self._hook.s3_hook.get_conn, watched.uri, now, renew=self._hook.renew_s3)

    def _watched(self, attempt: Attempt) -> WatchedStarts:
        return WatchedStarts(
            attempt.number,
            attempt.checkpoint_s3_uri,
            attempt.starts,
            over=not attempt.live,
            completed=attempt.completed,
            ended=attempt.ended,
            spot=attempt.placement.spot,
            why_not=self._why_not(attempt),
            elsewhere=writable_channel(self._plan.request),
        )

    def _why_not(self, attempt: Attempt) -> str:
        if attempt.whole and not attempt.checkpoint_s3_uri:
            return _OWN
        algorithm = without_checkpoints(self._plan.request.get("AlgorithmSpecification"))
        return f"the built-in algorithm {algorithm} keeps none" if algorithm else ""

    def _long(self, history: History, now: datetime) -> History:
        """Warn once where the run's jobs have trained for long: what is lost and done again costs each time."""
        max_run = self._plan.max_run
        trained = sum(attempt.trained_seconds(now) for attempt in history.attempts)
        if history.progress.told_long or trained < 2 * max_run or history.result is not None:
            return history
        self._tell(TrainedLong(trained, max_run))
        return replace(history, progress=replace(history.progress, told_long=True))
