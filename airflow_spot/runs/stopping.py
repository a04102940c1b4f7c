"""Ending a run's job in a worker: killed, given up, or let go."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from airflow_spot.aws.retrying import summarize_error
from airflow_spot.aws.stopping import NO_SUCH_JOB
from airflow_spot.core.marks import StopMark, TryMark
from airflow_spot.core.outcomes import ENDED_STATUSES
from airflow_spot.core.stop_reasons import StopReason

if TYPE_CHECKING:
    from airflow_spot.hooks.training import SageMakerSpotTrainingHook

#: A job that is told to stop has two minutes to end, and then uploads its model.
STOP_SECONDS = 300.0
_LOOK_SECONDS = 5.0


class Log(Protocol):
    """A task's logger, whichever library it is of."""

    def info(self, message: str, /, *args: Any) -> Any: ...

    def warning(self, message: str, /, *args: Any) -> Any: ...


class JobStopper:
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
        self._reported: str | None = None  # the job of which has been said what becomes of it
        self._failed = False
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
            self._reported = self.job
            self._log.warning(
                "Leaving training job %s running (stop_on_kill=False; reason: %s)", self.job, StopReason.KILLED
            )
            return
        number = self.this_try.number
        skip_reason = self.hook.stop(
            self.job, StopMark(StopReason.KILLED, number), owner=number, client=self._handler_client
        )
        self.log_result(StopReason.KILLED, skip_reason)

    def stop_and_wait(self, reason: StopReason, sleep: Callable[[float], None] | None = None) -> str:
        """
        Stop the live job of a task that gives up; nothing is left running.

        An error may be on its way already, and is the one to tell: what fails here is said, and raises nothing.

        :param sleep: to wait until the job is terminal; None not to wait.
        :return: what became of the job; empty where there is none.
        """
        if self.job is None:
            return ""
        if not self.stop_on_kill:
            self._reported = self.job
            disposition = f"Training job {self.job} keeps running (stop_on_kill=False)"
            self._log.warning("Leaving training job %s running (stop_on_kill=False; reason: %s)", self.job, reason)
            return disposition
        try:
            skip_reason = self.stop(self.job, reason)
        except BaseException as error:
            self._reported = self.job
            disposition = (
                f"Training job {self.job} could not be stopped ({summarize_error(error)}) and may still be running"
            )
            self._log.warning("%s", disposition)
            if not isinstance(error, Exception):  # Airflow's timeout: it says for itself why the task ends
                raise
            return disposition
        self.log_result(reason, skip_reason)
        if skip_reason is None and sleep is not None:
            self._await_end(self.job, sleep)
        return f"Training job {self.job} was " + ("stopped" if skip_reason is None else f"not stopped: {skip_reason}")

    def release_or_stop(self, *, final: bool) -> str:
        """
        Look after the job of a try that an error ends: the next try attaches, or it is stopped. Raises nothing.

        :param final: whether Airflow gives the task no further try.
        :return: what became of the job; empty where there is none, or where that has been said.
        """
        if self.job is None or self.job == self._reported:
            return ""
        if final or self.this_try.number > self.this_try.max_tries:
            return self.stop_and_wait(StopReason.FAILURE)
        disposition = f"Training job {self.job} keeps running; the next try attaches to it"
        self._log.warning("%s", disposition)
        return disposition

    def stop(self, job_name: str, reason: StopReason) -> str | None:
        """
        Stop a job while it belongs to this try; None, or why it was left alone.

        :raises ClientError: the job could not be stopped.
        :raises BotoCoreError: likewise.
        """
        if not self._failed:  # a stop that has failed for so long is not tried as long again
            self.hook.extend_deadline()
        number, self._failed = self.this_try.number, True
        skip_reason = self.hook.stop(job_name, StopMark(reason, number), owner=number)
        self._failed = False
        self.hook.extend_deadline()  # for what waits for its end
        return skip_reason

    def log_result(self, why: str, skip_reason: str | None) -> None:
        """Log what became of a stop."""
        if skip_reason != NO_SUCH_JOB:  # else it may be about to be created
            self._reported = self.job
        if skip_reason is None:
            self._log.warning(
                "Stopped training job %s (%s); its checkpoints are kept in %s", self.job, why, self._checkpoints()
            )
        else:
            self._log.warning("Training job %s was not stopped (%s): %s", self.job, why, skip_reason)

    def _await_end(self, job_name: str, sleep: Callable[[float], None]) -> None:
        try:
            for _ in range(int(STOP_SECONDS / _LOOK_SECONDS)):
                description = self.hook.find(job_name)
                if description is None or description["TrainingJobStatus"] in ENDED_STATUSES:
                    self._log.info("Training job %s has terminated", job_name)
                    return
                sleep(_LOOK_SECONDS)
        except Exception as error:
            self._log.warning("Stopped waiting for %s to terminate: %s", job_name, summarize_error(error))
        self._log.warning("%s is still Stopping; SageMaker will finish it", job_name)


def interruptible_sleep(amount: float, check_alive: Callable[[], None]) -> None:
    """
    Sleep in slices: Airflow's signal handler returns here, and a killed task ends within a second.

    :param amount: seconds.
    :param check_alive: raises once the task is killed.
    """
    end = time.monotonic() + max(0.0, amount)
    while (left := end - time.monotonic()) > 0:
        check_alive()
        time.sleep(min(1.0, left))
    check_alive()
