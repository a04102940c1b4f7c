"""The life of a run in a worker: ask SageMaker, decide, act, again."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from airflow_spot.core.decide import Fail, Limits, Pause, Stop, Submit, Succeed, Wait, decide
from airflow_spot.core.history import Attempt, History, Refusal, begin_try
from airflow_spot.core.marks import StopMark, TryMark, changed_fields
from airflow_spot.core.outcomes import WAIT_REASON, Outcome
from airflow_spot.core.plan import Plan
from airflow_spot.core.story import attempt_line, closing_lines, transition_lines
from airflow_spot.errors import RequestError, RunKilled, error_for
from airflow_spot.hooks.training import CreateRefused
from airflow_spot.operators.options import Deferral, RunOptions
from airflow_spot.operators.stopping import Log, Stopping
from airflow_spot.watch.observe import look

if TYPE_CHECKING:
    from airflow_spot.hooks.training import SageMakerSpotTrainingHook

#: Lines of a job's log that are shown when its script failed, and at each resume of a deferred task.
FAILURE_LINES = 20
RESUME_LINES = 200

REFUSALS_KEPT = 50

#: A pause up to this is slept in the worker. Airflow 3.3 fails a task whose trigger fires before the worker that
#: deferred it has ended, which takes seconds on a busy machine: to its scheduler the task ended while it runs.
SHORT_PAUSE_SECONDS = 30.0


class TrainingRun:
    """
    One try of a run.

    :param hook: talks to SageMaker.
    :param plan: the validated request.
    :param limits: how long and how often.
    :param this_try: the Airflow try.
    :param prepare: does what has to be in S3 before a job is created; told where the checkpoints are to be if it
        is a generation's first.
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
        prepare: Callable[[str | None], None],
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
        self._told: dict[str, int] = {}
        self.history = History(1)
        self.stopping = Stopping(
            hook, this_try, stop_on_kill=options.stop_on_kill, checkpoints=lambda: self._checkpoints, log=log
        )
        hook.be_patient(self._sleep, limits.give_up_at.timestamp() if limits.give_up_at else None)

    # ---- entering

    def begin(self) -> None:
        """Find out where the run stands, at the start of a try."""
        attempts = self.hook.attempts(self.plan)
        self.history = begin_try(attempts, self.this_try, resume=self._resumes(attempts))
        last = self.history.last
        if last is None:
            self.log.info("Run %s, generation %d: nothing trained yet", self.plan.run.key, self.history.generation)
            return
        for attempt in self.history.attempts:
            self.log.info("Found %s", attempt_line(attempt))
        # Not only the newest may be live: a list that lags shows an older one late.
        if self.history.live is not None:
            self._attach(self.history.live)

    def resume(self, carry: Mapping[str, Any], *, turn: bool = False) -> None:
        """
        Go on after a deferral: the generation and the try's first attempt are those of before.

        :param turn: a share of the quota was given back, and it is this run's turn to ask for it.
        """
        self.stopping.job = carry.get("job_name")
        attempts = self.hook.attempts(self.plan, known=[self.stopping.job] if self.stopping.job else [])
        generation = int(carry["generation"])
        self.history = History(
            generation,
            tuple(attempt for attempt in attempts if attempt.name.generation == generation),
            int(carry["first_of_try"]),
            tuple(Refusal.from_json(each) for each in carry.get("refusals") or ()),
        )
        if turn and self.history.refusals:
            *before, newest = self.history.refusals
            self.history = replace(self.history, refusals=(*before, replace(newest, waited=True)))
        live, waited_for = self.history.live, self.stopping.job
        self.stopping.job = live.job_name if live is not None else None
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
                self._pause(action)
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
        """Be killed by Airflow: a flag that ends :meth:`go` before its next call, and the job's stop."""
        self._killed = True
        self.stopping.kill()

    def abandon(self, reason: str) -> None:
        """Stop the live job of a task whose time is up, and wait until it has ended."""
        self.stopping.abandon(reason, None if self._killed else self._sleep)

    # ---- the actions

    def _submit(self, action: Submit) -> None:
        self._check_alive()
        generation = self.history.generation
        self._check_newest(generation)
        self._prepare(self._checkpoints if action.number == 1 else None)
        request = self.plan.request_for(generation, action.number, action.rung, self.this_try)
        name = request["TrainingJobName"]
        self.log.info("Attempt %d on %s (%s): creating training job %s", action.number, action.rung, action.why, name)
        self.stopping.job = name  # before the call: a kill in the middle of it must know what to stop
        try:
            description, attached = self.hook.submit(request, self.plan.run.key)
        except CreateRefused as refused:
            self.stopping.job = None
            self.log.warning("%s", refused)
            refusal = Refusal(action.number, str(action.rung), refused.outcome, _now(), str(refused))
            self.history = replace(self.history, refusals=(*self.history.refusals, refusal))
            return
        attempt = self.hook.as_attempt(description)
        if attached and not attempt.live:
            # It is from before this try, and no list had shown it: what it was is for the history to say.
            self.stopping.job = None
            known = self.hook.attempts(self.plan, known=[name])
            self.history = begin_try(known, self.this_try, resume=self._resumes(known))
            return
        self.history = replace(self.history, attempts=(*self.history.attempts, attempt))
        if attached:
            self._attach(attempt, entering=False)
        else:
            self.log.info("Created %s; checkpoints in %s", name, self._checkpoints)
            self._on_attempt(name, attempt.checkpoint_s3_uri)
        self._check_alone(attempt)
        if self._killed:  # the signal came during the create, when there was no job to stop yet
            self.kill()
            self._check_alive()

    def _check_newest(self, generation: int) -> None:
        """A worker that was superseded must not go on with a generation that a person has started over."""
        if self.hook.find(self.plan.job_name(generation + 1, 1)) is not None:
            raise RunKilled(
                f"Run {self.plan.run.key} was started over meanwhile: generation {generation + 1} trains, and this "
                "try is an older one"
            )

    def _check_alone(self, attempt: Attempt) -> None:
        """
        See to it that two generations do not train at once, after a create: either worker then sees the other's.

        The newer generation stays.
        """
        generation = attempt.name.generation
        try:
            self._check_newest(generation)
        except RunKilled:
            self.stopping.abandon("superseded")
            raise
        if generation > 1 and attempt.number == 1:
            for older in self.hook.live_of_generation(self.plan, generation - 1):
                self.log.warning("Training job %s of the generation before still runs; stopping it", older)
                self.hook.stop(older, StopMark("superseded", self.this_try.number))

    def _attach(self, attempt: Attempt, *, entering: bool = True) -> None:
        self.stopping.job = attempt.job_name
        self.log.info("Attached to training job %s (%s)", attempt.job_name, attempt.secondary_status)
        changed = self._changed(attempt)
        if changed:
            self.log.warning(
                "The task's %s changed since %s was created; it trains on as it was", changed, attempt.job_name
            )
        if not entering and attempt.owner is not None and attempt.owner > self.this_try.number:
            # A try that begins is the newest, whatever its number: the DAG run may have been made again.
            self.log.warning("Try %d waits for it already: this try is an older one", attempt.owner)
        else:
            self.hook.mark_owner(attempt.arn, self.this_try)
            if attempt.stop is not None and not attempt.stop.withdrawn and attempt.status == "InProgress":
                self.hook.take_back_stop(attempt.job_name, attempt.arn, attempt.stop, self.this_try.number)
        self._on_attempt(attempt.job_name, attempt.checkpoint_s3_uri)

    def _wait(self, action: Wait) -> None:
        name = action.attempt.job_name
        if name != self.stopping.job:
            self._attach(action.attempt)
        if self.options.deferrable:
            raise self._deferral(name, action.until, patience=action.patience, seen=self._told.get(name, 0))
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
            if found.waits_longer_than(action.patience, _now()):
                break
            self._sleep(self.options.check_interval, action.until)
        self._refresh(name)

    def _pause(self, action: Pause) -> None:
        pause = (action.until - _now()).total_seconds()
        if self.options.deferrable and pause > SHORT_PAUSE_SECONDS:
            raise self._deferral(None, action.until, turn=action.turn)
        self._sleep(pause)

    def _stop(self, action: Stop) -> None:
        name = action.attempt.job_name
        if not self.options.stop_on_kill and action.reason != WAIT_REASON:
            raise error_for(None)(f"{action.why}; training job {name} runs on, as stop_on_kill=False asks")
        left = self.stopping.stop(name, action.reason)
        self.stopping.tell(action.why, left)
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
        refused = [refusal.message for refusal in self.history.refusals[-1:] if refusal.outcome is action.kind]
        if attempt is None or refused:
            parts = [f"Run {self.plan.run.key} failed: {action.why}", *refused]
            return error_for(action.kind)(". ".join(part.rstrip(".") for part in parts))
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
            self.stopping.job = None
            if fresh is None:
                self.log.warning("Training job %s is gone: somebody deleted it", name)

    def _tell_whole(self, attempt: Attempt) -> None:
        """Repeat what the trigger saw: its own lines are lost on MWAA."""
        found = look(self.hook.find, attempt.job_name, 0)
        transitions = found.new if found is not None else ()
        self._told[attempt.job_name] = len(transitions)
        for line in transition_lines(attempt.job_name, transitions):
            self.log.info("%s", line)
        if self.options.print_log and attempt.outcome is not Outcome.SCRIPT_ERROR:
            lines = self.hook.job_log(attempt.job_name).tail(RESUME_LINES)
            for line in lines:
                self.log.info("[%s] %s", attempt.job_name, line)
            if len(lines) == RESUME_LINES:
                self.log.info("These are its last lines; all are behind this task's link SageMaker Training Logs")

    def _deferral(self, job_name: str | None, until: datetime | None, **more: Any) -> Deferral:
        give_up, refusals = self.limits.give_up_at, self.history.refusals
        # The first says since when the run waits, the newest where it stands: a task carries no more of them.
        kept = refusals if len(refusals) <= REFUSALS_KEPT else (refusals[0], *refusals[-REFUSALS_KEPT + 1 :])
        carry = {
            "job_name": job_name,
            "generation": self.history.generation,
            "first_of_try": self.history.first_of_try,
            "give_up_at": give_up.timestamp() if give_up else None,
            "refusals": [refusal.to_json() for refusal in kept],
        }
        return Deferral(job_name, until, carry, **more)

    def _changed(self, attempt: Attempt) -> str:
        """Name what is no longer as it was when an attempt was created."""
        changed = changed_fields(self.plan.fingerprint, attempt.fingerprint) if attempt.fingerprint else []
        return ", ".join(changed)

    def _resumes(self, attempts: Sequence[Attempt]) -> bool:
        """
        Say whether a clear goes on from what the run has.

        :raises RequestError: the training changed, and ``on_config_change="fail"``.
        """
        if not self.options.resume or not attempts:
            return self.options.resume
        last = max(attempts, key=lambda attempt: (attempt.name.generation, attempt.number))
        changed = self._changed(last)
        cleared = last.begun is not None and self.this_try.begins_anew(last.begun, last.ended)
        if not changed or not cleared or last.live:
            return True
        if self.options.on_config_change == "fail":
            raise RequestError(
                f"The task's {changed} changed since {last.job_name} was created, and on_config_change is 'fail'. "
                "Nothing was created. Undo the change, or clear the task with on_config_change='resume' (go on from "
                "the checkpoint) or 'restart' (train anew)"
            )
        if self.options.on_config_change == "restart":
            self.log.warning("The task's %s changed since %s was created: training anew", changed, last.job_name)
            return False
        self.log.warning("The task's %s changed since %s; its checkpoint is gone on from", changed, last.job_name)
        return True

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
