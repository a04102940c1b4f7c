"""What has been told of each job's transitions and output, so that nothing is told twice and nothing is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from airflow_spot.core.attempt import Attempt
from airflow_spot.core.events import CapacityAwaited, Event, Transitioned
from airflow_spot.core.log_messages import label_of
from airflow_spot.core.outcomes import SCRIPT_OUTCOMES
from airflow_spot.core.starts import read_starts
from airflow_spot.core.waits import WaitStory
from airflow_spot.observers import Log
from airflow_spot.watch.observe import Look, look

if TYPE_CHECKING:
    from airflow_spot.hooks.training import SageMakerSpotTrainingHook

#: Lines of a job's log that are shown at each resume of a deferred task.
RESUME_LINES = 200
#: Transitions that are told again at a resume: a job that is interrupted a hundred times has some four hundred.
REPEATED_TRANSITIONS = 40


class TransitionLog:
    """
    Tells the transitions of a run's jobs, each once.

    :param tell: hears each transition.
    :param print_log: whether the jobs' output is shown too.
    """

    def __init__(
        self, hook: SageMakerSpotTrainingHook, tell: Callable[[Event], None], log: Log, *, print_log: bool
    ) -> None:
        self._hook = hook
        self._tell = tell
        self._log = log
        self._print_log = print_log
        self._seen: dict[str, int] = {}
        self._waits: dict[str, WaitStory] = {}

    def seen(self, job_name: str) -> int:
        """Return how many transitions of a job were told."""
        return self._seen.get(job_name, 0)

    def look(self, job_name: str, *, keeps_checkpoints: bool = True) -> Look | None:
        """Look at a job and tell what is new; None where it is gone."""
        found = look(self._hook.find, job_name, self.seen(job_name))
        if found is not None:
            self._tell_all(job_name, found, keeps_checkpoints=keeps_checkpoints)
            self._seen[job_name] = found.seen
            self._tell_wait(job_name, found)
        return found

    def _tell_wait(self, job_name: str, found: Look) -> None:
        at = datetime.fromtimestamp(self._hook.clock.now(), timezone.utc)
        since, message = found.waiting_since, found.wait_message
        if self._waits.setdefault(job_name, WaitStory()).is_news(since, message, at) and since is not None:
            self._tell(CapacityAwaited(job_name, label_of(job_name), since, at, message))

    def repeat(self, attempt: Attempt) -> None:
        """Log again what the trigger saw: its own lines are lost on MWAA."""
        name = attempt.job_name
        found = look(self._hook.find, name, 0)
        if found is not None:
            keeps = bool(attempt.checkpoint_s3_uri) or not attempt.whole
            if (earlier := len(found.new) - REPEATED_TRANSITIONS) > 0:
                self._log.info("%s: %d earlier transitions are not shown again", label_of(name), earlier)
                found = replace(found, new=found.new[-REPEATED_TRANSITIONS:])
            self._tell_all(name, found, repeated=True, keeps_checkpoints=keeps)
            self._seen[name] = found.seen
        if not self._print_log or attempt.outcome in SCRIPT_OUTCOMES:
            return
        lines = self._hook.job_log(name).tail(RESUME_LINES)
        self.show(name, lines)
        if len(lines) == RESUME_LINES:
            self._log.info("Showing the last %d log lines; full log: link 'SageMaker Training Logs'", RESUME_LINES)

    def show(self, job_name: str, lines: Iterable[str]) -> None:
        """Show lines of a job's output."""
        for line in lines:
            self._log.info("[%s] %s", label_of(job_name), line)

    def _tell_all(self, job_name: str, found: Look, **how: bool) -> None:
        heard, starts = datetime.fromtimestamp(self._hook.clock.now(), timezone.utc), read_starts(found.description)
        for transition in found.new:
            self._tell(Transitioned.of(job_name, label_of(job_name), transition, heard=heard, starts=starts, **how))
