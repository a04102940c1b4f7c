"""The copy of a run's ledger that pages read, kept by the worker: it hears the run's events and writes both XComs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from airflow_spot.aws.marks import OF_ANOTHER_TRY
from airflow_spot.aws.retrying import summarize_error
from airflow_spot.compat.xcoms import WorkerXComs
from airflow_spot.core.events import Event, JobStopped
from airflow_spot.core.identity import RunIdentity
from airflow_spot.core.timeline.carried import pack, unpack
from airflow_spot.core.timeline.copying import copy_of
from airflow_spot.core.timeline.fold import fold
from airflow_spot.core.timeline.state import LedgerState, finish, take_in
from airflow_spot.errors import NonRetryableSpotError, SpotTrainingError

if TYPE_CHECKING:
    from airflow_spot.hooks.training import SageMakerSpotTrainingHook
    from airflow_spot.observers import Log
    from airflow_spot.runs.controller import TrainingRun


class LedgerCopy:
    """
    Observes one try of a run. It is of no weight beside the job: it raises nothing, and asks AWS nothing.

    What is heard is folded at once, and written before the worker waits and before the task ends: never by an event
    itself, which may be told in a signal handler. A try that was superseded writes no more: a later one has the page.

    :param run: the run.
    :param carried: what a deferral carried; empty where the try begins.
    :param task_instance: of the task's context.
    """

    def __init__(
        self, run: RunIdentity, hook: SageMakerSpotTrainingHook, task_instance: Any, log: Log, *, carried: str = ""
    ) -> None:
        self._hook = hook
        self._log = log
        self._failed = False
        self._run: TrainingRun | None = None
        self._xcoms = WorkerXComs(task_instance, log)
        self._is_new = True
        self._stopped: set[str] = set()
        self._is_superseded = False
        self.state = LedgerState.begin(run, task_instance.try_number, self._now())
        self._safely(lambda: self._go_on_from(carried))
        self._safely(self._place)

    def follow(self, run: TrainingRun) -> None:
        """Take what is known of the jobs from a run from now on."""
        self._run = run

    def observe(self, event: Event) -> None:
        """Add an event to the copy."""

        def take() -> None:
            if isinstance(event, JobStopped):
                if event.skip_reason is None:
                    self._stopped.add(event.job_name)
                elif event.skip_reason.startswith(OF_ANOTHER_TRY):
                    self._is_superseded = True
            self.state = fold(self.state, event, self._now())
            self._is_new = True

        self._safely(take)

    def write(self, *, last: bool = False) -> None:
        """
        Write both XComs, if there is anything new.

        :param last: the task ends.
        """
        if (self._is_new or last) and not self._is_superseded:
            self._is_new = False
            self._safely(self._look)
            prices = self._run.prices if self._run else None
            written = self._xcoms.write(lambda: copy_of(self.state, self._now(), prices), last=last)
            self._is_new = self._is_new or not written

    def carried(self) -> str:
        """Return what a deferral is to carry: as text, some kilobytes at most."""
        packed: list[str] = []
        self._safely(lambda: packed.append(pack(self.state)))
        return packed[0] if packed else ""

    def succeeded(self, model: str | None, *, ended: bool) -> None:
        """
        Write that the task ends well.

        :param model: where the model is.
        :param ended: False where the job is not waited for.
        """
        over = ended or (self._run is not None and self._run.history.result is not None)
        reason = "" if over else "wait_for_completion=False"
        self._safely(lambda: self._finish("completed" if over else "left", reason, model))
        self.write(last=True)

    def failed(self, error: BaseException, *, killed: bool) -> None:
        """Write that an error ends the task."""
        self._safely(lambda: self._fail(error, killed=killed))
        self.write(last=True)

    # ---- inside

    def _go_on_from(self, carried: str) -> None:
        known = unpack(carried)
        if known is not None and (known.key, known.try_number) == (self.state.key, self.state.try_number):
            self.state = known

    def _place(self) -> None:
        region, partition = str(self._hook.conn_region_name or ""), str(self._hook.conn_partition)
        self.state = replace(self.state, region=region, partition=partition)

    def _fail(self, error: BaseException, *, killed: bool) -> None:
        self._look()
        phase, run, job = self.state.phase, self._run, self.state.live
        if run is not None and job is not None and job.status == "InProgress" and job.job_name not in self._stopped:
            tried = run.this_try.number > run.this_try.max_tries or isinstance(error, NonRetryableSpotError)
            if not run.options.stop_on_kill and (tried or killed or not isinstance(error, Exception)):
                self._finish("left", "stop_on_kill=False")
            return  # the next try attaches to it
        if phase is not None and phase.state in ("failed", "stopped"):
            return
        # What others say may repeat what is in a request.
        why = str(error) if isinstance(error, SpotTrainingError) else summarize_error(error)
        self._finish("stopped" if killed else "failed", why)

    def _finish(self, word: str, reason: str, model: str | None = None) -> None:
        self.state = finish(self.state, word, self._now(), reason, model)

    def _look(self) -> None:
        """Add what the run has read of its jobs."""
        run = self._run
        if run is None:
            return
        history = run.history
        earlier = (job for job in run.earlier if job.name.generation != history.generation)
        jobs = (*earlier, *history.attempts, *history.others)
        lost, until = history.progress.lost, run.limits.give_up_at
        state = take_in(self.state, jobs, history.generation, lost=lost, deadline=until)
        self.state = replace(state, reported=state.reported or history.reports.last)

    def _now(self) -> datetime:
        return self._run.now() if self._run is not None else datetime.now(timezone.utc)

    def _safely(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:
            if not self._failed:
                self._failed = True
                self._log.warning("The timeline of this task could not be kept: %s", type(error).__name__)
