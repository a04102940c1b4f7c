"""Two workers of one run at once, a clear while its job still stops, two runs in one folder: one job trains."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from airflow_spot.core.decide import Limits
from airflow_spot.core.identity import RunIdentity
from airflow_spot.core.plan import Plan
from airflow_spot.core.try_marks import TryMark
from airflow_spot.errors import RequestError, RunKilledError, ScriptError, StoppedExternallyError
from airflow_spot.policies.ladder import LadderPolicy
from airflow_spot.runs import conflicts as conflicts_module
from airflow_spot.runs import controller as run_module
from airflow_spot.runs.controller import Deferral, RunOptions, TrainingRun
from airflow_spot.runs.staging import InputStager
from tests.core.cases import NOW, RUN, SPOT
from tests.support.sagemaker import DictionaryHook, DictionarySageMaker


def plan(rate: str = "1", *, run: RunIdentity = RUN, scope: str = "run") -> Plan:
    request = {"AlgorithmSpecification": {"TrainingImage": "i"}, "HyperParameters": {"rate": rate}}
    return Plan(run, request, "train", (SPOT,), "s3://bucket/c", scope)


FIRST, SECOND, ANEW = (plan().job_name(*name) for name in ((1, 1), (1, 2), (2, 1)))


def worker(service: DictionarySageMaker, this_try: TryMark, of: Plan | None = None, **options: Any) -> TrainingRun:
    made = TrainingRun(
        DictionaryHook(service),
        of or plan(),
        Limits(),
        LadderPolicy((SPOT,)),
        this_try,
        RunOptions(deferrable=True, print_log=False, **options),
        prepare=lambda folder, first: None,
        observers=(),
        log=logging.getLogger("test"),
    )
    made.hook.job_log = lambda name: type("Log", (), {"tail": lambda self, limit: []})()  # type: ignore
    return made


def waits(run: TrainingRun, enter: Callable[[], None] | None = None) -> Deferral:
    """Let a worker continue until it has to wait."""
    if enter is not None:
        enter()
    with pytest.raises(Deferral) as wait:
        run.run()
    return wait.value


@pytest.fixture
def service() -> DictionarySageMaker:
    return DictionarySageMaker()


# ---- cleared, and the job still stops


@pytest.mark.parametrize("stopping", [True, False])
@pytest.mark.parametrize(("rate", "options"), [("1", {"resume": False}), ("9", {"on_config_change": "restart"})])
def test_a_clear_that_trains_anew_waits_for_the_old_job_to_end(
    service: DictionarySageMaker, rate: str, options: dict[str, Any], stopping: bool
) -> None:
    first = worker(service, TryMark(1, 0))
    waits(first, first.begin)
    if stopping:
        first.kill()
    cleared = worker(service, TryMark(2, 2), plan(rate), **options)
    cleared._sleep = lambda amount, until=None: None  # type: ignore[method-assign]
    wait = waits(cleared, cleared.begin)
    assert (wait.job_name, service.jobs[FIRST]["TrainingJobStatus"]) == (FIRST, "Stopping")
    assert list(service.jobs) == [FIRST]
    service.put(FIRST, "Stopped", "Stopped")
    again = worker(service, TryMark(2, 2), plan(rate), **options)
    assert waits(again, lambda: again.resume(wait.run_state)).job_name == ANEW
    assert service.jobs[ANEW]["CheckpointConfig"]["S3Uri"].endswith("/g0002")
    assert service.live() == [ANEW]


def test_an_automatic_retry_goes_on_all_the_same(service: DictionarySageMaker) -> None:
    first = worker(service, TryMark(1, 3))
    waits(first, first.begin)
    retried = worker(service, TryMark(2, 3), resume=False)
    assert waits(retried, retried.begin).job_name == FIRST
    assert service.jobs[FIRST]["TrainingJobStatus"] == "InProgress"


def test_a_clear_that_fails_on_a_change_leaves_no_job(service: DictionarySageMaker) -> None:
    first = worker(service, TryMark(1, 0))
    waits(first, first.begin)
    cleared = worker(service, TryMark(2, 2), plan("9"), on_config_change="fail")
    cleared._sleep = lambda amount, until=None: service.put(FIRST, "Stopped", "Stopped")  # type: ignore[method-assign]
    with pytest.raises(RequestError, match="on_config_change"):
        cleared.begin()
    assert list(service.jobs) == [FIRST] and not service.live()


# ---- a worker that was superseded


def test_a_superseded_try_takes_no_job_from_its_successor(service: DictionarySageMaker) -> None:
    zombie = worker(service, TryMark(1, 2))
    zombie.begin()
    successor = worker(service, TryMark(2, 2))
    wait = waits(successor, successor.begin)
    service.put(FIRST, "Stopped", "MaxWaitTimeExceeded")
    successor = worker(service, TryMark(2, 2))
    assert waits(successor, lambda: successor.resume(wait.run_state)).job_name == SECOND
    with pytest.raises(RunKilledError, match="stale try"):
        zombie.run()
    zombie.kill()
    assert service.tags_of(SECOND)["airflow-spot:owner"] == "2"
    assert service.jobs[SECOND]["TrainingJobStatus"] == "InProgress"


def test_a_try_from_before_a_clear_begins_no_generation(service: DictionarySageMaker) -> None:
    began = service.clock() - timedelta(hours=2)
    zombie = worker(service, TryMark(1, 1, run_started=began))
    zombie.begin()
    cleared = worker(service, TryMark(2, 3, run_started=began))
    wait = waits(cleared, cleared.begin)
    service.put(FIRST, "Completed", "Completed")
    cleared = worker(service, TryMark(2, 3, run_started=began))
    cleared.resume(wait.run_state)
    cleared.mark_delivered(cleared.run()[0])
    with pytest.raises(RunKilledError, match="stale try"):
        zombie.run()
    assert list(service.jobs) == [FIRST]


@pytest.mark.parametrize(
    ("end", "error"),
    [
        ({"status": "Failed", "secondary": "Failed", "FailureReason": "AlgorithmError: , exit code: 1"}, ScriptError),
        ({"status": "Stopped", "secondary": "Stopped"}, StoppedExternallyError),
    ],
)
def test_a_job_that_ended_before_its_create_was_answered_is_this_trys(
    service: DictionarySageMaker, end: dict[str, str], error: type[Exception]
) -> None:
    mine = worker(service, TryMark(1, 0))
    submit = mine.hook.submit

    def lost(request: dict[str, Any], key: str) -> Any:
        service.create_training_job(**request)
        service.put(request["TrainingJobName"], **end)
        return submit(request, key)

    mine.hook.submit = lost  # type: ignore
    mine.begin()
    with pytest.raises(error):
        mine.run()
    assert list(service.jobs) == [FIRST]


def test_a_job_of_a_dag_run_that_was_deleted_is_from_before() -> None:
    earlier = TryMark(5, 5)
    made_again = TryMark(1, 1, run_started=NOW)
    assert not made_again.is_older_than(earlier, NOW - timedelta(hours=1))
    assert made_again.is_older_than(earlier, NOW + timedelta(hours=1))
    assert not TryMark(6, 6, run_started=NOW).is_older_than(earlier, NOW + timedelta(hours=1))
    assert not made_again.is_older_than(None, NOW)


def test_a_deleted_job_hides_no_live_one_of_the_generation_before(service: DictionarySageMaker) -> None:
    for number in (2, 4):
        service.put(plan().job_name(1, number))
    hook = DictionaryHook(service)
    assert set(hook.live_of_generation(plan(), 1)) == {plan().job_name(1, 2), plan().job_name(1, 4)}
    service.unlisted = 1
    assert set(hook.live_of_generation(plan(), 1)) == {plan().job_name(1, 2)}


def test_a_stop_that_describe_does_not_show_yet_is_waited_for(
    service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = worker(service, TryMark(1, 0))
    waits(first, first.begin)
    monkeypatch.setattr(service, "stop_training_job", lambda TrainingJobName: service.calls.append("Stop"))
    slept: list[float] = []

    def sleep(amount: float, until: Any = None) -> None:
        slept.append(amount)
        if len(slept) == 3:
            service.put(FIRST, "Stopped", "Stopped")

    late = worker(service, TryMark(2, 0))
    late.limits = replace(late.limits, give_up_at=NOW)
    late._sleep = sleep  # type: ignore[method-assign]
    late.begin()
    with pytest.raises(Exception, match="time is up"):
        late.run()
    assert slept == [run_module.STOP_LAG_SECONDS] * 3
    assert service.calls.count("Stop") == 3


# ---- two runs in one folder

OTHER = RunIdentity("ns", "another", "manual__1", "train")


def test_the_folder_is_looked_at_before_every_create(service: DictionarySageMaker) -> None:
    hook, shared = DictionaryHook(service), plan(scope="exact")
    stager = InputStager(hook, shared, {}, None, None)
    stager.stage("s3://bucket/c", False)
    theirs = plan(run=OTHER, scope="exact").job_name(1, 1)
    service.put(theirs, CheckpointConfig={"S3Uri": "s3://bucket/c"})
    with pytest.raises(RequestError, match="of another run"):
        stager.stage("s3://bucket/c", False)


@pytest.mark.parametrize("first", [True, False])
def test_of_two_jobs_created_at_once_the_younger_goes(service: DictionarySageMaker, first: bool) -> None:
    theirs = plan(run=OTHER, scope="exact").job_name(1, 1)
    mine = worker(service, TryMark(1, 0), plan(scope="exact"))
    submit = mine.hook.submit

    def at_once(request: dict[str, Any], key: str) -> Any:
        made = submit(request, key)
        age = timedelta(seconds=1 if first else -1)
        created = service.jobs[FIRST]["CreationTime"] + age
        service.put(theirs, CheckpointConfig={"S3Uri": "s3://bucket/c"}, CreationTime=created)
        return made

    mine.hook.submit = at_once  # type: ignore
    mine.begin()
    if first:
        assert waits(mine).job_name == FIRST
        assert service.jobs[FIRST]["TrainingJobStatus"] == "InProgress"
    else:
        with pytest.raises(RequestError, match="was created just before"):
            mine.run()
        assert service.jobs[FIRST]["TrainingJobStatus"] == "Stopping"
    assert service.jobs[theirs]["TrainingJobStatus"] == "InProgress"


def test_two_runs_in_one_exact_folder_are_seen_though_lists_lag(
    service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both create; each sees the other only once the list shows it, and the later one goes."""
    monkeypatch.setattr(run_module, "GONE_PAUSES", ())
    other = replace(plan(scope="exact"), run=RunIdentity("ns", "dag", "other", "task", -1))
    service.unlisted = 2
    first = worker(service, TryMark(1, 0), other)
    monkeypatch.setattr(first._conflicts, "_sleep", lambda _: None)
    waits(first, first.begin)
    second = worker(service, TryMark(1, 0), plan(scope="exact"))

    def later(_: float) -> None:
        service.unlisted = 0

    monkeypatch.setattr(second._conflicts, "_sleep", later)
    second.begin()
    with pytest.raises(RequestError, match="was created just before and writes there"):
        second.run()
    statuses = [job["TrainingJobStatus"] for job in service.jobs.values()]
    assert statuses == ["InProgress", "Stopping"]


# ---- a newer generation


@pytest.mark.parametrize("fresh", [True, False])
def test_a_create_looks_for_a_newer_generation_before_it_unless_the_jobs_were_read_just_now(
    service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch, *, fresh: bool
) -> None:
    monkeypatch.setattr(conflicts_module, "FRESH_SECONDS", 3600.0 if fresh else -1.0)
    late = worker(service, TryMark(1, 0))
    late.begin()
    service.put(ANEW, Environment={"AIRFLOW_SPOT_RUN": RUN.key})
    with pytest.raises(RunKilledError, match="generation 2 is active, so this stale try ends"):
        late.run()
    assert ("CreateTrainingJob" in service.calls) is fresh
    # After it too: then the job is stopped.
    assert [job["TrainingJobStatus"] for job in service.jobs.values()] == ["InProgress", *["Stopping"] * fresh]
