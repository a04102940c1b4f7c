"""Ending a run's jobs in a worker: killed, given up, or released to the next try."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from airflow_spot.aws.marks import NO_SUCH_JOB, STOP_PAUSES
from airflow_spot.aws.retrying import is_transient, summarize_error
from airflow_spot.compat.sdk import ON_KILL_SECONDS
from airflow_spot.core.events import JobStopped, Observer
from airflow_spot.core.marks import StopMark
from airflow_spot.core.outcomes import ENDED_STATUSES
from airflow_spot.core.stop_reasons import StopReason
from airflow_spot.core.try_marks import TryMark
from airflow_spot.observers import Log

if TYPE_CHECKING:
    from airflow_spot.hooks.training import SageMakerSpotTrainingHook

#: A job that is told to stop has two minutes to end, and then uploads its model.
STOP_SECONDS = 300.0
_POLL_SECONDS = 5.0
#: Seconds between looks for a job whose create was sent and not answered: half a minute in all.
CREATE_PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0)
_KILL_PAUSE = 0.5


class JobStopper:
    """
    Stops the jobs of one try, so that nothing is abandoned.

    :ivar jobs: what is live, or may be: the attempt first.
    :ivar stopped: what this process has told to stop.
    :param stop_on_kill: False leaves the jobs and says so.
    :param checkpoints: returns where the run keeps its checkpoints.
    :param observe: hears of each stop.
    :param log: the task's.
    """

    def __init__(
        self,
        hook: SageMakerSpotTrainingHook,
        this_try: TryMark,
        *,
        stop_on_kill: bool,
        checkpoints: Callable[[], str],
        observe: Observer,
        log: Log,
    ) -> None:
        self.hook = hook
        self.this_try = this_try
        self.stop_on_kill = stop_on_kill
        self.jobs: tuple[str, ...] = ()
        self.stopped: dict[str, StopMark] = {}
        self._expected: str | None = None
        self._reported: set[str] = set()  # the jobs of which was said what becomes of them
        self._failed = False
        self._checkpoints = checkpoints
        self._observe = observe
        self._log = log
        self.hook.signal_client  # noqa: B018  made now: a signal handler must not have to wait for it

    def watch(self, *jobs: str) -> None:
        """Answer for these jobs too: whoever ends the try stops or releases them."""
        self.jobs = tuple(dict.fromkeys((*self.jobs, *jobs)))

    def expect(self, job: str) -> None:
        """Answer for a job whose create is about to be sent: without an answer to it, it may come to life later."""
        self.watch(job)
        self._expected = job

    def created(self) -> None:
        """Note that the create was answered."""
        self._expected = None

    def forget(self, *jobs: str) -> None:
        """Answer for these jobs no more: they have ended, or are not ours."""
        self.jobs = tuple(job for job in self.jobs if job not in jobs)

    def kill(self) -> None:
        """
        Stop the jobs of a task that Airflow kills. Runs in a signal handler.

        A worker that is drained and one that was superseded are killed the same way: only the try that owns
        a job may stop it, and a stop too many costs a changeover, never the work.

        :raises Exception: what kept a job from being stopped, once all were tried.
        """
        until, left = time.monotonic() + ON_KILL_SECONDS, list(self.jobs)
        while True:
            failures: dict[str, Exception] = {}
            for job in left:
                try:
                    self._kill(job)
                except Exception as error:
                    failures[job] = error
            left = [job for job in left if job in failures and is_transient(failures[job])]
            if not left or time.monotonic() + _KILL_PAUSE >= until:
                break
            time.sleep(_KILL_PAUSE)
        for failure in failures.values():
            raise failure

    def _kill(self, job: str) -> None:
        if not self.stop_on_kill:
            self._leave(job, StopReason.KILLED)
            return
        number, client = self.this_try.number, self.hook.signal_client
        # Not waited for where it is about to be created: the signal came in the middle of that call, which continues.
        skip_reason = self.hook.stop(job, StopMark(StopReason.KILLED, number), owner=number, client=client)
        self.report(job, StopReason.KILLED, "killed by Airflow", skip_reason)

    def stop_and_wait(self, reason: StopReason, sleep: Callable[[float], None] | None = None) -> str:
        """
        Stop the live jobs of a task that gives up; nothing is left running.

        An error may be on its way already, and is the one to tell: what fails here is logged, and raises nothing.

        :param sleep: to wait until the jobs are terminal; None not to wait.
        :return: what became of each job; empty where there is none.
        """
        return ". ".join(self._end(job, reason, sleep) for job in self.jobs)

    def release_or_stop(self, *, final: bool) -> str:
        """
        Look after the jobs of a try that an error ends: the next try attaches, or they are stopped. Raises nothing.

        :param final: whether Airflow gives the task no further try.
        :return: what became of them; empty where there are none, or where that was said.
        """
        jobs = [job for job in self.jobs if job not in self._reported]
        if not jobs:
            return ""
        if final or self.this_try.number > self.this_try.max_tries:
            return ". ".join(self._end(job, StopReason.FAILURE, None) for job in jobs)
        dispositions = [f"Training job {job} keeps running; the next try attaches to it" for job in jobs]
        for disposition in dispositions:
            self._log.warning("%s", disposition)
        return ". ".join(dispositions)

    def stop(self, job_name: str, reason: StopReason, pauses: Sequence[float] = ()) -> str | None:
        """
        Stop a job while it belongs to this try; None, or why it was left alone.

        :param pauses: seconds between looks whether it does stop, and further stops if not.
        :raises ClientError: the job could not be stopped.
        :raises BotoCoreError: likewise.
        """
        if not self._failed:  # a stop that has failed for so long is not tried as long again
            self.hook.extend_deadline()
        number, self._failed = self.this_try.number, True
        mark = StopMark(reason, number)
        skip_reason = self.hook.stop(job_name, mark, owner=number, pauses=pauses)
        self._failed = False
        if skip_reason is None:
            self.stopped[job_name] = mark
        self.hook.extend_deadline()  # for what waits for its end
        return skip_reason

    def report(self, job_name: str, reason: StopReason, why: str, skip_reason: str | None) -> None:
        """Report what became of a stop."""
        if skip_reason != NO_SUCH_JOB:  # else it may be about to be created
            self._reported.add(job_name)
        self._observe(JobStopped(job_name, reason, why, skip_reason, self._checkpoints()))

    def _end(self, job: str, reason: StopReason, sleep: Callable[[float], None] | None) -> str:
        if not self.stop_on_kill:
            return self._leave(job, reason)
        try:
            skip_reason = self._stop_once_seen(job, reason)
        except BaseException as error:
            self._reported.add(job)
            disposition = f"Training job {job} could not be stopped ({summarize_error(error)}) and may still be running"
            self._log.warning("%s", disposition)
            if not isinstance(error, Exception):  # Airflow's timeout: it says for itself why the task ends
                raise
            return disposition
        self.report(job, reason, reason.value, skip_reason)
        if skip_reason is None and sleep is not None:
            self._await_end(job, sleep)
        return f"Training job {job} was " + ("stopped" if skip_reason is None else f"not stopped: {skip_reason}")

    def _stop_once_seen(self, job: str, reason: StopReason) -> str | None:
        """Stop a job; one whose create was sent and not answered may not show yet."""
        for pause in CREATE_PAUSES if job == self._expected else ():
            if (skip_reason := self.stop(job, reason, STOP_PAUSES)) != NO_SUCH_JOB:
                return skip_reason
            time.sleep(pause)
        return self.stop(job, reason, STOP_PAUSES)

    def _leave(self, job: str, reason: StopReason) -> str:
        self._reported.add(job)
        self._log.warning("Leaving training job %s running (stop_on_kill=False; reason: %s)", job, reason)
        return f"Training job {job} keeps running (stop_on_kill=False)"

    def _await_end(self, job_name: str, sleep: Callable[[float], None]) -> None:
        try:
            for _ in range(int(STOP_SECONDS / _POLL_SECONDS)):
                description = self.hook.find(job_name)
                if description is None or description["TrainingJobStatus"] in ENDED_STATUSES:
                    self._log.info("Training job %s has terminated", job_name)
                    return
                sleep(_POLL_SECONDS)
        except Exception as error:
            self._log.warning("Stopped waiting for %s to terminate: %s", job_name, summarize_error(error))
        self._log.warning("%s is still stopping; SageMaker will finish it", job_name)


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
