"""A sensor of capacity whose looks fail, whose tags are denied, whose names change, that is killed: nothing is left."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred
from airflow.sdk.exceptions import AirflowRescheduleException, AirflowSkipException

from airflow_spot.core.capacity_wait import Window
from airflow_spot.core.marks import TAG_OWNER, StopMark
from airflow_spot.core.parameter_errors import InvalidParameterError
from airflow_spot.errors import RunKilledError
from airflow_spot.sensors import capacity
from airflow_spot.sensors.capacity import SageMakerSpotCapacitySensor
from tests.operators.scene import Hook, ti
from tests.support.requests import stock_config
from tests.support.sagemaker import DictionarySageMaker, error

Make = Callable[..., SageMakerSpotCapacitySensor]


@pytest.fixture
def service() -> DictionarySageMaker:
    return DictionarySageMaker()


@pytest.fixture
def make(service: DictionarySageMaker) -> Make:
    def sensor(*types: str, **more: Any) -> SageMakerSpotCapacitySensor:
        given = {"config": stock_config("bucket"), "timeout": 86_400, "poke_interval": 30, **more}
        made = SageMakerSpotCapacitySensor(task_id="wait", instance_types=list(types or ("ml.a", "ml.b")), **given)
        made.__dict__["hook"] = Hook(service)
        return made

    return sensor


def context(number: int = 1, started: datetime | None = None) -> Any:
    this = ti(number, 5)
    this.get_first_reschedule_date = lambda context: None  # type: ignore[attr-defined]
    return {"ti": this, **({"dag_run": SimpleNamespace(start_date=started)} if started else {})}


def defers(made: SageMakerSpotCapacitySensor, given: Any, trigger: Any = None) -> Any:
    """Have it defer; its trigger."""
    with pytest.raises(TaskDeferred) as wait:
        made.execute(given) if trigger is None else made.execute_complete(given, {"run_state": trigger.run_state})
    return wait.value.trigger


def ages(service: DictionarySageMaker, name: str, seconds: float) -> None:
    """Have a probe be as old as that."""
    service.jobs[name]["CreationTime"] -= timedelta(seconds=seconds)


def stops(service: DictionarySageMaker, name: str) -> None:
    """Have a probe that was told to stop end."""
    assert service.jobs[name]["TrainingJobStatus"] == "Stopping"
    service.put(name, "Stopped", "Stopped", TrainingEndTime=service.clock())


def grants(service: DictionarySageMaker, name: str) -> None:
    now = service.clock()
    service.passes(name, "Starting", "Downloading", "Training")
    service.put(name, "Completed", "Completed", TrainingStartTime=now, TrainingEndTime=now, TrainingTimeInSeconds=9)


# ---- a look that fails


@pytest.mark.parametrize(("given", "ends"), [({}, Exception), ({"never_fail": True}, AirflowSkipException)])
def test_a_look_that_fails_after_a_deferral_ends_with_the_probe_stopped(
    service: DictionarySageMaker, make: Make, monkeypatch: pytest.MonkeyPatch, given: Any, ends: Any
) -> None:
    trigger = defers(make(deferrable=True, **given), context())
    again = make(deferrable=True, **given)
    monkeypatch.setattr(again.hook, "attempt", lambda *_: (_ for _ in ()).throw(error("ThrottlingException")))
    with pytest.raises(ends) as caught:
        again.execute_complete(context(), {"run_state": trigger.run_state})
    assert given or "Throttling" in str(caught.value)
    (job,) = service.jobs.values()
    assert job["TrainingJobStatus"] == "Stopping"


def test_so_does_a_configuration_that_cannot_be_read_any_more(service: DictionarySageMaker, make: Make) -> None:
    """What the types are is a template, and renders to nothing by now."""
    trigger = defers(make(deferrable=True), context())
    again = make(deferrable=True)
    again.instance_types = ""
    with pytest.raises(InvalidParameterError, match="instance_types"):
        again.execute_complete(context(), {"run_state": trigger.run_state})
    (job,) = service.jobs.values()
    assert job["TrainingJobStatus"] == "Stopping"


def test_with_silent_fail_it_waits_on(
    service: DictionarySageMaker, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"deferrable": True, "silent_fail": True}
    trigger = defers(make(**given), context())
    again = make(**given)
    monkeypatch.setattr(again.hook, "attempt", lambda *_: (_ for _ in ()).throw(error("ThrottlingException")))
    second = defers(again, context(), trigger)
    assert second.jobs == trigger.jobs
    assert second.run_state == trigger.run_state
    assert service.live() == [second.job_name]
    assert service.jobs[second.job_name]["TrainingJobStatus"] == "InProgress"


# ---- a kill


@pytest.mark.parametrize("born", [False, True])
def test_a_kill_in_the_middle_of_a_create_leaves_no_probe(service: DictionarySageMaker, make: Make, born: bool) -> None:
    made, create = make(), service.create_training_job

    def killed(**request: Any) -> Any:
        if born:
            create(**request)
        made.on_kill()
        return {} if born else create(**request)

    service.create_training_job = killed  # type: ignore[method-assign]
    with pytest.raises(RunKilledError):
        made.execute(context())
    (job,) = service.jobs.values()
    assert job["TrainingJobStatus"] == "Stopping"


def test_after_a_kill_no_probe_is_created(service: DictionarySageMaker, make: Make) -> None:
    """Airflow 3 lets the task go on for seconds."""
    made = make()
    made.poke(context())
    made.on_kill()
    (name,) = service.jobs
    stops(service, name)
    for sensor in (made, again := make()):
        again.on_kill()  # before it has looked
        with pytest.raises(RunKilledError):
            sensor.poke(context())
    assert list(service.jobs) == [name]


# ---- without tags


@pytest.mark.parametrize("way", ["poke", "reschedule", "deferrable"])
def test_without_tags_a_probe_that_it_has_given_up_is_no_persons_stop(
    service: DictionarySageMaker, make: Make, way: str
) -> None:
    service.denied = {"AddTags"}
    given: dict[str, Any] = {"probe_wait": 600, "mode": "reschedule" if way == "reschedule" else "poke"}
    made = make(deferrable=way == "deferrable", **given)
    trigger: Any = None

    def look() -> None:
        nonlocal made, trigger
        if way == "poke":
            assert not made.poke(context()).is_done
            return
        made = make(deferrable=way == "deferrable", **given)
        if way == "deferrable":
            trigger = defers(made, context(), trigger)
        else:
            with pytest.raises(AirflowRescheduleException):
                made.execute(context())

    look()
    (first,) = service.jobs
    ages(service, first, 601)
    look()
    stops(service, first)
    look()
    (second,) = service.live()
    assert service.jobs[second]["ResourceConfig"]["InstanceType"] == "ml.b"


@pytest.mark.parametrize("deferrable", [False, True])
def test_without_tags_a_retry_believes_the_probe_that_it_has_waited_for(
    service: DictionarySageMaker, make: Make, deferrable: bool
) -> None:
    service.denied = {"AddTags"}
    made = make("ml.a", deferrable=deferrable)
    made.poke(context(1))  # and its worker is lost
    (name,) = service.jobs
    retry = make("ml.a", deferrable=deferrable)
    trigger = defers(retry, context(2)) if deferrable else retry.poke(context(2))
    grants(service, name)
    if deferrable:
        found = make("ml.a", deferrable=True).execute_complete(context(2), {"run_state": trigger.run_state})
    else:
        found = retry.poke(context(2)).xcom_value
    assert (found["instance_type"], found["probes"]) == ("ml.a", 1)


# ---- whose probe it is


def test_a_name_that_renders_differently_makes_no_second_probe(service: DictionarySageMaker, make: Make) -> None:
    for prefix in ("one", "two", "three"):
        made = make("ml.a", config={**stock_config("bucket"), "TrainingJobName": prefix})
        assert not made.poke(context()).is_done
    assert len(service.jobs) == 1


def test_a_worker_that_was_superseded_does_not_take_its_probe_back(service: DictionarySageMaker, make: Make) -> None:
    frozen, retry = make("ml.a"), make("ml.a")
    frozen.poke(context(1))
    retry.poke(context(2))
    frozen.poke(context(1))
    (name,) = service.jobs
    assert service.tags_of(name)[TAG_OWNER] == "2"
    frozen.on_kill()
    assert service.jobs[name]["TrainingJobStatus"] == "InProgress"
    retry.on_kill()
    stop = StopMark.parse(service.tags_of(name)["airflow-spot:stop"])
    assert stop is not None and stop.try_number == 2


def test_a_probe_of_a_dag_run_that_was_made_again_is_of_another_day(service: DictionarySageMaker, make: Make) -> None:
    make("ml.a").poke(context())
    (name,) = service.jobs
    grants(service, name)
    assert make("ml.a").poke(context()).is_done
    tomorrow = datetime.now(timezone.utc) + timedelta(days=1)
    assert not make("ml.a").poke(context(started=tomorrow)).is_done
    assert len(service.jobs) == 2


# ---- a window


class Clock(datetime):
    moment = datetime(2026, 5, 1, 23, 0, tzinfo=timezone.utc)

    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return cls.moment


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize("tags", [True, False])
def test_a_probe_that_waits_is_stopped_when_the_window_closes(
    service: DictionarySageMaker, make: Make, monkeypatch: pytest.MonkeyPatch, deferrable: bool, tags: bool
) -> None:
    monkeypatch.setattr(capacity, "datetime", Clock)
    service.denied = set() if tags else {"AddTags"}
    given: dict[str, Any] = {"window": "22:00-06:00", "deferrable": deferrable, "timeout": 10 * 86_400}
    made, trigger = make("ml.a", **given), None

    def look(day: int, hour: int) -> Any:
        nonlocal trigger
        Clock.moment = datetime(2026, 5, day, hour, 0, tzinfo=timezone.utc)
        if deferrable:
            trigger = defers(make("ml.a", **given), context(), trigger)
        else:
            assert not made.poke(context()).is_done
        return trigger

    waits = look(1, 23)
    (first,) = service.jobs
    if deferrable:
        assert waits.until == datetime(2026, 5, 2, 6, 0, tzinfo=timezone.utc).timestamp()
    look(2, 6)
    stops(service, first)
    rests = look(2, 7)
    if deferrable:
        assert rests.jobs == []
        assert rests.until == datetime(2026, 5, 2, 22, 0, tzinfo=timezone.utc).timestamp()
    assert service.live() == []
    look(2, 22)
    assert len(service.live()) == 1
    assert Window.read("w", "22:00-06:00", "z", "UTC").is_open(Clock.moment)


def test_fields_of_the_wrong_kind_are_named() -> None:
    for given, field in (({"max_price_share": "0.5"}, "max_price_share"), ({"instance_count": True}, "instance_count")):
        with pytest.raises(InvalidParameterError) as caught:
            SageMakerSpotCapacitySensor(task_id="w", instance_types=["ml.a"], by="price", **given)  # type: ignore[arg-type]
        assert caught.value.name == field
