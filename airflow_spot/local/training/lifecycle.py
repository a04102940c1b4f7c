"""A training job's life: waiting for instances, training, losing them, ending.

Written as a generator that yields how long (service seconds) it may be left alone, so that one text serves a thread
per job and thousands of jobs on one thread. It is resumed earlier when something happens: see :meth:`Lifecycle.wake`.

How the time counts: MaxWaitTimeInSeconds from the job's creation on, waiting and running together (documented);
MaxRuntimeInSeconds while there are instances, over all starts (documented for retries, assumed for interruptions).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Generator
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from airflow_spot.local.aws.events import TRAINING
from airflow_spot.local.aws.s3 import S3_ERRORS, S3Uri, objects
from airflow_spot.local.errors import InternalError, JobError, internal_failure
from airflow_spot.local.market.capacity import Stay
from airflow_spot.local.market.spec import State
from airflow_spot.local.state_changes import publish_event
from airflow_spot.local.training.failures import CAPACITY_ERROR, OUT_OF_MEMORY
from airflow_spot.local.training.job import MESSAGES, STARTING_ON_DEMAND, WAITING_FOR_SPOT, TrainingJob
from airflow_spot.local.training.process_instances import Instances

if TYPE_CHECKING:
    from airflow_spot.local.backend import Backend

log = logging.getLogger(__name__)

KILL_SECONDS = 30.0
MEGABYTE = 1e6

Steps: TypeAlias = Generator[float, None, None]
"""Yields how many service seconds may pass until the next step."""

MakeInstances = Callable[[TrainingJob], Instances]


class _Ended(Exception):
    """The job is to end as Stopped, with this secondary status."""


class Lifecycle:
    """Runs one job from its creation to its end.

    :param make: makes the instances of each start.
    """

    def __init__(self, backend: Backend, job: TrainingJob, make: MakeInstances) -> None:
        self.job = job
        self._backend = backend
        self._clock = backend.clock
        self._make = make
        self._instances: Instances | None = None
        self._launched = False
        self._stop_requested = False
        self._reclaim_requested = False
        self._reclaim_how: str | None = None
        self._crash_requested = False
        self._out_of_memory = False
        self._refused = False
        self._blackout_until = self._held_since = 0.0
        self._on_wake: Callable[[], None] = lambda: None

    # Requests, on any thread.

    def on_wake(self, callback: Callable[[], None]) -> None:
        """Set what makes the scheduler resume at once. Called before the life begins."""
        self._on_wake = callback

    def wake(self) -> None:
        """Make the scheduler resume it at once."""
        self._on_wake()

    def request_stop(self) -> None:
        """Stop the job, which is Stopping from now on. Does nothing to one that has ended."""
        with self.job.lock:
            if not self.job.terminal:
                self._stop_requested = True
                self._enter_stopping()
        self.wake()

    def request_reclaim(self, capacity_gap: float, how: str | None = None, *, refuse: bool = False) -> None:
        """Take the instances back, and provide none for ``capacity_gap`` service seconds.

        :param how: ``term`` or ``kill`` for this once; None: as the service is set.
        :param refuse: whether the job fails with a CapacityError as it asks for others.
        """
        self._blackout_until = self._clock.now() + capacity_gap
        self._refused |= refuse
        self._reclaim_how = how
        self._reclaim_requested = True
        self.wake()

    def request_crash(self) -> None:
        """Break the instances: an internal error of the service."""
        self._crash_requested = True
        self.wake()

    # The life itself, on the scheduler's thread.

    def run(self) -> Steps:
        """Live from creation to end. Never raises. Closed early, it kills what runs and keeps the job's state."""
        try:
            try:
                yield from self._live()
            except _Ended as end:
                yield from self._wind_down(str(end))
        except JobError as error:
            self._finish("Failed", "Failed", str(error))
        except Exception as error:
            log.exception("job %s", self.job.name)
            self._finish("Failed", "Failed", internal_failure(error))
        finally:
            self._give_back()

    def _live(self) -> Steps:
        if not self.job.transitions:
            self._enter("Starting", None if self.job.spot else STARTING_ON_DEMAND)
        while True:
            yield from self._acquire()
            try:
                ended = yield from self._start()
            except InternalError:
                if self.job.retries >= self.job.max_retries:
                    raise
                self._give_back()
                self.job.retries += 1
                self._restart("Restarting")
                continue
            if ended:
                return
            self.job.interruptions += 1
            self._restart("Interrupted")

    def _start(self) -> Generator[float, None, bool]:
        """Train on instances that are there; return whether the job has ended, or else was interrupted."""
        self._enter("Downloading")
        self._launched = False
        self._check_restore()
        instances = self._instances = self._make(self.job)
        with closing(instances.prepare(self.wake)) as preparing:
            for delay in preparing:
                self._check_end()
                yield min(delay, self._seconds_left())
        self._check_end()
        # Launched before the status: a client that sees Training may rely on a process.
        instances.launch(self.wake)
        self._launched = True
        self._enter("Training")
        code = yield from self._train(instances)
        if code is not None:
            self._settle(instances, code)
            return True
        yield from self._reclaim(instances)
        self._give_back()
        return False

    def _check_restore(self) -> None:
        """Fail as a restore of very large checkpoints does, where the fault plan says so.

        :raises InternalError: before there is anything of the start's, its log included.
        """
        job = self.job
        rule = self._backend.faults.job_state("restore-failed", job.name)
        config = job.request.get("CheckpointConfig")
        if rule is None or config is None:
            return
        folder = S3Uri.parse(config["S3Uri"])
        try:
            size = sum(item.size for item in objects(self._backend.aws.s3, folder.bucket, folder.folder))
        except S3_ERRORS:
            return  # the download says it better
        if size > rule.megabytes * MEGABYTE:
            self._fault(rule.kind)
            raise InternalError

    def _restart(self, why: str) -> None:
        with self.job.lock:
            # A job that is Stopping stays so.
            if not self._stop_requested:
                self._enter(why)
                self._enter("Starting")

    def _acquire(self) -> Steps:
        job = self.job
        asked = self._clock.now()
        while True:
            self._check_end()
            if self._refused:
                raise self._no_capacity()
            left = self._blackout_until - self._clock.now()
            if left <= 0:
                chosen, left = self._look()
                if chosen is not None:
                    break
            pending_left = asked + self._pending_timeout() - self._clock.now()
            if pending_left <= 0:
                raise self._no_capacity()
            self._enter_waiting()
            yield min(left, pending_left, self._seconds_left())
        self._reclaim_requested, self._reclaim_how = False, None
        with job.lock:
            job.instance_type = chosen
            job.begin_instances(self._clock.now())
            self._enter_preparing()
        self._capacity("granted")

    def _look(self) -> tuple[str | None, float]:
        """Return the first type with capacity, or None and how long it is worth to wait."""
        lasts = math.inf
        for instance_type in self.job.candidates:
            outlook = self._backend.capacity.outlook(instance_type, self.job.spot)
            if outlook.state is State.UP:
                # From the look on: what goes a moment after it has gone from the job.
                self._held_since = outlook.at
                return instance_type, 0.0
            if outlook.state is State.FAIL:
                raise self._no_capacity()
            lasts = min(lasts, outlook.lasts)
        return None, lasts

    def _pending_timeout(self) -> float:
        """Return how long to wait for instances: spot as long as MaxWaitTimeInSeconds lets it, on-demand for ever."""
        if self.job.spot:
            return math.inf
        pending, setting = self.job.max_pending, self._backend.settings.pending_timeout_seconds
        if pending is not None:
            return pending
        return math.inf if setting is None else setting

    def _no_capacity(self) -> JobError:
        self._capacity("none")
        return JobError(CAPACITY_ERROR)

    def _enter_waiting(self) -> None:
        """Show that the job waits. Spot: Starting, with the message that public threads show; on-demand: Pending."""
        with self.job.lock:
            if not self.job.spot:
                if self.job.secondary != "Pending":
                    self._enter("Pending")
            elif self.job.transitions[-1]["StatusMessage"] != WAITING_FOR_SPOT:
                self.job.set_message(WAITING_FOR_SPOT, self._clock.now())

    def _enter_preparing(self) -> None:
        """Show that there are instances: in the transition that is, or after a Pending one in a second [T]."""
        job, message = self.job, MESSAGES["Starting"]
        if job.secondary == "Pending":
            self._enter("Pending", message)
        elif job.secondary == "Starting" and job.transitions[-1]["StatusMessage"] != message:
            job.set_message(message, self._clock.now())

    def _train(self, instances: Instances) -> Generator[float, None, int | None]:
        """Wait for the end of the job's processes; return their exit code, or None if the instances go before."""
        next_sync = self._clock.now() + instances.sync_seconds
        held = self._held_since
        memory_ends = self._memory_ends()
        while True:
            now, stay = self._clock.now(), Stay(math.inf)
            if self.job.spot:
                stay = self._backend.capacity.stay(self.job.instance_type, held)
                held = held if stay.went is not None else now
            code = instances.poll()
            # A service that is late may find both. What ended on an instance that had gone has not ended.
            if code is not None and (stay.went is None or (instances.ended or math.inf) <= stay.went):
                return code
            self._check_end()
            self._reclaim_requested |= stay.went is not None
            if self._clock.now() >= memory_ends:
                self._out_of_memory, memory_ends = True, math.inf
                self._fault("out-of-memory")
                instances.kill()
                continue
            if self._crash_requested:
                self._crash_requested = False
                raise InternalError
            if self._reclaim_requested:
                self._capacity("reclaimed")
                return None
            if self._clock.now() >= next_sync:
                instances.sync()
                next_sync = self._clock.now() + instances.sync_seconds
            next_sync_in = max(0.0, next_sync - self._clock.now())
            memory_in = max(0.0, memory_ends - self._clock.now())
            yield min(next_sync_in, instances.horizon(), stay.lasts, memory_in, self._seconds_left())

    def _memory_ends(self) -> float:
        """Return when the script will have used up the instance's memory, by the fault plan."""
        job = self.job
        rule = self._backend.faults.strike_job("out-of-memory", job.name, job.instance_type)
        return math.inf if rule is None else self._clock.now() + rule.seconds

    def _reclaim(self, instances: Instances) -> Steps:
        how, self._reclaim_how = self._reclaim_how or self._backend.settings.reclaim, None
        gently = how == "term"
        yield from self._end_processes(instances, self._backend.settings.grace_seconds if gently else 0.0)
        if gently:
            instances.sync(final=True)

    def _end_processes(self, instances: Instances, grace: float) -> Steps:
        deadline = self._clock.now() + grace
        if grace > 0:
            instances.terminate()
        while instances.poll() is None and self._clock.now() < deadline:
            yield deadline - self._clock.now()
        instances.kill()
        deadline = self._clock.now() + KILL_SECONDS
        while instances.poll() is None and self._clock.now() < deadline:
            yield 0.1

    def _settle(self, instances: Instances, code: int) -> None:
        """End a job whose processes have ended by themselves."""
        instances.sync(final=True)
        self._enter("Uploading")
        if code == 0:
            instances.deliver(model=True)
            self._give_back()
            with self.job.lock:
                if self._stop_requested:
                    self._finish("Stopped", "Stopped")
                else:
                    self._finish("Completed", "Completed")
        else:
            reason = OUT_OF_MEMORY if self._out_of_memory else instances.failure_reason(code)
            instances.deliver(model=False)
            self._give_back()
            self._finish("Failed", "Failed", reason)

    def _wind_down(self, secondary: str) -> Steps:
        """Stop as SageMaker does: SIGTERM, grace, SIGKILL; then checkpoints and model are uploaded all the same."""
        self._enter_stopping()
        instances = self._instances
        if instances is not None and self._launched:
            yield from self._end_processes(instances, self._backend.settings.grace_seconds)
            self._enter("Uploading")
            for save in (partial(instances.sync, final=True), partial(instances.deliver, model=True)):
                try:
                    save()
                except JobError as error:
                    log.warning("job %s: %s", self.job.name, error)
                except Exception:
                    # It is to stop; what can be saved is, and what cannot does not make it anything else.
                    log.exception("job %s", self.job.name)
        self._give_back()
        self._finish("Stopped", secondary)

    # Small steps.

    def _check_end(self) -> None:
        now, job = self._clock.now(), self.job
        if self._stop_requested:
            raise _Ended("Stopped")
        run_left, wait_left = job.max_runtime - job.trained(now), self._wait_ends() - now
        if min(run_left, wait_left) <= 0:  # whichever was over first, however late this is noticed
            raise _Ended("MaxRuntimeExceeded" if run_left <= wait_left else "MaxWaitTimeExceeded")

    def _wait_ends(self) -> float:
        """Return when MaxWaitTimeInSeconds ends the job, which the fault plan may put off."""
        job = self.job
        if job.max_wait is None:
            return math.inf
        late = self._backend.faults.job_state("max-wait-late", job.name)
        return job.creation_time + job.max_wait + (0.0 if late is None else late.seconds)

    def _seconds_left(self) -> float:
        """Return the seconds until the next of the job's own limits."""
        now, job = self._clock.now(), self.job
        run = job.max_runtime - job.trained(now) if job.instance_start is not None else math.inf
        return max(0.0, min(run, self._wait_ends() - now))

    def _give_back(self) -> None:
        instances, self._instances = self._instances, None
        if instances is not None:
            instances.close()
        with self.job.lock:
            self.job.end_instances(self._clock.now())

    def _enter(self, secondary: str, message: str | None = None) -> None:
        with self.job.lock:
            self.job.enter(secondary, self._clock.now(), message)
            self._record()

    def _enter_stopping(self) -> None:
        with self.job.lock:
            if self.job.status != "Stopping":
                self.job.status = "Stopping"
                self._enter("Stopping")

    def _finish(self, status: str, secondary: str, reason: str | None = None) -> None:
        self._give_back()
        with self.job.lock:
            self.job.finish(status, secondary, self._clock.now(), reason)
            self._record()

    def _record(self) -> None:
        job = self.job
        self._backend.journal.changed(job)
        publish_event(self._backend, TRAINING, job)
        self._backend.audit.write(
            "state",
            kind="training",
            job=job.name,
            status=job.status,
            secondary=job.secondary,
            message=job.told_reason or job.transitions[-1]["StatusMessage"],
        )

    def _fault(self, kind: str) -> None:
        self._backend.audit.write("fault", job=self.job.name, kind=kind)

    def _capacity(self, action: str) -> None:
        job = self.job
        self._backend.audit.write(
            "capacity", job=job.name, action=action, instance_type=job.instance_type, spot=job.spot, start=job.starts
        )
