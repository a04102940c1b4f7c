"""The life of a run in a worker: ask SageMaker, decide, act, again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from airflow_spot.core.decide import Action, Fail, Limits, Pause, Stop, Submit, Succeed, Wait, decide
from airflow_spot.core.history import Attempt, History, Refusal, begin_try
from airflow_spot.core.log_messages import attempt_line, closing_lines, transition_lines
from airflow_spot.core.marks import TryMark
from airflow_spot.core.outcomes import Outcome
from airflow_spot.core.plan import Plan
from airflow_spot.core.stop_reasons import StopReason
from airflow_spot.errors import RequestError, RunKilledError, SpotTrainingError, error_for
from airflow_spot.hooks.training import CreateRefusedError, JobNotVisibleError
from airflow_spot.runs.config_change import changed, should_resume
from airflow_spot.runs.conflicts import ConflictGuard
from airflow_spot.runs.state import Deferral, RunOptions
from airflow_spot.runs.stopping import JobStopper, Log, interruptible_sleep
from airflow_spot.watch.observe import look

if TYPE_CHECKING:
    from airflow_spot.hooks.training import SageMakerSpotTrainingHook

#: Lines of a job's log that are shown when its script failed, and at each resume of a deferred task.
FAILURE_LINES = 20
RESUME_LINES = 200

REFUSALS_KEPT = 50

STOP_LAG_SECONDS = 5.0

#: A pause up to this is slept in the worker: to defer, settle and start a worker again takes about as long.
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
        self._logged_transitions: dict[str, int] = {}
        self.history = History(1)
        self.stopping = JobStopper(
            hook, this_try, stop_on_kill=options.stop_on_kill, checkpoints=lambda: self._checkpoints, log=log
        )
        self._conflicts = ConflictGuard(hook, plan, this_try, log)
        hook.enable_retries(self._sleep, limits.give_up_at.timestamp() if limits.give_up_at else None)

    # ---- entering

    def begin(self) -> None:
        """Find out where the run stands, at the start of a try."""
        attempts = self.hook.attempts(self.plan)
        self.history = begin_try(attempts, self.this_try, resume=self._resumes(attempts))
        last = self.history.last
        if last is None:
            self._log_generation()
            return
        for attempt in self.history.attempts:
            self.log.info("Found %s", attempt_line(attempt))
        # Not only the newest may be live: a list that lags shows an older one late.
        if self.history.live is not None:
            self._attach(self.history.live)

    def resume(self, run_state: Mapping[str, Any], *, quota_available: bool = False) -> None:
        """
        Go on after a deferral: the generation and the try's first attempt are those of before.

        :param quota_available: a share of the quota was given back, and it is this run's turn to ask for it.
        """
        self.stopping.job = run_state.get("job_name")
        attempts = self.hook.attempts(self.plan, known=[self.stopping.job] if self.stopping.job else [])
        generation = int(run_state["generation"])
        self.history = History(
            generation,
            tuple(attempt for attempt in attempts if attempt.name.generation == generation),
            int(run_state["first_of_try"]),
            tuple(Refusal.from_json(each) for each in run_state.get("refusals") or ()),
            bool(run_state.get("restart_requested")),
        )
        if quota_available and self.history.refusals:
            *before, newest = self.history.refusals
            self.history = replace(self.history, refusals=(*before, replace(newest, waited=True)))
        live, waited_for = self.history.live, self.stopping.job
        self.stopping.job = live.job_name if live is not None else None
        if live is not None and live.job_name != waited_for:
            self._attach(live)
        for attempt in self.history.attempts:
            if attempt.job_name == waited_for:
                self._log_missed_transitions(attempt)

    # ---- going

    def run(self) -> tuple[Mapping[str, Any], History]:
        """
        Carry the run to its end.

        :return: the winning job's description, and the history.
        :raises Deferral: it has to wait in the triggerer.
        :raises SpotTrainingError: it failed.
        """
        while True:
            self._check_alive()
            action = self._decide()
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
        self.options = replace(self.options, deferrable=False)
        while True:
            action = self._decide()
            if isinstance(action, Submit):
                self._submit(action)
            elif isinstance(action, Fail):
                raise self._failure(action)
            elif self.history.restart_requested and isinstance(action, Stop):
                self._stop(action)
            elif self.history.restart_requested and isinstance(action, Wait):
                self._wait(action)
            elif isinstance(action, Pause):
                self._sleep((action.until - _now()).total_seconds())
            else:
                name = action.attempt.job_name
                self.log.info("Not waiting for completion: training job %s keeps running", name)
                return self.hook.find(name) or {}

    def kill(self) -> None:
        """Be killed by Airflow: a flag that ends :meth:`run` before its next call, and the job's stop."""
        self._killed = True
        self.stopping.kill()

    def stop_and_wait(self, reason: StopReason) -> None:
        """Stop the live job of a task whose time is up, and wait until it has ended."""
        self.stopping.stop_and_wait(reason, None if self._killed else self._sleep)

    # ---- the actions

    def _decide(self) -> Action:
        settled = self.history.next_generation_if_idle()
        if settled is not self.history:
            self.history = settled
            self._log_generation()
        return decide(self.limits, self.history, _now(), key=self.plan.run.key)

    def _submit(self, action: Submit) -> None:
        self._check_alive()
        generation = self.history.generation
        self._conflicts.check_generation(generation)
        self._prepare(self._checkpoints if action.number == 1 else None)
        request = self.plan.request_for(generation, action.number, action.rung, self.this_try)
        name = request["TrainingJobName"]
        self.log.info("Attempt %d on %s (%s): creating training job %s", action.number, action.rung, action.why, name)
        self.stopping.job = name  # before the call: a kill in the middle of it must know what to stop
        try:
            description, attached = self.hook.submit(request, self.plan.run.key)
        except CreateRefusedError as refused:
            self.stopping.job = None
            self.log.warning("%s", refused)
            refusal = Refusal(action.number, str(action.rung), refused.outcome, _now(), str(refused))
            self.history = replace(self.history, refusals=(*self.history.refusals, refusal))
            return
        except SpotTrainingError as error:
            if not isinstance(error, (JobNotVisibleError, RunKilledError)):
                self.stopping.job = None  # there is none, or it is a stranger's and not ours to stop
            raise
        attempt = self.hook.as_attempt(description)
        if attached and not attempt.live and attempt.created_by != self.this_try:
            self.stopping.job = None
            self._reload_history(attempt)
            return
        self.history = replace(self.history, attempts=(*self.history.attempts, attempt))
        if attached and not attempt.live:
            # Ours: the answer to the create was lost, and the job had ended before the create was repeated.
            self.stopping.job = None
            self._on_attempt(name, attempt.checkpoint_s3_uri)
            return
        if attached:
            self._attach(attempt, entering=False)
        else:
            self.log.info("Created %s; checkpoints in %s", name, self._checkpoints)
            self._on_attempt(name, attempt.checkpoint_s3_uri)
        try:
            self._conflicts.check_created(attempt)
        except SpotTrainingError:
            self.stopping.stop_and_wait(StopReason.SUPERSEDED)
            raise
        if self._killed:  # the signal came during the create, when there was no job to stop yet
            self.kill()
            self._check_alive()

    def _reload_history(self, ended: Attempt) -> None:
        """Read the history again: the number is taken by a job of another try, ended, that nothing had shown."""
        self._conflicts.check_try(ended)
        known = self.hook.attempts(self.plan, known=[ended.job_name])
        again = begin_try(known, self.this_try, resume=self._resumes(known))
        self.history = replace(again, refusals=self.history.refusals)

    def _attach(self, attempt: Attempt, *, entering: bool = True) -> None:
        self.stopping.job = attempt.job_name
        self.log.info("Attached to training job %s (%s)", attempt.job_name, attempt.secondary_status)
        if (names := changed(self.plan, attempt)) and not self.history.restart_requested:
            self.log.warning(
                "%s changed since job %s was created; the running job keeps its original configuration",
                names,
                attempt.job_name,
            )
        if not entering and attempt.owner is not None and attempt.owner > self.this_try.number:
            # A try that begins is the newest, whatever its number: the DAG run may have been made again.
            self.log.warning("Job is owned by newer try %d; not taking ownership", attempt.owner)
        else:
            self.hook.mark_owner(attempt.arn, self.this_try)
            if attempt.stop is not None and not attempt.stop.withdrawn and attempt.status == "InProgress":
                self.hook.revoke_stop_mark(attempt.job_name, attempt.arn, attempt.stop, self.this_try.number)
        self._on_attempt(attempt.job_name, attempt.checkpoint_s3_uri)

    def _wait(self, action: Wait) -> None:
        name = action.attempt.job_name
        if name != self.stopping.job:
            self._attach(action.attempt, entering=False)
        if self.options.deferrable:
            raise self._deferral(
                name,
                action.until,
                capacity_timeout=action.capacity_timeout,
                transitions_seen=self._logged_transitions.get(name, 0),
            )
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
            if found.waits_longer_than(action.capacity_timeout, _now()):
                break
            self._sleep(self.options.check_interval, action.until)
        self._refresh(name)

    def _pause(self, action: Pause) -> None:
        pause = (action.until - _now()).total_seconds()
        if self.options.deferrable and pause > SHORT_PAUSE_SECONDS:
            raise self._deferral(None, action.until, quota_key=action.quota_key)
        self._sleep(pause)

    def _stop(self, action: Stop) -> None:
        name = action.attempt.job_name
        if not self.options.stop_on_kill and action.reason not in (StopReason.RUNG_TIMEOUT, StopReason.RESTART):
            raise error_for(None)(f"{action.why}; training job {name} keeps running (stop_on_kill=False)")
        skip_reason = self.stopping.stop(name, action.reason)
        self.stopping.log_result(action.why, skip_reason)
        self._refresh(name)
        live = self.history.live
        if skip_reason is not None and live is not None and live.status == "InProgress":
            # A later try waits for it: it is not this one's to stop, and to try again would never end.
            raise error_for(None)(f"{action.why}; training job {name}: {skip_reason}")
        if live is not None and live.status == "InProgress":
            # Stopped, and Describe does not show it yet.
            self._sleep(STOP_LAG_SECONDS)

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
        parts = [f"Training job {attempt.job_name} ({attempt.label}): {action.why}"]
        if attempt.failure_reason:
            parts.append(f"SageMaker says: {attempt.failure_reason}")
        if action.kind is Outcome.SCRIPT_ERROR:
            tail = self.hook.job_log(attempt.job_name).tail(FAILURE_LINES)
            if tail:
                parts.append("The last lines of its log:\n  " + "\n  ".join(tail))
        parts.append(f"Checkpoints are kept in {attempt.checkpoint_s3_uri}")
        return error_for(action.kind)(". ".join(part.rstrip(".") for part in parts))

    # ---- helpers

    def _log_generation(self) -> None:
        generation = self.history.generation
        self.log.info(
            "Run %s (generation %d): no earlier training job found, starting the first attempt",
            self.plan.run.key,
            generation,
        )
        if generation > 1 and self.plan.checkpoint_scope == "exact":
            self.log.warning(
                'checkpoint_scope="exact": it resumes from what is in %s, unless you empty that folder',
                self._checkpoints,
            )

    def mark_delivered(self, description: Mapping[str, Any]) -> None:
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
                self.log.warning("Training job %s no longer exists: it was deleted outside Airflow", name)

    def _log_missed_transitions(self, attempt: Attempt) -> None:
        """Repeat what the trigger saw: its own lines are lost on MWAA."""
        found = look(self.hook.find, attempt.job_name, 0)
        transitions = found.new if found is not None else ()
        self._logged_transitions[attempt.job_name] = len(transitions)
        for line in transition_lines(attempt.job_name, transitions):
            self.log.info("%s", line)
        if self.options.print_log and attempt.outcome is not Outcome.SCRIPT_ERROR:
            lines = self.hook.job_log(attempt.job_name).tail(RESUME_LINES)
            for line in lines:
                self.log.info("[%s] %s", attempt.job_name, line)
            if len(lines) == RESUME_LINES:
                self.log.info("Showing the last %d log lines; full log: link 'SageMaker Training Logs'", RESUME_LINES)

    def _deferral(self, job_name: str | None, until: datetime | None, **more: Any) -> Deferral:
        give_up, refusals = self.limits.give_up_at, self.history.refusals
        # The first says since when the run waits, the newest where it stands: a task carries no more of them.
        kept = refusals if len(refusals) <= REFUSALS_KEPT else (refusals[0], *refusals[-REFUSALS_KEPT + 1 :])
        run_state = {
            "job_name": job_name,
            "generation": self.history.generation,
            "first_of_try": self.history.first_of_try,
            "give_up_at": give_up.timestamp() if give_up else None,
            "refusals": [refusal.to_json() for refusal in kept],
            "restart_requested": self.history.restart_requested,
        }
        return Deferral(job_name, until, run_state, **more)

    def _resumes(self, attempts: Sequence[Attempt]) -> bool:
        try:
            return should_resume(attempts, self.plan, self.this_try, self.options, self.log)
        except RequestError:
            # What was cleared has not stopped yet, and nobody will wait for it.
            for attempt in attempts:
                if attempt.live:
                    self._attach(attempt)
                    self.stop_and_wait(StopReason.FAILURE)
            raise

    @property
    def _checkpoints(self) -> str:
        return self.plan.checkpoint_s3_uri(self.history.generation)

    def _check_alive(self) -> None:
        if self._killed:
            raise RunKilledError(f"Airflow killed this try of run {self.plan.run.key}; its job was stopped")

    def _sleep(self, amount: float, until: datetime | None = None) -> None:
        interruptible_sleep(
            amount if until is None else min(amount, (until - _now()).total_seconds()), self._check_alive
        )


def _now() -> datetime:
    return datetime.now(timezone.utc)
