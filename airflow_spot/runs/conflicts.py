"""Who else works on a run: a try that superseded this one, a generation before, another run in the same folder."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from airflow_spot.aws.marks import STOP_PAUSES
from airflow_spot.core.attempt import Attempt
from airflow_spot.core.marks import StopMark
from airflow_spot.core.plan import Plan
from airflow_spot.core.stop_reasons import StopReason
from airflow_spot.core.try_marks import TryMark
from airflow_spot.errors import RequestError, RunKilledError
from airflow_spot.observers import Log

if TYPE_CHECKING:
    from airflow_spot.hooks.training import SageMakerSpotTrainingHook


#: Seconds for which what was read of a run's jobs says that there is no newer generation.
FRESH_SECONDS = 0.5

#: Seconds between looks for another run's job in an exact folder: a list lags by some.
LIST_LAG_PAUSES = (5.0, 10.0)


class ConflictGuard:
    """
    Keeps one job training per run, and one per folder, where two workers act at once.

    Each looks after its own create: so at least one of the two sees the other's job.

    :param this_try: the try that works for us.
    :param log: the task's.
    :param sleep: waits so many seconds, and raises if the task is killed meanwhile.
    """

    def __init__(
        self,
        hook: SageMakerSpotTrainingHook,
        plan: Plan,
        this_try: TryMark,
        log: Log,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._sleep = sleep
        self._hook = hook
        self._plan = plan
        self._this_try = this_try
        self._log = log
        self._read_at = -math.inf

    def begin_reading(self) -> None:
        """Note that the run's jobs are read from now on, which begins with a look for a newer generation."""
        self._read_at = time.monotonic()

    def check_try(self, taken: Attempt) -> None:
        """
        Look at a job that had the name of our next attempt, and has ended.

        :raises RunKilledError: it is of a later try, so this one continues though it was superseded.
        """
        if self._this_try.is_older_than(taken.created_by, taken.created):
            raise RunKilledError(f"Training job {taken.job_name} was created by a later try; this stale try ends")

    def check_generation(self, generation: int) -> None:
        """
        Look for a newer generation: a superseded worker must not continue with one that a person has started over.

        :raises RunKilledError: there is one.
        """
        if self._hook.find(self._plan.job_name(generation + 1, 1)) is not None:
            raise RunKilledError(
                f"Run {self._plan.run.key} was cleared while this try was running; generation {generation + 1} is "
                "active, so this stale try ends"
            )

    def check_before_create(self, generation: int) -> None:
        """
        Look for a newer generation before a create, unless the run's jobs were read just now.

        Whatever happens between this look and the create is found by the one after it.

        :raises RunKilledError: there is one.
        """
        if time.monotonic() - self._read_at > FRESH_SECONDS:
            self.check_generation(generation)

    def check_created(self, attempt: Attempt) -> None:
        """
        Look around after a create. The newer generation stays; in a folder, the job that was there first.

        :raises RunKilledError: the attempt has to go, for a newer generation.
        :raises RequestError: it has to go, for another run.
        """
        generation = attempt.name.generation
        self.check_generation(generation)
        if generation > 1 and attempt.number == 1:
            for older in self._hook.live_of_generation(self._plan, generation - 1):
                self._log.warning("Training job %s of the previous generation is still running; stopping it", older)
                self._hook.stop(older, StopMark(StopReason.SUPERSEDED, self._this_try.number), pauses=STOP_PAUSES)
        if attempt.checkpoint_s3_uri and self._plan.is_shared(attempt.checkpoint_s3_uri):
            self._check_folder(attempt)

    def _check_folder(self, attempt: Attempt) -> None:
        """Look around again: a list may show a job only seconds after it was created, and of two one has to go."""
        self._look_around(attempt)
        for pause in LIST_LAG_PAUSES:
            self._sleep(pause)
            self._look_around(attempt)

    def _look_around(self, attempt: Attempt) -> None:
        for name in self._hook.live_writers(attempt.checkpoint_s3_uri, self._plan.run.key):
            other = self._hook.attempt(name)
            if other is not None and other.live and other.precedes(attempt):
                raise RequestError(
                    f"checkpoint_s3_uri is {attempt.checkpoint_s3_uri!r}: training job {name} of another run was "
                    'created just before and writes there. Wait for it, or use checkpoint_scope="run"'
                )
