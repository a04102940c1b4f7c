"""The copy of a run's ledger is of no weight beside the run: whatever becomes of it, the run goes on as without it."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_spot.aws.marks import OF_ANOTHER_TRY
from airflow_spot.compat import xcoms
from airflow_spot.compat.sdk import AirflowTaskTimeout
from airflow_spot.core.attempt import Attempt
from airflow_spot.core.events import AttemptFound, JobStopped
from airflow_spot.core.marks import TAG_OWNER
from airflow_spot.core.stop_reasons import StopReason
from airflow_spot.core.timeline.carried import unpack
from airflow_spot.errors import RunKilledError, ScriptError
from airflow_spot.operators._links import TaskLinks
from airflow_spot.render.ledger_format import SUMMARY_KEY, TIMELINE_KEY
from airflow_spot.runs import ledger_copy
from airflow_spot.triggers import training
from airflow_spot.triggers.sources import SageMakerSource
from tests.operators.scene import deferred, operator, resume, ti
from tests.support.sagemaker import DictionaryHook, DictionarySageMaker, error
from tests.support.task import TaskInstance, fire

pytestmark = pytest.mark.usefixtures("short_pauses")
ENDED = {"TrainingTimeInSeconds": 60, "BillableTimeInSeconds": 20}


class Failing(TaskInstance):
    """Its XComs fail from one write on, or at that one alone."""

    def fails(self, nth: int, what: BaseException, *, alone: bool = False) -> Failing:
        self.pushes, self.nth, self.what, self.alone = 0, nth, what, alone
        return self

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushes += 1
        if self.pushes == self.nth or (self.pushes > self.nth and not self.alone):
            raise self.what
        super().xcom_push(key, value)


def failing(nth: int, what: BaseException, *, alone: bool = False) -> Failing:
    return Failing("train").fails(nth, what, alone=alone)


def writes(act: Callable[[Failing], Any]) -> int:
    """How many XComs a try writes."""
    this = failing(10_000, RuntimeError())
    act(this)
    return this.pushes


@pytest.mark.parametrize("what", ["xcoms", "fold", "copy_of", "pack", "take_in"])
def test_a_copy_that_cannot_be_kept_changes_nothing_of_the_run(
    service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch, said: list[str], what: str
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no")

    if what == "xcoms":
        monkeypatch.setattr(TaskInstance, "xcom_push", broken)
        monkeypatch.setattr(xcoms, "set_xcom", broken)
    else:
        monkeypatch.setattr(ledger_copy, what, broken)
    this = ti()
    trigger = deferred(service, this)
    service.put(trigger.job_name, "Completed", "Completed", **ENDED)
    result = resume(operator(service), this, trigger, "terminal")
    assert result["Spot"]["billable_seconds"] == 20
    assert service.calls.count("CreateTrainingJob") == 1
    # Once in each worker: one of the two defers.
    told = sum(line.startswith("The timeline of this task") for line in said)
    assert told == (1 if what == "pack" else 2)


def test_it_costs_no_call(service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    def calls() -> list[str]:
        service.calls.clear()
        service.jobs.clear()
        this = ti()
        trigger = deferred(service, this)
        service.put(trigger.job_name, "Completed", "Completed", **ENDED)
        resume(operator(service), this, trigger, "terminal")
        return list(service.calls)

    with_it = calls()
    for name in ("observe", "write", "succeeded"):
        monkeypatch.setattr(ledger_copy.LedgerCopy, name, lambda *_, **__: None)
    assert calls() == with_it


def test_an_api_that_fails_at_any_write_changes_nothing_of_the_run(service: DictionarySageMaker) -> None:
    def whole(this: Failing) -> Any:
        service.jobs.clear()
        service.marks.clear()
        service.calls.clear()
        trigger = deferred(service, this)
        service.put(trigger.job_name, "Completed", "Completed", **ENDED)
        return resume(operator(service), this, trigger, "terminal")

    count, calls = writes(whole), list(service.calls)
    assert count >= 8
    for nth in range(1, count + 1):
        for alone in (False, True):
            assert whole(failing(nth, RuntimeError("API_SERVER_ERROR"), alone=alone))["Spot"]["billable_seconds"] == 20
            assert service.calls == calls


@pytest.mark.parametrize("waits", [True, False])
def test_a_timeout_in_the_middle_of_any_write_leaves_no_job_behind(
    service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch, waits: bool
) -> None:
    def waited(*_: Any) -> None:
        (name,) = service.jobs
        if service.jobs[name]["TrainingJobStatus"] == "InProgress":
            service.put(name, "Completed", "Completed", **ENDED)

    monkeypatch.setattr("airflow_spot.runs.controller.interruptible_sleep", waited)

    def try_(this: Failing) -> None:
        service.jobs.clear()
        service.marks.clear()
        context: Any = {"ti": this}
        with contextlib.suppress(TaskDeferred):
            operator(service, deferrable=not waits).execute(context)

    count, created = writes(try_), 0
    for nth in range(1, count + 1):
        with pytest.raises(AirflowTaskTimeout):
            try_(failing(nth, AirflowTaskTimeout("Timeout"), alone=True))
        created += len(service.jobs)
        assert [name for name in service.live() if service.jobs[name]["TrainingJobStatus"] == "InProgress"] == []
    assert created > 3


class Alarmed(TaskInstance):
    """The task's time is up in the middle of one of its writes, as Airflow has it: by a signal whose handler raises."""

    def alarms(self, nth: int) -> Alarmed:
        self.begun = self.done = 0
        self.nth = nth
        return self

    def xcom_push(self, key: str, value: Any) -> None:
        self.begun += 1
        if self.begun == self.nth:
            signal.raise_signal(signal.SIGALRM)
        self.done += 1
        super().xcom_push(key, value)


@pytest.fixture
def timeout() -> Iterator[None]:
    """Airflow's handler."""

    def handler(*_: Any) -> None:
        raise AirflowTaskTimeout("Timeout")

    before = signal.signal(signal.SIGALRM, handler)
    yield
    assert signal.getsignal(signal.SIGALRM) is handler
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("timeout")
def test_a_timeout_breaks_no_write_off(service: DictionarySageMaker) -> None:
    """On Airflow 3 the answer that nobody reads would be read as that to the next question."""
    counted = failing(10_000, RuntimeError())
    deferred(service, counted)
    for nth in range(1, counted.pushes + 1):
        service.jobs.clear()
        this = Alarmed("train").alarms(nth)
        context: Any = {"ti": this}
        with pytest.raises(AirflowTaskTimeout):
            operator(service).execute(context)
        assert this.begun == this.done >= nth
        assert [job["TrainingJobStatus"] for job in service.jobs.values()] in ([], ["Stopping"])


def test_nothing_is_written_in_a_signal_handler_whatever_was_heard_last() -> None:
    """It may have come in the middle of another write, whose lock it would wait for for ever."""
    this = ti()
    links = TaskLinks(operator(DictionarySageMaker()), {"ti": this})  # type: ignore[arg-type]
    name = "train-afspot-abcdefghij-1-1"
    description = {"TrainingJobName": name, "TrainingJobArn": "a", "TrainingJobStatus": "InProgress"}
    links.observe(AttemptFound(Attempt.from_description(description, {})))
    links.observe(JobStopped(name, StopReason.KILLED, "killed by Airflow"))
    assert this.xcoms == {}


def test_a_try_that_was_superseded_leaves_the_page_to_the_later_one(
    service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, this = operator(service, deferrable=False), ti(1, 1)
    pages: list[Any] = []

    def signal(*_: Any) -> None:
        (name,) = service.jobs
        service.add_tags(service.jobs[name]["TrainingJobArn"], [{"Key": TAG_OWNER, "Value": "2"}])
        pages.append(dict(this.xcoms))
        made.on_kill()
        raise RunKilledError("killed")

    monkeypatch.setattr("airflow_spot.runs.controller.interruptible_sleep", signal)
    context: Any = {"ti": this}
    with pytest.raises(RunKilledError):
        made.execute(context)
    (name,) = service.live()
    assert service.jobs[name]["TrainingJobStatus"] == "InProgress"
    assert OF_ANOTHER_TRY in (DictionaryHook(service).stop(name, None, owner=1) or "")  # type: ignore[arg-type]
    assert [this.xcoms[key] for key in (SUMMARY_KEY, TIMELINE_KEY)] == [
        pages[0][key] for key in (SUMMARY_KEY, TIMELINE_KEY)
    ]


def test_a_stale_try_that_ends_by_itself_writes_nothing_either(
    service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    def stale(*_: Any) -> None:
        raise RunKilledError("this stale try ends")

    monkeypatch.setattr("airflow_spot.runs.conflicts.ConflictGuard.check_before_create", stale)
    this = ti()
    context: Any = {"ti": this}
    with pytest.raises(RunKilledError):
        operator(service).execute(context)
    assert this.xcoms[SUMMARY_KEY]["ended"] is None
    assert not any("killed by Airflow" in line for line in said)


def test_what_others_say_in_their_errors_is_not_repeated(
    service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(**_: Any) -> Any:
        raise error("ThrottlingException", "Value 'hunter2' at 'hyperParameters' is odd", "CreateTrainingJob")

    for what in (refused, lambda **_: (_ for _ in ()).throw(ValueError("hunter2"))):
        monkeypatch.setattr(DictionaryHook, "submit", lambda *_, what=what, **__: what())
        this = ti()
        context: Any = {"ti": this}
        with pytest.raises(Exception, match="hunter2"):
            operator(service).execute(context)
        assert this.xcoms[SUMMARY_KEY]["state"] == "failed"
        assert "hunter2" not in str(this.xcoms)


def test_what_could_not_be_written_is_written_later_though_nothing_is_new(
    service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    this = failing(1, RuntimeError("API_SERVER_ERROR"))
    sleeps: list[str | None] = []

    def sleep(*_: Any) -> None:
        (name,) = service.jobs
        sleeps.append(this.xcoms.get(SUMMARY_KEY, {}).get("state"))
        if len(sleeps) == 1:
            this.nth = 10_000  # the API is back
        if len(sleeps) == 2:
            service.put(name, "Completed", "Completed", **ENDED)

    monkeypatch.setattr(xcoms, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr("airflow_spot.runs.controller.interruptible_sleep", sleep)
    context: Any = {"ti": this}
    operator(service, deferrable=False).execute(context)
    assert sleeps == [None, "waiting"]


def test_no_job_waits_to_be_stopped_for_what_a_page_shows(
    service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    this = ti()
    trigger = deferred(service, this)
    other = f"{trigger.job_name}0"
    service.put(other)
    trigger.jobs.append({**trigger.jobs[0], "name": other})
    trigger.task_instance = this
    trigger._connect = lambda: DictionaryHook(service)
    seen: list[list[str]] = []

    def push(_: Any, key: str, value: Any) -> None:
        seen.append([job["TrainingJobStatus"] for job in service.jobs.values()])

    monkeypatch.setattr(xcoms, "set_xcom", push)
    trigger._stop()
    assert seen
    assert all(statuses == ["Stopping", "Stopping"] for statuses in seen)


@pytest.mark.parametrize("ends", ["in the trigger", "in the worker", "refused"])
def test_no_value_of_a_jobs_is_in_an_xcom_or_in_what_a_deferral_carries(
    service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    canaries = ("canary-4711", "canary-4712")
    job = {"HyperParameters": {"token": canaries[0]}, "Environment": {"KEY": canaries[1]}}
    words = (
        f"AlgorithmError: ExecuteUserScriptError: train.py --token {canaries[0]} with KEY={canaries[1]}, exit code: 1"
    )
    this = ti()
    carried: list[str] = []
    context: Any = {"ti": this}
    if ends == "refused":

        def refused(**_: Any) -> Any:
            raise error("ResourceLimitExceeded", f"The account-level service limit, for {words}", "CreateTrainingJob")

        monkeypatch.setattr(service, "create_training_job", refused)
        monkeypatch.setattr("airflow_spot.runs.controller.SHORT_PAUSE_SECONDS", 0.0)
        carried.append(str(unpack(deferred(service, this, config=job, max_total_wait="1d").run_state["timeline"])))
    else:
        trigger = deferred(service, this, config=job)
        carried.append(str(unpack(trigger.run_state["timeline"])))
        service.passes(trigger.job_name, "Training", "Failed")
        service.jobs[trigger.job_name]["SecondaryStatusTransitions"][-1]["StatusMessage"] = words
        service.put(trigger.job_name, "Failed", "Failed", FailureReason=words, TrainingTimeInSeconds=60)
        event: Any = {"status": "terminal", "job_name": trigger.job_name, "run_state": trigger.run_state}
        if ends == "in the trigger":
            source = SageMakerSource()
            source._hook = DictionaryHook(service)
            monkeypatch.setattr(training.SageMakerSpotTrainingTrigger, "_service", lambda _: source)
            event = fire(trigger, this)
            assert this.xcoms[SUMMARY_KEY]["state"] == "pausing"
            carried.append(str(unpack(event["run_state"]["timeline"])))
        with pytest.raises(ScriptError):
            operator(service, config=job).execute_complete(context, event)
        assert "ExecuteUserScriptError" in this.xcoms[TIMELINE_KEY]["reason"]
    for canary in canaries:
        assert canary not in str(this.xcoms)
        assert canary not in str(carried)
