"""
The operator's own loop, on the real hook, through workers that are lost at any call: one live job, nothing abandoned.

SageMaker is a dictionary, and time is a number, so that thousands of lives pass in seconds. One of them at a time, with
real jobs and a real Airflow, is in the tests beside this one.
"""

from __future__ import annotations

import itertools
import json
import logging
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from airflow_spot.core.decide import Limits
from airflow_spot.core.identity import JobName
from airflow_spot.core.plan import Plan
from airflow_spot.core.roles import Role
from airflow_spot.core.run_state import RunState
from airflow_spot.core.try_marks import TryMark
from airflow_spot.errors import SpotTrainingError
from airflow_spot.hooks import training as hook_module
from airflow_spot.policies.ladder import LadderPolicy
from airflow_spot.runs import conflicts as conflicts_module
from airflow_spot.runs import controller as run_module
from airflow_spot.runs.controller import Deferral, RunOptions, TrainingRun
from tests.core.cases import NOW, RUN, SPOT
from tests.support.sagemaker import DictionaryHook, DictionarySageMaker

ENDS: dict[str, dict[str, str]] = {
    "completed": {"status": "Completed", "secondary": "Completed"},
    "max wait": {"status": "Stopped", "secondary": "MaxWaitTimeExceeded"},
    "max run": {"status": "Stopped", "secondary": "MaxRuntimeExceeded"},
    "stopped": {"status": "Stopped", "secondary": "Stopped"},
    **{
        reason: {"status": "Failed", "secondary": "Failed", "FailureReason": f"{reason}: why"}
        for reason in ("CapacityError", "InternalServerError", "AlgorithmError", "ClientError", "Anything")
    },
}


class WorkerLost(BaseException):
    """SIGKILL."""


class FragileSageMaker(DictionarySageMaker):
    """Loses the worker that calls it: at the n-th call, before or after the call has done its work."""

    calls_left: int | None = None
    after = False

    def _called(self, operation: str) -> None:
        super()._called(operation)
        if self.calls_left is not None:
            self.calls_left -= 1
            if self.calls_left < 0 and not self.after:
                raise WorkerLost

    def create_training_job(self, **request: Any) -> dict[str, str]:
        created = super().create_training_job(**request)
        if self.calls_left is not None and self.calls_left < 0:
            raise WorkerLost
        return created


class Life(RuleBasedStateMachine):
    """A task instance, its tries, and the jobs that come of them."""

    def __init__(self) -> None:
        super().__init__()
        self.now: datetime = NOW
        self.service = FragileSageMaker()
        self.service.clock = lambda: self.now
        self.hook = DictionaryHook(self.service)
        self.hook.job_log = lambda name: SimpleNamespace(tail=lambda limit: [])  # type: ignore
        pages = SimpleNamespace(paginate=lambda **_: iter([{}]))
        self.hook.s3_hook = SimpleNamespace(  # type: ignore
            get_conn=lambda: SimpleNamespace(get_paginator=lambda _: pages)
        )
        self.number, self.max_tries, self.renderings = 0, 2, 0
        self.deferred: tuple[TryMark, Deferral] | None = None
        self.state = "none"

    # ---- Airflow

    @property
    def training(self) -> list[str]:
        """The live attempts."""
        return [name for name in self.service.live() if "-p" not in name[-4:]]

    @property
    def probes(self) -> list[str]:
        """The probes that nobody has told to stop."""
        return [
            name
            for name in self.service.live()
            if name not in self.training and self.service.jobs[name]["TrainingJobStatus"] == "InProgress"
        ]

    def worker(self, this_try: TryMark, limits: Limits, own: bool = False) -> TrainingRun:
        # S3OutputPath renders differently each time, as one with a timestamp in it does.
        self.renderings += 1
        base = None if own else f"s3://bucket/{self.renderings}"
        plan = Plan(RUN, {"AlgorithmSpecification": {"TrainingImage": "i"}}, "train", (SPOT,), base, "run")
        made = TrainingRun(
            self.hook,
            plan,
            limits,
            LadderPolicy((SPOT,)),
            this_try,
            RunOptions(deferrable=True, print_log=False),
            prepare=self.prepare,
            observers=(),
            log=logging.getLogger("test"),
        )
        made._sleep = self.sleep  # type: ignore[method-assign]
        return made

    def prepare(self, folder: str | None, first: bool) -> None:
        """A marker and a seed are the first job's that keeps checkpoints, whichever of its generation it is."""
        if folder is not None:
            assert first == (folder not in self.folders())

    def folders(self) -> set[str]:
        return {job["CheckpointConfig"]["S3Uri"] for job in self.service.jobs.values() if "CheckpointConfig" in job}

    def sleep(self, amount: float, until: datetime | None = None) -> None:
        self.now += timedelta(seconds=max(amount, 0))

    def carry(self, run: TrainingRun, enter: Any, lost_at: int | None, after: bool) -> None:
        self.service.calls_left, self.service.after = lost_at, after
        self.deferred = None
        before = set(self.training)
        try:
            # What has ended is read only where it has to be: of a long past, most is not.
            with (
                patch.object(run_module, "_now", lambda: self.now),
                patch.object(hook_module, "NEWEST_READ", 1),
                patch.object(conflicts_module, "FRESH_SECONDS", -1.0),  # no time passes between two acts here
            ):
                enter()
                description, history = run.run()
                run.mark_delivered(description)
        except Deferral as wait:
            self.state, self.deferred = "deferred", (run.this_try, wait)
            assert wait.job_name is None or [wait.job_name] == self.training or not self.training
            assert {job.name for job in wait.jobs} >= set(self.training)
        except WorkerLost:
            self.state = "lost"
        except SpotTrainingError:
            self.state = "failed"
            assert not self.training, "a task that failed leaves no attempt behind"
            assert not self.probes, "nor a probe that nobody has told to stop"
        else:
            self.state = "succeeded"
            assert description["TrainingJobStatus"] == "Completed"
            assert history.last is not None and history.last.job_name == description["TrainingJobName"]
            assert not self.training and not self.probes
        finally:
            self.service.calls_left = None
        assert len(set(self.training) | before) <= max(1, len(before))

    def hide(self, unlisted: int) -> None:
        """Have no list show the newest jobs. A probe that no list shows ends by itself: that is left out here."""
        newer = list(itertools.takewhile(lambda name: "-p" not in name[-4:], reversed(self.service.jobs)))
        self.service.unlisted = min(unlisted, len(newer))

    def limits(self, capacity_timeout: int | None) -> Limits:
        return Limits(None if capacity_timeout is None else self.now + timedelta(seconds=capacity_timeout))

    @initialize(page_size=st.sampled_from([1, 2, 100]), late=st.booleans())
    def the_service_cuts_its_pages(self, page_size: int, late: bool) -> None:
        self.service.page_size, self.service.filters_late = page_size, late

    crashes = {
        "lost_at": st.none() | st.integers(0, 12),
        "after": st.booleans(),
        "unlisted": st.integers(0, 2),
        # use_checkpoints=False, which somebody sets and takes back between tries, and while the task is deferred.
        "own": st.sampled_from([False, False, True]),
    }

    @rule(what=st.sampled_from(["retry", "clear"]), **crashes)
    def a_try_begins(self, what: str, lost_at: int | None, after: bool, unlisted: int, own: bool) -> None:
        if self.state == "succeeded" or what == "clear":
            # Only a person has a task that succeeded run again.
            self.max_tries = self.number + 2 if self.number else self.max_tries
        self.number += 1
        self.hide(unlisted)
        run = self.worker(TryMark(self.number, self.max_tries), self.limits(None), own)
        self.carry(run, run.begin, lost_at, after)

    @rule(**crashes)
    def the_dag_run_is_deleted_and_made_again(self, lost_at: int | None, after: bool, unlisted: int, own: bool) -> None:
        self.number, self.max_tries = 1, 2
        self.hide(unlisted)
        run = self.worker(TryMark(1, 2), self.limits(None), own)
        self.carry(run, run.begin, lost_at, after)

    @precondition(lambda self: self.deferred is not None)
    @rule(**crashes)
    def the_trigger_fires(self, lost_at: int | None, after: bool, unlisted: int, own: bool) -> None:
        assert self.deferred is not None
        this_try, wait = self.deferred
        if wait.until is not None:
            self.now = max(self.now, wait.until)
        self.hide(unlisted)
        run = self.worker(this_try, self.limits(None), own)
        state = RunState.from_json(json.loads(json.dumps(wait.run_state.to_json())))
        self.carry(run, lambda: run.resume(state), lost_at, after)

    @precondition(lambda self: self.deferred is not None)
    @rule()
    def the_tasks_time_is_up(self) -> None:
        assert self.deferred is not None
        this_try, wait = self.deferred
        run = self.worker(this_try, self.limits(0))
        self.carry(run, lambda: run.resume(wait.run_state), None, False)

    # ---- a probe of the run, as a policy may have made it

    @precondition(lambda self: self.training and not self.probes)
    @rule()
    def a_probe_is_made(self) -> None:
        attempt = JobName.parse(self.training[0])
        assert attempt is not None
        number = sum(f"-{attempt.generation}-p" in name for name in self.service.jobs) + 1
        name = str(JobName("train", RUN.key, attempt.generation, number, Role.PROBE))
        self.service.put(name, "InProgress", "Starting", Environment={"AIRFLOW_SPOT_RUN": RUN.key})
        self.service.unlisted = 0

    @precondition(lambda self: any(name not in self.training for name in self.service.live()))
    @rule()
    def a_probe_ends(self) -> None:
        name = next(name for name in self.service.live() if name not in self.training)
        self.service.put(name, "Completed", "Completed")

    # ---- SageMaker

    @precondition(lambda self: self.training)
    @rule(how=st.sampled_from(sorted(ENDS)))
    def a_job_ends(self, how: str) -> None:
        (name,) = self.training
        stopping = self.service.jobs[name]["TrainingJobStatus"] == "Stopping"
        self.service.put(name, **ENDS["stopped" if stopping and how != "completed" else how])

    @rule(seconds=st.sampled_from([1, 60, 4_000]))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    # ---- what holds

    @invariant()
    def one_job_trains_at_most(self) -> None:
        assert len(self.training) <= 1
        assert len(self.probes) <= 1

    @invariant()
    def every_generation_has_a_folder_of_its_own(self) -> None:
        folders: dict[str, set[str]] = {}
        for job in self.service.jobs.values():
            if "CheckpointConfig" not in job:
                continue
            folders.setdefault(job["Environment"]["AIRFLOW_SPOT_GENERATION"], set()).add(
                job["CheckpointConfig"]["S3Uri"]
            )
        assert all(len(each) == 1 for each in folders.values())
        assert len({uri for each in folders.values() for uri in each}) == len(folders)

    @invariant()
    def a_new_generation_follows_a_result_that_was_delivered(self) -> None:
        by_generation: dict[int, list[str]] = {}
        for name, job in self.service.jobs.items():
            if "AIRFLOW_SPOT_GENERATION" not in job["Environment"]:
                continue
            by_generation.setdefault(int(job["Environment"]["AIRFLOW_SPOT_GENERATION"]), []).append(name)
        for generation in by_generation:
            if generation > 1:
                marks = [self.service.tags_of(name) for name in by_generation[generation - 1]]
                assert any("airflow-spot:delivered" in each for each in marks)

    def teardown(self) -> None:
        """A person clears the task, and nothing goes wrong any more: the run ends with a model."""
        if self.training:
            self.a_job_ends("completed")
        self.a_try_begins("clear", None, False, 0, False)
        for _ in range(50):
            if self.state != "deferred":
                break
            self.one_job_trains_at_most()
            if self.training:
                self.a_job_ends("completed")
            for name in [name for name in self.service.live() if name not in self.training]:
                self.service.put(name, "Completed", "Completed")
            self.the_trigger_fires(None, False, 0, False)
        assert self.state == "succeeded"


Life.TestCase.settings = settings(max_examples=120, stateful_step_count=25, deadline=None)
TestLife = Life.TestCase
