"""The life of a run in a worker: observe SageMaker, decide, act, again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from airflow_spot.core.attempt import Attempt
from airflow_spot.core.decide import Action, Fail, Limits, Pause, Stop, Submit, Succeed, Wait, decide
from airflow_spot.core.durations import human
from airflow_spot.core.events import (
    AttemptAttached,
    AttemptCreated,
    AttemptDecided,
    AttemptFound,
    CreateRefused,
    Event,
    GenerationBegan,
    Observer,
    Paused,
    RunFailed,
    RunSucceeded,
    ServiceErrorsRepeated,
    of_finding,
)
from airflow_spot.core.findings import Finding
from airflow_spot.core.history import History, Refusal, begin_try
from airflow_spot.core.identity import JobName
from airflow_spot.core.log_messages import times
from airflow_spot.core.marks import tag_map
from airflow_spot.core.money.prices import Prices
from airflow_spot.core.money.totals import RunTotals, total
from airflow_spot.core.plan import Plan
from airflow_spot.core.policy import Policy
from airflow_spot.core.roles import Role
from airflow_spot.core.run_state import RunState, WatchedJob
from airflow_spot.core.stop_reasons import ALWAYS, StopReason
from airflow_spot.core.try_marks import TryMark
from airflow_spot.errors import (
    NonRetryableSpotError,
    RequestError,
    RunKilledError,
    SpotTrainingError,
    StoppedExternallyError,
    error_for,
)
from airflow_spot.hooks.training import CreateRefusedError, JobNotVisibleError
from airflow_spot.observers import Log
from airflow_spot.runs.checkpoint_folder import CheckpointFolder, look_into
from airflow_spot.runs.config_change import adopts, changed, earlier_result, should_resume
from airflow_spot.runs.conflicts import ConflictGuard
from airflow_spot.runs.earlier_attempts import read_whole
from airflow_spot.runs.failures import failure_of
from airflow_spot.runs.progress import ProgressWatch
from airflow_spot.runs.reports import ReportReader
from airflow_spot.runs.spending import MorePrices, afford, is_too_dear, price_earlier
from airflow_spot.runs.state import Deferral, RunOptions
from airflow_spot.runs.stopping import JobStopper, interruptible_sleep
from airflow_spot.runs.transitions import TransitionLog

if TYPE_CHECKING:
    from airflow_spot.hooks.training import SageMakerSpotTrainingHook

STOP_LAG_SECONDS = 5.0

#: Seconds between looks for a job that was there and is not.
GONE_PAUSES = (1.0, 2.0, 4.0)

#: A pause up to this is slept in the worker: to defer, settle and start a worker again takes about as long.
SHORT_PAUSE_SECONDS = 30.0


class TrainingRun:
    """
    One try of a run.

    :param hook: talks to SageMaker.
    :param plan: the validated request.
    :param limits: how long and how often.
    :param policy: where to train next.
    :param this_try: the Airflow try.
    :param prepare: does what has to be in S3 before a job is created; told where its checkpoints are to be, if
        SageMaker keeps any, and whether it is the first of its generation that does.
    :param observers: hear what happens.
    :param look_ahead: tells what would go wrong, before a generation's first job is created; may refuse it.
    :param before_wait: is called before each wait in the worker.
    :param log: the task's.
    :param prices: on-demand prices, if any are known.
    :param more_prices: adds those of further types to them, as far as they are known.
    """

    def __init__(
        self,
        hook: SageMakerSpotTrainingHook,
        plan: Plan,
        limits: Limits,
        policy: Policy,
        this_try: TryMark,
        options: RunOptions,
        *,
        prepare: Callable[[str | None, bool], None],
        observers: Sequence[Observer],
        look_ahead: Callable[[], None] = lambda: None,
        before_wait: Callable[[], None] = lambda: None,
        log: Log,
        prices: Prices | None = None,
        more_prices: MorePrices = lambda known, types: known,
    ) -> None:
        self.hook = hook
        self.plan = plan
        self.limits = limits
        self.policy = policy
        self.this_try = this_try
        self.options = options
        self.log = log
        self.prices = prices
        self._more_prices = more_prices
        self._prepare = prepare
        self._observers = tuple(observers)
        self._look_ahead = look_ahead
        self._before_wait = before_wait
        self._killed = False
        self._closed = False
        self._folder = CheckpointFolder(plan, log)
        self._progress = ProgressWatch(hook, plan, limits.progress, self._tell)
        self._reports = ReportReader(hook, expected=options.reports_expected, tell=self._tell)
        self._transitions = TransitionLog(hook, self._tell, log, print_log=options.print_log)
        self.history = History(1)
        #: Whatever is known of the run's jobs besides its history: of generations before.
        self.earlier: tuple[Attempt, ...] = ()
        self.stopping = JobStopper(
            hook,
            this_try,
            stop_on_kill=options.stop_on_kill,
            checkpoints=lambda: self._folder.kept(self.history),
            observe=self._tell,
            log=log,
        )
        self._conflicts = ConflictGuard(hook, plan, this_try, log, self._sleep)
        hook.remember_ended()
        hook.enable_retries(self._sleep, limits.give_up_at.timestamp() if limits.give_up_at else None)

    # ---- entering

    def begin(self) -> None:
        """Find out where the run stands, at the start of a try."""
        self._conflicts.begin_reading()
        jobs = self.hook.jobs_of(self.plan)
        self.earlier = (*self.hook.listed_before, *jobs)
        self._set_clock()
        self.history = self._begun(jobs)
        self._price_earlier()
        self.history = replace(self.history, progress=self._progress.begin(self.history))
        self._take_over_others()
        if self.history.last is None:
            self._tell_generation()
            return
        for attempt in self.history.attempts:
            if attempt.whole:
                self._tell(AttemptFound(attempt))
        if earlier := sum(not attempt.whole for attempt in self.history.attempts):
            self.log.info("The run also had %s, counted in its totals", times(earlier, "earlier attempt"))
        last = self.history.last
        if last.created_by is not None and self.this_try.follows_a_clear_of_another_task(last.created_by, last.ended):
            self.log.info("The DAG run was cleared, but not this task: it resumes its existing run")
        # Not only the newest may be live: a list that lags shows an older one late.
        if self.history.live is not None:
            self._attach(self.history.live)

    def resume(self, state: RunState, *, quota_available: bool = False, told: Sequence[Finding] = ()) -> None:
        """
        Continue after a deferral: the generation and the try's first attempt are those of before.

        :param quota_available: a share of the quota was released, and it is this run's turn to ask for it.
        :param told: what the trigger told of the checkpoints, to be told again.
        """
        self.stopping.watch(*state.jobs)
        self._conflicts.begin_reading()
        jobs = self.hook.jobs_of(self.plan, state=state)
        refusals = state.refusals
        if quota_available and refusals:
            refusals = (*refusals[:-1], replace(refusals[-1], backoff_skipped=True))
        self.history = History.of(
            state.generation,
            jobs,
            first_of_try=state.first_of_try,
            refusals=refusals,
            restart_requested=state.restart_requested,
        )
        self._go_on_spending(state)
        self.stopping.stopped.update(state.stops)
        for job in self.history.attempts:
            if (job.stop is None or job.stop.withdrawn) and job.job_name in state.stops:
                self._refresh(job.job_name)
        live = self.history.live
        self.stopping.forget(*state.jobs)
        for name in state.jobs:
            if name not in {job.job_name for job in jobs}:
                self._refresh(name)
        self.stopping.watch(*(job.job_name for job in self.history.live_jobs))
        if live is not None and live.job_name not in state.jobs:
            self._attach(live)
        self._take_over_others(*state.jobs)
        progress = state.progress or self._progress.begin(self.history)
        self.history = replace(self.history, progress=progress, reports=state.reports)
        for attempt in self.history.attempts:
            if attempt.job_name in state.jobs:
                self._transitions.repeat(attempt)
        if (watched := self.history.live or self.history.last) is not None:
            for found in told:
                self._tell(of_finding(found, watched.job_name, watched.checkpoint_s3_uri))

    def now(self) -> datetime:
        """Return AWS's time, which its jobs' times are of."""
        return _now() + timedelta(seconds=self.hook.clock.offset)

    def _set_clock(self) -> None:
        """Put what Airflow's and this machine's clock said into AWS's time, once that is known."""
        offset = timedelta(seconds=self.hook.clock.offset)
        if not offset:
            return
        self.log.warning(
            "This machine's clock and AWS's differ by %s: AWS's counts", human(abs(offset.total_seconds()))
        )
        if self.limits.give_up_at is not None:
            self.limits = replace(self.limits, give_up_at=self.limits.give_up_at + offset)
        if self.this_try.run_started is not None:
            self.this_try = replace(self.this_try, run_started=self.this_try.run_started + offset)

    # ---- the loop

    def run(self) -> tuple[Mapping[str, Any], History]:
        """
        Carry the run to its end.

        :return: the winning job's description, and the history.
        :raises Deferral: it has to wait in the triggerer.
        :raises SpotTrainingError: it failed.
        """
        while True:
            self._observe()
            action = self._decide()
            if isinstance(action, Succeed):
                return self._succeed(action)
            self._act(action)

    def submit_only(self) -> Mapping[str, Any]:
        """Create or find the run's job and leave it: for ``wait_for_completion=False``."""
        self.options = replace(self.options, deferrable=False)
        while True:
            self._observe()
            attempts, now = self.history.attempts, self.now()
            action = afford(self.limits.budget, attempts, self._decide(), self.plan.max_run, now)
            if isinstance(action, (Submit, Fail)) or self._is_restarting(action) or is_too_dear(action):
                self._act(action)
            elif isinstance(action, Pause):
                self._sleep((action.until - self.now()).total_seconds())
            else:
                self._check_alive()
                name = action.attempt.job_name
                if isinstance(action, Succeed):
                    self._tell_earlier(action.attempt)
                else:
                    self.log.info("Not waiting for completion: training job %s keeps running", name)
                self._read_earlier()
                return self.hook.find(name) or {}

    def kill(self) -> None:
        """Handle a kill by Airflow: set a flag that ends :meth:`run` before its next call, and stop the jobs."""
        self._killed = True
        self.stopping.kill()

    def stop_and_wait(self, reason: StopReason) -> None:
        """Stop what is live of a task whose time is up, and wait until it has ended."""
        self.stopping.stop_and_wait(reason, None if self._killed else self._sleep)

    def mark_delivered(self, description: Mapping[str, Any]) -> None:
        """
        Mark the result as handed over: the last act of a successful task.

        :raises RunKilledError: the task was killed meanwhile, and with it a job that was to be left running.
        """
        # What a kill has stopped may have ended by now, and is no result either.
        completed = description.get("TrainingJobStatus") == "Completed"
        if not completed:
            self._check_alive()
        self.hook.marks.set_delivered(description["TrainingJobArn"], self.this_try)
        if not completed:
            self._check_alive()  # a kill in the middle of that call has stopped the job

    def close(self, why: str, *, killed: bool = False) -> None:
        """
        Tell what a run has come to that ends by no decision of its own, once: what it cost is told of these too.

        :param killed: Airflow has killed the task. Else its time is up.
        """
        if not self._closed and self.history.attempts:
            self._tell(RunFailed(None, why, self._totals(), killed, self.history.attempts))

    def tell(self, event: Event) -> None:
        """Send an event to the run's observers."""
        self._tell(event)

    def pause(self, amount: float, until: datetime | None = None) -> None:
        """Wait so many seconds, at most until a moment; raises if the task is killed meanwhile."""
        self._sleep(amount, until)

    # ---- observing, deciding and acting

    def _observe(self) -> None:
        """Update the history with what happened outside: a kill, and the end of what a restart had to wait for."""
        self._check_alive()
        following = self.history.next_generation_if_idle()
        if following is not self.history:
            self.history = replace(following, progress=self._progress.begin(following))
            self._spend_anew()
            self._tell_generation()
        self.history = self._progress.confirm(self._progress.look(self.history, self.now()), self.now())
        self.history = self._reports.look(self.history, self.now())

    def _decide(self) -> Action:
        return decide(self.limits, self.history, self.now(), self.policy)

    def _act(self, action: Action) -> None:
        if isinstance(action, Submit):
            self._submit(action)
        elif isinstance(action, Stop):
            self._stop(action)
        elif isinstance(action, Pause):
            self._pause(action)
        elif isinstance(action, Wait):
            self._wait(action)
        elif isinstance(action, Fail):
            self._read_earlier()
            self._tell(RunFailed(action.kind, action.why, self._totals(), attempts=self.history.attempts))
            raise failure_of(self.hook, self.plan.run.key, self.history, action)

    def _submit(self, action: Submit) -> None:
        generation = self.history.generation
        self._conflicts.check_before_create(generation)
        folder = self._checkpoint_folder()
        # An attempt that could not be read may have kept some: then there is a marker, and a seed is copied once.
        kept = self.history.checkpoint_s3_uri or any(not attempt.whole for attempt in self.history.attempts)
        self._prepare(folder, not kept)
        if action.number == 1 and not self.history.refusals:
            self._look_ahead()
        self._check_alive()  # what is prepared may take minutes, in which the task may be killed
        request = self.plan.request_for(generation, action.number, action.rung, self.this_try, folder, action.why)
        name = request["TrainingJobName"]
        self._tell(AttemptDecided(action.number, str(action.rung), name, action.why))
        self.stopping.expect(name)  # before the call: a kill in the middle of it must know what to stop
        try:
            description, attached = self.hook.submit(request, self.plan.run.key)
            self.stopping.created()
        except CreateRefusedError as refused:
            self.stopping.forget(name)
            refusal = Refusal(action.number, str(action.rung), refused.outcome, self.now(), str(refused))
            self.history = replace(self.history, refusals=(*self.history.refusals, refusal))
            self._tell(CreateRefused(refusal))
            return
        except SpotTrainingError as error:
            if not isinstance(error, (JobNotVisibleError, RunKilledError)):
                self.stopping.forget(name)  # there is none, or it is a stranger's and not ours to stop
            raise
        attempt = self.hook.as_attempt(description, None if attached else tag_map(request["Tags"]))
        if attached and not attempt.live and not self.this_try.is_same_try(attempt.created_by):
            self.stopping.forget(name)
            self._reload_history(attempt)
            return
        self._put(attempt)
        if attached and not attempt.live:
            # Ours: the answer to the create was lost, and the job had ended before the create was repeated.
            self.stopping.forget(name)
            self._tell(AttemptAttached(attempt))
            return
        if attached:
            self._attach(attempt, entering=False)
        else:
            self._tell(AttemptCreated(attempt))
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
        again = self._begun(self.hook.jobs_of(self.plan, known=[ended.job_name]))
        same = again.generation == self.history.generation
        if not same:
            self._spend_anew()
        progress = self.history.progress if same else self._progress.begin(again)
        reports = self.history.reports if same else again.reports
        self.history = replace(again, refusals=self.history.refusals, progress=progress, reports=reports)

    def _attach(self, attempt: Attempt, *, entering: bool = True) -> None:
        self.stopping.watch(attempt.job_name)
        if (names := changed(self.hook, self.plan, attempt)) and not self.history.restart_requested:
            self.log.warning(
                "%s changed since job %s was created; the running job keeps its original configuration",
                names,
                attempt.job_name,
            )
        if not entering and attempt.owner is not None and attempt.owner > self.this_try.number:
            # A try that begins is the newest, whatever its number: the DAG run may have been made again.
            self.log.warning("Job is owned by newer try %d; not taking ownership", attempt.owner)
        else:
            self.hook.marks.set_owner(attempt.arn, self.this_try)
            if attempt.stop is not None and not attempt.stop.withdrawn and attempt.status == "InProgress":
                self.hook.marks.revoke_stop(attempt.job_name, attempt.arn, attempt.stop, self.this_try.number)
        self._tell(AttemptAttached(attempt))

    def _wait(self, action: Wait) -> None:
        name = action.attempt.job_name
        if name not in self.stopping.jobs:
            self._attach(action.attempt, entering=False)
        if self.options.defers(self.now()):
            watched = self._watched(action.attempt, action.capacity_timeout)
            raise self._deferral((watched, *map(self._watched, self.history.others)), action.until)
        log = self.hook.job_log(name) if self.options.print_log else None
        while True:
            found = self._transitions.look(name, keeps_checkpoints=bool(action.attempt.checkpoint_s3_uri))
            if found is None:
                break
            if log is not None and found.has_started:
                self._transitions.show(name, log.new_lines())
            if found.ended or (action.until is not None and self.now() >= action.until):
                break
            if found.waits_longer_than(action.capacity_timeout, self.now()) or self._another_ended():
                break
            if self._is_stuck(action.attempt, found.description):
                break
            if self.options.defers(self.now()):  # the triggerer may be able to look again
                break
            self._sleep(self.options.check_interval, action.until)
        self._refresh(name)

    def _is_stuck(self, attempt: Attempt, description: Mapping[str, Any]) -> bool:
        """Look at the checkpoints of a job that is waited for; whether as many starts as may left nothing new."""
        before = self.history.progress.is_stuck(self.limits.progress)
        self._put(attempt.seen_again(description))
        self.history = self._reports.look(self._progress.look(self.history, self.now()), self.now())
        return self.history.progress.is_stuck(self.limits.progress) and not before

    def _another_ended(self) -> bool:
        """Look after the jobs of other roles; whether one has ended, so that there is something to decide."""
        before = len(self.history.others)
        for job in self.history.others:
            self._refresh(job.job_name)
        return len(self.history.others) < before

    def _pause(self, action: Pause) -> None:
        if action.service_errors == 2:
            self._explain_service_errors(action.service_errors)
        self._tell(Paused(action.until, action.why))
        pause = (action.until - self.now()).total_seconds()
        if self.options.defers(self.now()) and pause > SHORT_PAUSE_SECONDS:
            others = tuple(map(self._watched, self.history.others))
            raise self._deferral(others, action.until, quota_key=action.quota_key)
        self._sleep(pause)

    def _explain_service_errors(self, errors: int) -> None:
        newest = self.history.last
        if newest is not None and newest.whole:
            self._tell(ServiceErrorsRepeated(newest.number, errors, look_into(self.hook, newest.checkpoint_s3_uri)))

    def _stop(self, action: Stop) -> None:
        name = action.attempt.job_name
        if not self.options.stop_on_kill and action.reason not in ALWAYS:
            raise error_for(None)(f"{action.why}; training job {name} keeps running (stop_on_kill=False)")
        self.stopping.watch(name)
        skip_reason = self.stopping.stop(name, action.reason)
        self.stopping.report(name, action.reason, action.why, skip_reason)
        self._refresh(name)
        still = next((job for job in self.history.live_jobs if job.job_name == name), None)
        if still is None or still.status != "InProgress":
            return
        if skip_reason is not None:
            # A later try waits for it: it is not this one's to stop, and to try again would never end.
            raise error_for(None)(f"{action.why}; training job {name}: {skip_reason}")
        # Stopped, and Describe does not show it yet.
        self._sleep(STOP_LAG_SECONDS)

    def _succeed(self, action: Succeed) -> tuple[Mapping[str, Any], History]:
        description = self.hook.find(action.attempt.job_name)
        if description is None:
            raise NonRetryableSpotError(
                f"Training job {action.attempt.job_name} completed, and was deleted before its result was read. Its "
                "model is in the config's S3OutputPath; clear the task to train again"
            )
        self._tell_earlier(action.attempt)
        self._read_earlier()
        self._tell(RunSucceeded(self.history.attempts, self._totals()))
        return description, self.history

    # ---- helpers

    def _begun(self, jobs: Sequence[Attempt]) -> History:
        """Return where a try that begins stands, with all that it decides by read in whole."""
        found = begin_try(jobs, self.this_try, resume=self._should_resume(jobs))
        # A budget is of all tries.
        first = found.first_of_try if self.limits.budget is None else 1
        counting = read_whole(self.hook, found.attempts, self.log, lambda attempt: attempt.number >= first)
        return replace(found, attempts=counting, adopts=adopts(self.hook, jobs, self.plan, self.this_try))

    def _read_earlier(self) -> None:
        """Read what of the run's attempts is not known yet: its totals are of all of them."""
        self.history = replace(self.history, attempts=read_whole(self.hook, self.history.attempts, self.log))

    def _spend_anew(self) -> None:
        """Begin a generation's budget."""
        if self.limits.budget is not None:
            self.limits = replace(self.limits, budget=self.limits.budget.anew())

    def _go_on_spending(self, state: RunState) -> None:
        """Take over what was spent before a deferral; what it does not say, the jobs do."""
        if self.limits.budget is None:
            return
        carried = self.limits.budget.going_on_from(state.spent)
        if carried is not None:
            self.limits = replace(self.limits, budget=carried)
            return
        self._read_earlier()
        self._price_earlier()

    def _price_earlier(self) -> None:
        """Find the prices of what earlier attempts ran on, where they count."""
        if self.limits.budget is not None:
            budget = price_earlier(self.limits.budget, self.history.attempts, self._more_prices, self.log)
            self.prices, self.limits = budget.prices, replace(self.limits, budget=budget)

    def _checkpoint_folder(self) -> str | None:
        """Return where the next attempt keeps its checkpoints: where those before it do, whichever of them did."""
        if self.plan.checkpoint_base is not None and not self.history.checkpoint_s3_uri:
            # The newest kept none, with use_checkpoints=False. What is known of older ones does not say.
            self._read_earlier()
        return self._folder.check(self.history)

    def _tell_earlier(self, attempt: Attempt) -> None:
        if attempt.number < self.history.first_of_try:
            self.log.info("%s", earlier_result(attempt, changed(self.hook, self.plan, attempt)))

    def _take_over_others(self, *known: str) -> None:
        """Answer for the live jobs of other roles: the try that owns one may stop it."""
        for job in self.history.others:
            self.stopping.watch(job.job_name)
            # A try that begins is the newest; one that continues after a deferral may have been superseded meanwhile.
            superseded = bool(known) and job.owner is not None and job.owner > self.this_try.number
            if job.job_name not in known and not superseded:
                self.hook.marks.set_owner(job.arn, self.this_try)

    def _is_restarting(self, action: Action) -> bool:
        return self.history.restart_requested and isinstance(action, (Stop, Wait))

    def _tell(self, event: Event) -> None:
        self._closed = self._closed or isinstance(event, (RunSucceeded, RunFailed))
        for observe in self._observers:
            observe(event)

    def _tell_generation(self) -> None:
        generation, folder = self.history.generation, self._folder.of(self.history)
        keeps = generation > 1 and folder is not None and self.plan.is_shared(folder)
        self._tell(GenerationBegan(self.plan.run.key, generation, folder, keeps_folder=keeps))

    def _refresh(self, name: str) -> None:
        """
        Read a job again.

        :raises StoppedExternallyError: this try has seen the attempt live, has not stopped it, and it is gone.
        """
        fresh = self.hook.attempt(name, self.stopping.stopped.get(name))
        if fresh is None:
            fresh = self._look_again(name)
        if fresh is not None:
            self._put(fresh)
        else:
            self.log.warning("Training job %s no longer exists: it was deleted outside Airflow", name)
            self._keep(lambda job: job.job_name != name)
        if fresh is None or not fresh.live:
            self.stopping.forget(name)
        if fresh is None:
            self._check_deleted(name)

    def _look_again(self, name: str) -> Attempt | None:
        """Look for a job that was there and is not: one answer without it is not believed."""
        for pause in GONE_PAUSES:
            self._sleep(pause)
            if (found := self.hook.attempt(name)) is not None:
                return found
        return None

    def _check_deleted(self, name: str) -> None:
        job, folder = JobName.parse(name), self._folder.of(self.history)
        if job is not None and job.role is Role.ATTEMPT and name not in self.stopping.stopped:
            raise StoppedExternallyError(
                f"Training job {name} was deleted outside Airflow while this task waited for it. This counts as a "
                f"manual stop: clear the task to resume{f' from the checkpoints in {folder}' if folder else ''}"
            )

    def _put(self, job: Attempt) -> None:
        """Take a job into the history, in place of what was known of it."""
        self._keep(lambda known: known.job_name != job.job_name, job)

    def _keep(self, wanted: Callable[[Attempt], bool], *more: Attempt) -> None:
        jobs = (*filter(wanted, (*self.history.attempts, *self.history.others)), *more)
        again = History.of(self.history.generation, jobs)
        self.history = replace(self.history, attempts=again.attempts, others=again.others)

    def _deferral(self, jobs: tuple[WatchedJob, ...], until: datetime | None, *, quota_key: str = "") -> Deferral:
        names = tuple(job.name for job in jobs)
        space, stops = self.plan.run.namespace, self.stopping.stopped
        state = RunState.of(self.history, self.this_try, space, names, self.limits.give_up_at, stops)
        budget = self.limits.budget
        spent = None if budget is None else budget.closed(self.history.attempts, self.now()).to_json()
        places = (*self.plan.placements, *(attempt.placement for attempt in self.history.attempts))
        types = {kind for place in places for kind, _ in place.instances}
        state = replace(state, prices=self.prices.only(types) if self.prices else None, spent=spent)
        return Deferral(jobs, until, state, quota_key=quota_key)

    def _should_resume(self, jobs: Sequence[Attempt]) -> bool:
        try:
            return should_resume(self.hook, jobs, self.plan, self.this_try, self.options, self.log)
        except RequestError:
            # What was cleared has not stopped yet, and nobody will wait for it.
            for job in jobs:
                if job.live:
                    self._attach(job)
            self.stop_and_wait(StopReason.FAILURE)
            raise

    def _watched(self, job: Attempt, capacity_timeout: float | None = None) -> WatchedJob:
        seen = self._transitions.seen(job.job_name)
        keeps = bool(job.checkpoint_s3_uri)
        folder = self._progress.folder(job) if job.role is Role.ATTEMPT else None
        reports = self._reports.watched(job) if job.role is Role.ATTEMPT else None
        return WatchedJob(job.job_name, seen, capacity_timeout, keeps_checkpoints=keeps, folder=folder, reports=reports)

    def _totals(self) -> RunTotals:
        return total(self.history.attempts, self.now(), self.prices, self.history.progress.lost)

    def _check_alive(self) -> None:
        if self._killed:
            raise RunKilledError(f"Airflow killed this try of run {self.plan.run.key}; its job was stopped")

    def _sleep(self, amount: float, until: datetime | None = None) -> None:
        self._before_wait()
        bounded = amount if until is None else min(amount, (until - self.now()).total_seconds())
        interruptible_sleep(bounded, self._check_alive)


def _now() -> datetime:
    return datetime.now(timezone.utc)
