"""
A run through crashes, retries, clears, zombies and a list that lags: never two live jobs, no success without a job.

SageMaker is a dictionary here, and workers do with it what the operator does: only the decisions are real. The same
against Local SageMaker is in tests/operators.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, precondition, rule

from airflow_spot.core.attempt import Attempt
from airflow_spot.core.backoff import Backoff
from airflow_spot.core.decide import Fail, Limits, Pause, Stop, Submit, Succeed, Wait, decide
from airflow_spot.core.history import History, begin_try
from airflow_spot.core.identity import JobName
from airflow_spot.core.marks import StopMark
from airflow_spot.core.outcomes import Outcome
from airflow_spot.core.try_marks import TryMark
from airflow_spot.policies.ladder import LadderPolicy
from tests.core.cases import NOW, RUN, SPOT, attempt

POLICY = LadderPolicy((SPOT,), Backoff(RUN.key))
ENDS = [outcome for outcome in Outcome if outcome is not Outcome.STOPPED_BY_OPERATOR]


@dataclass(eq=False)
class Worker:
    """One try's process; it may live on after it was superseded."""

    this_try: TryMark
    history: History
    give_up_at: datetime | None


class Run(RuleBasedStateMachine):
    """The world of one run."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.jobs: dict[str, Attempt] = {}
        self.created: list[str] = []
        self.this_try = TryMark(1, 2)
        self.workers: list[Worker] = []
        self.newest: Worker | None = None
        self.delivered: list[str] = []

    workers_ = Bundle("workers")

    # ---- SageMaker

    @property
    def live(self) -> list[str]:
        return [name for name, job in self.jobs.items() if job.live]

    def find(self, hidden: int, known: tuple[str, ...] = ()) -> tuple[Attempt, ...]:
        """What the hook finds where the list does not yet show the newest jobs: it always tries the next name."""
        listed = self.created[: len(self.created) - hidden]
        generation = max((self.jobs[name].name.generation for name in (*listed, *known)), default=1)
        while _name(generation + 1, 1) in self.jobs:
            generation += 1
        found, number = [], 1
        while (name := _name(generation, number)) in self.jobs:
            found.append(self.jobs[name])
            number += 1
        return tuple(found)

    def end(self, name: str, outcome: Outcome) -> None:
        self.jobs[name] = replace(self.jobs[name], outcome=outcome, status="ended", ended=self.now)

    # ---- Airflow

    def begin(self, hidden: int, patience: int | None) -> Worker:
        give_up_at = None if patience is None else self.now + timedelta(seconds=patience)
        worker = Worker(self.this_try, begin_try(self.find(hidden), self.this_try), give_up_at)
        self.workers.append(worker)
        self.newest = worker
        return worker

    @rule(
        target=workers_,
        hidden=st.integers(0, 2),
        what=st.sampled_from(["retry", "clear", "remade", "resume"]),
        zombie=st.booleans(),
        patience=st.none() | st.integers(0, 2_000),
    )
    def a_worker_begins(self, hidden: int, what: str, zombie: bool, patience: int | None) -> Worker:
        if not zombie:
            self.workers.clear()
        number, max_tries = self.this_try.number, self.this_try.max_tries
        if what == "retry":
            self.this_try = TryMark(number + 1, max_tries)
        elif what == "clear":
            self.this_try = TryMark(number + 1, max_tries + number + 2)
        elif what == "remade":
            self.workers.clear()
            self.this_try = TryMark(1, 2)
        return self.begin(min(hidden, len(self.created)), patience)

    @rule(worker=workers_, crash=st.booleans(), hidden=st.integers(0, 2))
    def a_worker_acts(self, worker: Worker, crash: bool, hidden: int) -> None:
        if worker not in self.workers:
            return
        worker.history = replace(
            worker.history, attempts=tuple(self.jobs[known.job_name] for known in worker.history.attempts)
        )
        action = decide(Limits(worker.give_up_at), worker.history, self.now, POLICY)
        if isinstance(action, Submit):
            self._submit(worker, action)
        elif isinstance(action, Stop):
            name = action.attempt.job_name
            self.jobs[name] = replace(
                self.jobs[name], stop=StopMark("timeout", worker.this_try.number), status="Stopping"
            )
        elif isinstance(action, Succeed):
            assert self.jobs[action.attempt.job_name].outcome is Outcome.COMPLETED
            assert not self.live
            if not crash:
                name = action.attempt.job_name
                self.jobs[name] = replace(self.jobs[name], delivered_by=worker.this_try)
                self.delivered.append(name)
            self.workers.remove(worker)
        elif isinstance(action, Fail):
            # A superseded one may fail while a job trains, even if its successor has crashed: the next try finds it.
            assert not self.live or worker is not self.newest
            self.workers.remove(worker)
        else:
            assert isinstance(action, (Wait, Pause))
        if crash and worker in self.workers:  # after the call was sent, and before the response was read
            self.workers.remove(worker)

    def _submit(self, worker: Worker, action: Submit) -> None:
        name = _name(worker.history.generation, action.number)
        if name not in self.jobs:
            self.jobs[name] = attempt(
                action.number, None, generation=worker.history.generation, created_by=worker.this_try, rung=action.rung
            )
            self.created.append(name)
        elif not self.jobs[name].live:
            worker.history = begin_try(self.find(len(self.created), (name,)), worker.this_try)
            return
        worker.history = replace(worker.history, attempts=(*worker.history.attempts, self.jobs[name]))

    # ---- what happens by itself

    @precondition(lambda self: self.live)
    @rule(outcome=st.sampled_from(ENDS))
    def a_job_ends(self, outcome: Outcome) -> None:
        name = self.live[0]
        if self.jobs[name].stop is not None and outcome is Outcome.STOPPED_EXTERNALLY:
            outcome = Outcome.STOPPED_BY_OPERATOR
        self.end(name, outcome)

    @precondition(lambda self: self.live)
    @rule()
    def a_job_is_killed_by_us(self) -> None:
        name = self.live[0]
        self.jobs[name] = replace(self.jobs[name], stop=StopMark("killed", self.this_try.number))
        self.end(name, Outcome.STOPPED_BY_OPERATOR)

    @rule(seconds=st.sampled_from([1, 30, 1_000]))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    # ---- what holds

    @invariant()
    def at_most_one_job_is_live(self) -> None:
        assert len(self.live) <= 1

    @invariant()
    def attempts_are_numbered_without_a_gap(self) -> None:
        for job in self.jobs.values():
            for number in range(1, job.number):
                assert _name(job.name.generation, number) in self.jobs

    @invariant()
    def a_new_generation_follows_a_delivered_one(self) -> None:
        for job in self.jobs.values():
            if job.name.generation > 1:
                before = [j for j in self.jobs.values() if j.name.generation == job.name.generation - 1]
                assert any(j.job_name in self.delivered for j in before)

    def teardown(self) -> None:
        """From wherever it stands, one patient worker carries the run to its end."""
        worker = self.begin(0, None)
        for _ in range(300):
            if worker not in self.workers:
                break
            self.a_worker_acts(worker, False, 0)
            self.at_most_one_job_is_live()
            for name in self.live:
                self.end(name, Outcome.COMPLETED)
            self.now += timedelta(seconds=1_000)
        assert worker not in self.workers
        assert self.delivered


def _name(generation: int, number: int) -> str:
    return str(JobName("train", RUN.key, generation, number))


Run.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
TestRun = Run.TestCase
