"""The life of a run in a worker: ask SageMaker, decide, act, again."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Protocol

from airflow_spot.core.decide import Fail, Limits, Pause, Stop, Submit, Succeed, Wait, decide
from airflow_spot.core.history import Attempt, History, begin_try
from airflow_spot.core.marks import StopMark, TryMark, changed_fields
from airflow_spot.core.outcomes import Outcome
from airflow_spot.core.plan import Plan
from airflow_spot.core.story import attempt_line, closing_lines, transition_lines
from airflow_spot.errors import RunKilled, error_for
from airflow_spot.watch.observe import look

if TYPE_CHECKING:
    from airflow_spot.hooks.training import SageMakerSpotTrainingHook

#: Lines of a job's log that are shown when its script failed, and at each resume of a deferred task.
FAILURE_LINES = 20
RESUME_LINES = 200

#: A pause up to this is slept in the worker. Airflow 3.3 fails a task whose trigger fires before the worker that
#: deferred it has ended, which takes seconds on a busy machine: to its scheduler the task ended while it runs.
SHORT_PAUSE_SECONDS = 30.0


@dataclass(frozen=True)
class RunOptions:
    """
    How a worker carries out a run.

    :param deferrable: wait in the triggerer.
    :param check_interval: seconds between two looks.
    :param print_log: show the job's output in the task's log.
    :param resume: go on from what the run has; False trains anew when a person starts the task over.
    :param stop_on_kill: whether a killed task stops its job.
    """

    deferrable: bool = False
    check_interval: float = 30.0
    print_log: bool = True
    resume: bool = True
    stop_on_kill: bool = True


class Log(Protocol):
    """A task's logger, whichever library it is of."""

    def info(self, message: str, /, *args: Any) -> Any: ...

    def warning(self, message: str, /, *args: Any) -> Any: ...


class Deferral(Exception):
    """The run has to wait, and the triggerer is to do it."""

    def __init__(self, job_name: str | None, until: datetime | None, carry: dict[str, Any]) -> None:
        super().__init__(job_name)
        self.job_name = job_name
        self.until = until
        self.carry = carry


class TrainingRun:
    """
    One try of a run.

    :param hook: talks to SageMaker.
    :param plan: the validated request.
    :param limits: how long and how often.
    :param this_try: the Airflow try.
    :param prepare: does what has to be in S3 before the first job is created.
    :param on_attempt: told of each attempt that this try creates or attaches to.
    :param log: the task's.
    """

    def __init__(
        self,
        hook: SageMakerSpotTrainingHook,
        plan: Plan,
        limits: Limits,
        this_try: TryMark,
        options: RunOptions,
        *,
        prepare: Callable[[], None],
        on_attempt: Callable[[str, str], None],
        log: Log,
    ) -> None:
        self.hook = hook
        self.plan = plan
        self.limits = limits
        self.this_try = this_try
        self.options = options
        self.log = log
        self._prepare = prepare
        self._on_attempt = on_attempt
        self._killed = False
        self._job: str | None = None
        # A signal may arrive in the middle of a call: the handler must not need what that call holds.
        self._handler_client = hook.get_client_type(region_name=hook.region_name)
        self.history = History(1)

    # ---- entering

    def begin(self) -> None:
        """Find out where the run stands, at the start of a try."""
        self.history = begin_try(self.hook.attempts(self.plan), self.this_try, resume=self.options.resume)
        last = self.history.last
        if last is None:
            self.log.info("Run %s, generation %d: nothing trained yet", self.plan.run.key, self.history.generation)
            return
        for attempt in self.history.attempts:
            self.log.info("Found %s", attempt_line(attempt))
        # Not only the newest may be live: a list that lags shows an older one late.
        if self.history.live is not None:
            self._attach(self.history.live)

    def resume(self, carry: Mapping[str, Any]) -> None:
        """Go on after a deferral: the generation and the try's first attempt are those of before."""
        self._job = carry.get("job_name")
        attempts = self.hook.attempts(self.plan, known=[self._job] if self._job else [])
        generation = int(carry["generation"])
        self.history = History(
            generation,
            tuple(attempt for attempt in attempts if attempt.name.generation == generation),
            int(carry["first_of_try"]),
        )
        live, waited_for = self.history.live, self._job
        self._job = live.job_name if live is not None else None
        if live is not None and live.job_name != waited_for:
            self._attach(live)
        for attempt in self.history.attempts:
            if attempt.job_name == waited_for:
                self._tell_whole(attempt)

    # ---- going

    def go(self) -> tuple[Mapping[str, Any], History]:
        """
        Carry the run to its end.

        :return: the winning job's description, and the history.
        :raises Deferral: it has to wait in the triggerer.
        :raises SpotTrainingError: it failed.
        """
        while True:
            action = decide(self.limits, self.history, _now(), key=self.plan.run.key)
            if isinstance(action, Succeed):
                return self._succeed(action)
            if isinstance(action, Fail):
                raise self._failure(action)
            if isinstance(action, Submit):
                self._submit(action)
            elif isinstance(action, Stop):
                self._stop(action)
            elif isinstance(action, Pause):
                self.log.info("%s", action.why)
                self._wait_until(action.until)
            else:
                self._wait(action)

    def submit_only(self) -> Mapping[str, Any]:
        """Create or find the run's job and leave it: for ``wait_for_completion=False``."""
        while True:
            action = decide(self.limits, self.history, _now(), key=self.plan.run.key)
            if isinstance(action, Submit):
                self._submit(action)
            elif isinstance(action, Fail):
                raise self._failure(action)
            elif isinstance(action, Pause):
                self._sleep((action.until - _now()).total_seconds())
            else:
                name = action.attempt.job_name
                self.log.info("Not waiting: training job %s runs on", name)
                return self.hook.find(name) or {}

    def kill(self) -> None:
        """
        Stop the job of a task that Airflow kills. Runs in a signal handler, between two instructions of :meth:`go`.

        A worker that is drained and one that was superseded are killed the same way: only the try that owns
        the job may stop it, and a stop too many costs a changeover, never the work.
        """
        self._killed = True
        if self._job is None:
            return
        if not self.options.stop_on_kill:
            self.log.warning("Killed with stop_on_kill=False: training job %s runs on", self._job)
            return
        number = self.this_try.number
        left = self.hook.stop(self._job, StopMark("killed", number), owner=number, client=self._handler_client)
        self._tell_stopped("killed", left)

    def abandon(self, reason: str) -> None:
        """Stop the live job of a task that gives up; nothing is left running."""
        if self._job is None:
            return
        if not self.options.stop_on_kill:
            self.log.warning("Giving up (%s) with stop_on_kill=False: training job %s runs on", reason, self._job)
            return
        left = self.hook.stop(self._job, StopMark(reason, self.this_try.number), owner=self.this_try.number)
        self._tell_stopped(reason, left)

    def let_go(self) -> None:
        """Look after the job of a try that an unexpected error ends: the next try attaches, or it is stopped."""
        if self._job is None:
            return
        if self.this_try.number <= self.this_try.max_tries:
            self.log.warning("Training job %s runs on; the next try attaches to it", self._job)
        else:
            self.abandon("failure")

    # ---- the actions

    def _submit(self, action: Submit) -> None:
        self._check_alive()
        self._prepare()
        generation = self.history.generation
        request = self.plan.request_for(generation, action.number, action.rung, self.this_try)
        name = request["TrainingJobName"]
        self.log.info("Attempt %d on %s (%s): creating training job %s", action.number, action.rung, action.why, name)
        self._job = name  # before the call: a kill in the middle of it must know what to stop
        description, attached = self.hook.submit(request, self.plan.run.key)
        attempt = self.hook.as_attempt(description)
        if attached and not attempt.live:
            # It is from before this try, and no list had shown it: what it was is for the history to say.
            self._job = None
            known = self.hook.attempts(self.plan, known=[name])
            self.history = begin_try(known, self.this_try, resume=self.options.resume)
            return
        self.history = replace(self.history, attempts=(*self.history.attempts, attempt))
        if attached:
            self._attach(attempt, entering=False)
            return
        self.log.info("Created %s; checkpoints in %s", name, self._checkpoints)
        self._on_attempt(name, attempt.checkpoint_s3_uri)
        if self._killed:  # the signal came during the create, when there was no job to stop yet
            self.kill()
            self._check_alive()

    def _attach(self, attempt: Attempt, *, entering: bool = True) -> None:
        self._job = attempt.job_name
        self.log.info("Attached to training job %s (%s)", attempt.job_name, attempt.secondary_status)
        changed = changed_fields(self.plan.fingerprint, attempt.fingerprint) if attempt.fingerprint else []
        if changed:
            self.log.warning(
                "The task's %s changed since %s was created; it trains on as it was",
                ", ".join(changed),
                attempt.job_name,
            )
        if not entering and attempt.owner is not None and attempt.owner > self.this_try.number:
            # A try that begins is the newest, whatever its number: the DAG run may have been made again.
            self.log.warning("Try %d waits for it already: this try is an older one", attempt.owner)
        else:
            self.hook.mark_owner(attempt.arn, self.this_try)
        self._on_attempt(attempt.job_name, attempt.checkpoint_s3_uri)

    def _wait(self, action: Wait) -> None:
        name = action.attempt.job_name
        if name != self._job:
            self._attach(action.attempt)
        if self.options.deferrable:
            raise self._deferral(name, action.until)
        log = self.hook.job_log(name) if self.options.print_log else None
        seen = 0
        while True:
            found = look(self.hook.find, name, seen)
            if found is None:
                break
            for line in transition_lines(name, found.new):
                self.log.info("%s", line)
            seen = found.seen
            if log is not None:
                for line in log.new_lines():
                    self.log.info("[%s] %s", name, line)
            if found.ended or (action.until is not None and _now() >= action.until):
                break
            self._sleep(self.options.check_interval, action.until)
        self._refresh(name)

    def _wait_until(self, until: datetime) -> None:
        pause = (until - _now()).total_seconds()
        if self.options.deferrable and pause > SHORT_PAUSE_SECONDS:
            raise self._deferral(None, until)
        self._sleep(pause)

    def _stop(self, action: Stop) -> None:
        name = action.attempt.job_name
        if not self.options.stop_on_kill:
            raise error_for(None)(f"{action.why}; training job {name} runs on, as stop_on_kill=False asks")
        left = self.hook.stop(name, StopMark(action.reason, self.this_try.number), owner=self.this_try.number)
        self._tell_stopped(action.why, left)
        self._refresh(name)
        live = self.history.live
        if left is not None and live is not None and live.status == "InProgress":
            # A later try waits for it: it is not this one's to stop, and to try again would never end.
            raise error_for(None)(f"{action.why}; training job {name}: {left}")

    def _succeed(self, action: Succeed) -> tuple[Mapping[str, Any], History]:
        name = action.attempt.job_name
        description = self.hook.find(name) or {}
        for line in closing_lines(self.history):
            self.log.info("%s", line)
        return description, self.history

    def _failure(self, action: Fail) -> Exception:
        attempt = action.attempt
        if attempt is None:
            return error_for(action.kind)(f"Run {self.plan.run.key} failed: {action.why}")
        parts = [f"Training job {attempt.job_name} ({attempt.outcome}): {action.why}"]
        if attempt.failure_reason:
            parts.append(f"SageMaker says: {attempt.failure_reason}")
        if action.kind is Outcome.SCRIPT_ERROR:
            tail = self.hook.job_log(attempt.job_name).tail(FAILURE_LINES)
            if tail:
                parts.append("The last lines of its log:\n  " + "\n  ".join(tail))
        parts.append(f"Checkpoints stay in {attempt.checkpoint_s3_uri}")
        return error_for(action.kind)(". ".join(part.rstrip(".") for part in parts))

    # ---- helpers

    def delivered(self, description: Mapping[str, Any]) -> None:
        """Mark the result as handed over: the last act of a successful task."""
        self.hook.mark_delivered(description["TrainingJobArn"], self.this_try)

    def _refresh(self, name: str) -> None:
        fresh = self.hook.attempt(name)
        rest = tuple(attempt for attempt in self.history.attempts if attempt.job_name != name)
        attempts = rest if fresh is None else tuple(sorted((*rest, fresh), key=lambda attempt: attempt.number))
        self.history = replace(self.history, attempts=attempts)
        if fresh is None or not fresh.live:
            self._job = None
            if fresh is None:
                self.log.warning("Training job %s is gone: somebody deleted it", name)

    def _tell_whole(self, attempt: Attempt) -> None:
        """Repeat what the trigger saw: its own lines are lost on MWAA."""
        description = self.hook.find(attempt.job_name) or {}
        for line in transition_lines(attempt.job_name, description.get("SecondaryStatusTransitions") or ()):
            self.log.info("%s", line)
        if self.options.print_log and attempt.outcome is not Outcome.SCRIPT_ERROR:
            for line in self.hook.job_log(attempt.job_name).tail(RESUME_LINES):
                self.log.info("[%s] %s", attempt.job_name, line)

    def _deferral(self, job_name: str | None, until: datetime | None) -> Deferral:
        give_up = self.limits.give_up_at
        carry = {
            "job_name": job_name,
            "generation": self.history.generation,
            "first_of_try": self.history.first_of_try,
            "give_up_at": give_up.timestamp() if give_up else None,
        }
        return Deferral(job_name, until, carry)

    def _tell_stopped(self, why: str, left: str | None) -> None:
        if left is None:
            self.log.warning(
                "Stopped training job %s (%s); its checkpoints stay in %s", self._job, why, self._checkpoints
            )
        else:
            self.log.warning("Training job %s was not stopped (%s): %s", self._job, why, left)

    @property
    def _checkpoints(self) -> str:
        return self.plan.checkpoint_s3_uri(self.history.generation)

    def _check_alive(self) -> None:
        if self._killed:
            raise RunKilled(f"Airflow killed this try of run {self.plan.run.key}; its job was told to stop")

    def _sleep(self, amount: float, until: datetime | None = None) -> None:
        """Sleep in slices: Airflow's signal handler returns here, and a killed task ends within a second."""
        end = time.monotonic() + max(0.0, amount if until is None else min(amount, (until - _now()).total_seconds()))
        while (left := end - time.monotonic()) > 0:
            self._check_alive()
            time.sleep(min(1.0, left))
        self._check_alive()


def _now() -> datetime:
    return datetime.now(timezone.utc)
