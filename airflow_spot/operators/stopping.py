"""Ending a run's job in a worker: killed, given up, or let go."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from airflow_spot.core.marks import StopMark, TryMark
from airflow_spot.core.outcomes import ENDED_STATUSES

if TYPE_CHECKING:
    from airflow_spot.hooks.training import SageMakerSpotTrainingHook

#: A job that is told to stop has two minutes to end, and then uploads its model.
STOP_SECONDS = 300.0
_LOOK_SECONDS = 5.0


class Log(Protocol):
    """A task's logger, whichever library it is of."""

    def info(self, message: str, /, *args: Any) -> Any: ...

    def warning(self, message: str, /, *args: Any) -> Any: ...


class Stopping:
    """
    Stops the job of one try, so that nothing is abandoned.

    :param stop_on_kill: False leaves the job and says so.
    :param checkpoints: says where the run keeps its checkpoints.
    :param log: the task's.
    """

    def __init__(
        self,
        hook: SageMakerSpotTrainingHook,
        this_try: TryMark,
        *,
        stop_on_kill: bool,
        checkpoints: Callable[[], str],
        log: Log,
    ) -> None:
        self.hook = hook
        self.this_try = this_try
        self.stop_on_kill = stop_on_kill
        self.job: str | None = None
        self._checkpoints = checkpoints
        self._log = log
        # A signal may arrive in the middle of a call: the handler must not need what that call holds.
        self._handler_client = hook.get_client_type(region_name=hook.region_name)

    def kill(self) -> None:
        """
        Stop the job of a task that Airflow kills. Runs in a signal handler.

        A worker that is drained and one that was superseded are killed the same way: only the try that owns
        the job may stop it, and a stop too many costs a changeover, never the work.
        """
        if self.job is None:
            return
        if not self.stop_on_kill:
            self._log.warning("Killed with stop_on_kill=False: training job %s runs on", self.job)
            return
        number = self.this_try.number
        left = self.hook.stop(self.job, StopMark("killed", number), owner=number, client=self._handler_client)
        self.tell("killed", left)

    def abandon(self, reason: str, sleep: Callable[[float], None] | None = None) -> None:
        """
        Stop the live job of a task that gives up; nothing is left running.

        :param sleep: to wait until the job is terminal; None not to wait.
        """
        if self.job is None:
            return
        if not self.stop_on_kill:
            self._log.warning("Giving up (%s) with stop_on_kill=False: training job %s runs on", reason, self.job)
            return
        left = self.stop(self.job, reason)
        self.tell(reason, left)
        if left is None and sleep is not None:
            self._await_end(self.job, sleep)

    def let_go(self, *, final: bool) -> None:
        """
        Look after the job of a try that an unexpected error ends: the next try attaches, or it is stopped.

        :param final: whether Airflow gives the task no further try.
        """
        if self.job is None:
            return
        if final or self.this_try.number > self.this_try.max_tries:
            self.abandon("failure")
        else:
            self._log.warning("Training job %s runs on; the next try attaches to it", self.job)

    def stop(self, job_name: str, reason: str) -> str | None:
        """Stop a job while it belongs to this try; None, or why it was left alone."""
        number = self.this_try.number
        return self.hook.stop(job_name, StopMark(reason, number), owner=number)

    def tell(self, why: str, left: str | None) -> None:
        """Log what became of a stop."""
        if left is None:
            self._log.warning(
                "Stopped training job %s (%s); its checkpoints stay in %s", self.job, why, self._checkpoints()
            )
        else:
            self._log.warning("Training job %s was not stopped (%s): %s", self.job, why, left)

    def _await_end(self, job_name: str, sleep: Callable[[float], None]) -> None:
        for _ in range(int(STOP_SECONDS / _LOOK_SECONDS)):
            description = self.hook.find(job_name)
            if description is None or description["TrainingJobStatus"] in ENDED_STATUSES:
                self._log.info("Training job %s has ended", job_name)
                return
            sleep(_LOOK_SECONDS)
        self._log.warning("Training job %s is still stopping; it ends by itself", job_name)
