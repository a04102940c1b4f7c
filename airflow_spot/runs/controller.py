"""The life of a run in a worker: ask SageMaker, decide, act, again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from airflow_spot.core.decide import Action, Fail, Limits, Pause, Stop, Submit, Succeed, Wait, decide
from airflow_spot.core.history import Attempt, History, Refusal, begin_try
from airflow_spot.core.marks import TryMark
from airflow_spot.core.outcomes import ANEW_REASON, WAIT_REASON, Outcome
from airflow_spot.core.plan import Plan
from airflow_spot.core.story import attempt_line, closing_lines, transition_lines
from airflow_spot.errors import RequestError, RunKilled, SpotTrainingError, error_for
from airflow_spot.hooks.training import CreateRefused, JobUnseen
from airflow_spot.runs.config_change import changed, resumes
from airflow_spot.runs.conflicts import Rivals
from airflow_spot.runs.state import Deferral, RunOptions
from airflow_spot.runs.stopping import Log, Stopping, nap
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
        self._told: dict[str, int] = {}
        self.history = History(1)
        self.stopping = Stopping(
            hook, this_try, stop_on_kill=options.stop_on_kill, checkpoints=lambda: self._checkpoints, log=log
        )
        self._rivals = Rivals(hook, plan, this_try, log)
        hook.be_patient(self._sleep, limits.give_up_at.timestamp() if limits.give_up_at else None)

    # ---- entering

    def begin(self) -> None:
        """Find out where the run stands, at the start of a try."""
        attempts = self.hook.attempts(self.plan)
        self.history = begin_try(attempts, self.this_try, resume=self._resumes(attempts))
        last = self.history.last
        if last is None:
            self._tell_generation()
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
            bool(carry.get("anew")),
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
            elif self.history.anew and isinstance(action, Stop):
                self._stop(action)
            elif self.history.anew and isinstance(action, Wait):
                self._wait(action)
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

    def _decide(self) -> Action:
        settled = self.history.settled()
        if settled is not self.history:
            self.history = settled
            self._tell_generation()
        return decide(self.limits, self.history, _now(), key=self.plan.run.key)

    def _submit(self, action: Submit) -> None:
        self._check_alive()
        generation = self.history.generation
        self._rivals.check_generation(generation)
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
        except SpotTrainingError as error:
            if not isinstance(error, (JobUnseen, RunKilled)):
                self.stopping.job = None  # there is none, or it is a stranger's and not ours to stop
            raise
        attempt = self.hook.as_attempt(description)
        if attached and not attempt.live and attempt.begun != self.this_try:
            self.stopping.job = None
            self._take_up(attempt)
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
            self._rivals.check_created(attempt)
        except SpotTrainingError:
            self.stopping.abandon("superseded")
            raise
        if self._killed:  # the signal came during the create, when there was no job to stop yet
            self.kill()
            self._check_alive()

    def _take_up(self, ended: Attempt) -> None:
        """Read the history again: the number is taken by a job of another try, ended, that nothing had shown."""
        self._rivals.check_try(ended)
        known = self.hook.attempts(self.plan, known=[ended.job_name])
        again = begin_try(known, self.this_try, resume=self._resumes(known))
        self.history = replace(again, refusals=self.history.refusals)

    def _attach(self, attempt: Attempt, *, entering: bool = True) -> None:
        self.stopping.job = attempt.job_name
        self.log.info("Attached to training job %s (%s)", attempt.job_name, attempt.secondary_status)
        if (names := changed(self.plan, attempt)) and not self.history.anew:
            self.log.warning(
                "The task's %s changed since %s was created; it trains on as it was", names, attempt.job_name
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
            self._attach(action.attempt, entering=False)
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
        if not self.options.stop_on_kill and action.reason not in (WAIT_REASON, ANEW_REASON):
            raise error_for(None)(f"{action.why}; training job {name} runs on, as stop_on_kill=False asks")
        left = self.stopping.stop(name, action.reason)
        self.stopping.tell(action.why, left)
        self._refresh(name)
        live = self.history.live
        if left is not None and live is not None and live.status == "InProgress":
            # A later try waits for it: it is not this one's to stop, and to try again would never end.
            raise error_for(None)(f"{action.why}; training job {name}: {left}")
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

    def _tell_generation(self) -> None:
        generation = self.history.generation
        self.log.info("Run %s, generation %d: nothing trained yet", self.plan.run.key, generation)
        if generation > 1 and self.plan.checkpoint_scope == "exact":
            self.log.warning(
                'checkpoint_scope="exact": it goes on from what is in %s, unless you empty that', self._checkpoints
            )

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
            "anew": self.history.anew,
        }
        return Deferral(job_name, until, carry, **more)

    def _resumes(self, attempts: Sequence[Attempt]) -> bool:
        try:
            return resumes(attempts, self.plan, self.this_try, self.options, self.log)
        except RequestError:
            # What was cleared has not stopped yet, and nobody will wait for it.
            for attempt in attempts:
                if attempt.live:
                    self._attach(attempt)
                    self.abandon("failure")
            raise

    @property
    def _checkpoints(self) -> str:
        return self.plan.checkpoint_s3_uri(self.history.generation)

    def _check_alive(self) -> None:
        if self._killed:
            raise RunKilled(f"Airflow killed this try of run {self.plan.run.key}; its job was told to stop")

    def _sleep(self, amount: float, until: datetime | None = None) -> None:
        nap(amount if until is None else min(amount, (until - _now()).total_seconds()), self._check_alive)


def _now() -> datetime:
    return datetime.now(timezone.utc)
