"""The trigger looks, tells, and fires once; what fails in passing never ends it."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.triggers.base import TriggerEvent

from airflow_spot.core.events import Event, Transitioned
from airflow_spot.core.outcomes import Outcome
from airflow_spot.core.run_state import RunState, WatchedJob
from airflow_spot.core.try_marks import TryMark
from airflow_spot.triggers import cancelled, training
from airflow_spot.triggers.sources import SageMakerSource
from airflow_spot.triggers.training import SageMakerSpotTrainingTrigger
from airflow_spot.watch import pace, watcher
from airflow_spot.watch.quota_queue import QUOTA_QUEUE
from airflow_spot.watch.registry import WATCHERS
from tests.support.sagemaker import DictionaryHook, DictionarySageMaker, error
from tests.support.waiting import until

JOB = "train-afspot-abcdefghij-1-1"
RUN_STATE = {"job_name": JOB, "generation": 1, "first_of_try": 1, "give_up_at": None}
#: Seconds after which what is waited for is not going to happen, however busy the machine is.
FOREVER = 120.0


@pytest.fixture
def service() -> DictionarySageMaker:
    """A SageMaker with one job that trains."""
    made = DictionarySageMaker()
    made.put(JOB)
    made.passes(JOB, "Starting", "Downloading", "Training")
    return made


class ScriptedHook(DictionaryHook):
    """A hook whose every look is preceded by what a test has happen."""

    def __init__(self, service: DictionarySageMaker, *steps: Any) -> None:
        super().__init__(service)
        self.steps = list(steps)
        self.looks = 0

    def find(self, job_name: str) -> dict[str, Any] | None:
        """Let the next thing happen, then look."""
        self.looks += 1
        if self.steps:
            step = self.steps.pop(0)
            if isinstance(step, Exception):
                raise step
            if step is not None:
                step()
        return super().find(job_name)


def watched(name: str = JOB, seen: int = 0, capacity_timeout: float | None = None) -> dict[str, Any]:
    """A job as the trigger's arguments have it."""
    return WatchedJob(name, seen, capacity_timeout).to_json()


def trigger(hook: Any, *jobs: dict[str, Any], **more: Any) -> SageMakerSpotTrainingTrigger:
    """A trigger that waits for jobs, or for the one, with a hook of ours."""
    waits = {"jobs": list(jobs) or [watched()], "run_state": RUN_STATE, "poll_interval": 0.001}
    made = SageMakerSpotTrainingTrigger(**{**waits, **more})
    made._connect = lambda: hook  # type: ignore[method-assign]
    service = SageMakerSource()
    service._hook = hook
    made._service = lambda: service  # type: ignore[method-assign]
    return made


async def events(of: SageMakerSpotTrainingTrigger) -> list[TriggerEvent]:
    """All that a trigger fires until it ends."""
    return [event async for event in of.run()]


def fired(of: SageMakerSpotTrainingTrigger) -> dict[str, Any]:
    """What a trigger fires: once, and plain JSON."""
    (event,) = asyncio.run(asyncio.wait_for(events(of), FOREVER))
    assert json.loads(json.dumps(event.payload)) == event.payload
    payload: dict[str, Any] = event.payload
    return payload


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "_PAUSES", (0.001, 0.002))
    monkeypatch.setattr(watcher, "retry_delay", lambda *_: 0.001)
    monkeypatch.setattr(watcher, "QUIET_DESCRIBE_SECONDS", 0.001)
    monkeypatch.setattr(training, "SETTLING_SECONDS", 0.0)


@pytest.fixture
def statuses(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The transitions that a trigger tells."""
    heard: list[str] = []

    def observe(event: Event) -> None:
        if isinstance(event, Transitioned):
            heard.append(event.status)

    monkeypatch.setattr(training, "observers", lambda *_: (observe,))
    return heard


FULL: dict[str, Any] = {
    "jobs": [{"name": JOB, "transitions_seen": 4, "capacity_timeout": 1_800.0}],
    "until": 1_767_225_600.5,
    "quota_key": "ml.g5.xlarge spot",
    "run_state": RUN_STATE,
    "poll_interval": 7.5,
    "run_key": "abcdefghij",
    "events_queue_url": "https://sqs.eu-west-1.amazonaws.com/123456789012/events",
    "stop_on_kill": False,
    "try_number": 3,
    "aws_conn_id": None,
    "region_name": "eu-west-1",
    "verify": "/etc/ca.pem",
    "botocore_config": {"read_timeout": 3},
}


@pytest.mark.parametrize("given", [FULL, {"until": 5.0}, {"jobs": [watched()]}])
def test_it_is_rebuilt_as_it_was(given: dict[str, Any]) -> None:
    path, kwargs = SageMakerSpotTrainingTrigger(**given).serialize()
    module, _, name = path.rpartition(".")
    rebuilt = getattr(import_module(module), name)(**json.loads(json.dumps(kwargs)))
    assert type(rebuilt) is SageMakerSpotTrainingTrigger
    assert rebuilt.serialize() == (path, kwargs)
    assert {key: kwargs[key] for key in given} == given


def test_every_parameter_is_serialized() -> None:
    assert set(SageMakerSpotTrainingTrigger(jobs=[watched()]).serialize()[1]) == set(FULL)


@pytest.mark.parametrize("status", ["Completed", "Failed", "Stopped"])
def test_it_fires_when_the_job_ends(service: DictionarySageMaker, status: str) -> None:
    hook = ScriptedHook(service, None, None, lambda: service.put(JOB, status, status))
    assert fired(trigger(hook)) == {"status": "terminal", "job_name": JOB, "run_state": RUN_STATE}
    assert hook.looks == 3


@pytest.mark.parametrize("status", ["Stopping", "ANewOne"])
def test_a_job_that_is_not_over_is_waited_for(service: DictionarySageMaker, status: str) -> None:
    hook = ScriptedHook(service, *[lambda: service.put(JOB, status, status)] * 5, lambda: service.put(JOB, "Stopped"))
    assert fired(trigger(hook))["status"] == "terminal"
    assert hook.looks == 6


def test_it_fires_when_the_job_has_waited_for_as_long_as_its_rung_allows(service: DictionarySageMaker) -> None:
    hook = ScriptedHook(service, None, None, lambda: service.passes(JOB, "Interrupted", "Starting"))
    assert fired(trigger(hook, watched(capacity_timeout=0.3))) == {
        "status": "timeout",
        "job_name": JOB,
        "run_state": RUN_STATE,
    }
    # Not before: while it trained, and for as long as it has not waited so long.
    waits = service.jobs[JOB]["SecondaryStatusTransitions"][-1]
    assert waits["Status"] == "Starting"
    assert time.time() >= waits["StartTime"].timestamp() + 0.3
    assert service.jobs[JOB]["TrainingJobStatus"] == "InProgress"


def test_a_job_that_trains_is_not_out_of_patience(service: DictionarySageMaker) -> None:
    hook = ScriptedHook(service, *[None] * 50, lambda: service.put(JOB, "Completed"))
    assert fired(trigger(hook, watched(capacity_timeout=0.001)))["status"] == "terminal"


def test_a_job_that_ends_lets_one_that_waits_for_its_quota_through(service: DictionarySageMaker) -> None:
    quota, other = "ml.g5.xlarge spot", "ml.p3.2xlarge spot"
    queued = threading.Event()

    def completes() -> None:
        assert queued.wait(FOREVER)
        service.put(JOB, "Completed")

    late = time.time() + 10 * FOREVER
    waiters = [trigger(None, jobs=[], quota_key=wanted, until=late) for wanted in (quota, quota, other)]

    def waiting() -> list[int]:
        return [QUOTA_QUEUE.waiting(waiters[number]._quota) for number in (0, 2)]

    async def together() -> None:
        ending = asyncio.create_task(events(trigger(ScriptedHook(service, None, completes), quota_key=quota)))
        tasks = []
        for number, made in enumerate(waiters, 1):
            tasks.append(asyncio.create_task(events(made)))
            await until(lambda count=number: sum(waiting()) == count)
        queued.set()
        assert [event.payload["status"] for event in await ending] == ["terminal"]
        assert [event.payload["status"] for event in await tasks[0]] == ["quota_available"]
        assert waiting() == [1, 1]
        for task in tasks[1:]:
            task.cancel()
        await asyncio.wait(tasks[1:])
        assert all(task.cancelled() for task in tasks[1:])

    asyncio.run(asyncio.wait_for(together(), FOREVER))


def test_whose_turn_does_not_come_goes_on_when_its_time_is_up() -> None:
    made = trigger(None, jobs=[], quota_key="ml.g5.xlarge spot", until=time.time() + 0.2)
    assert fired(made) == {"status": "timeout", "job_name": None, "run_state": RUN_STATE}
    assert time.time() >= made.until  # type: ignore[operator]


def test_it_fires_when_its_time_is_up_and_the_job_runs_on(service: DictionarySageMaker) -> None:
    made = trigger(DictionaryHook(service), until=time.time() + 0.2)
    assert fired(made) == {"status": "timeout", "job_name": JOB, "run_state": RUN_STATE}
    assert set(service.calls) == {"DescribeTrainingJob"}
    assert time.time() >= made.until  # type: ignore[operator]


def test_a_moment_alone_needs_no_hook() -> None:
    made = SageMakerSpotTrainingTrigger(until=time.time() + 0.1, run_state=RUN_STATE, poll_interval=FOREVER)
    made._service = None  # type: ignore[assignment, method-assign]
    assert fired(made) == {"status": "timeout", "job_name": None, "run_state": RUN_STATE}


def test_a_long_interval_does_not_delay_the_moment(service: DictionarySageMaker) -> None:
    made = trigger(DictionaryHook(service), until=time.time() + 0.1, poll_interval=10 * FOREVER)
    assert fired(made)["status"] == "timeout"


@pytest.mark.parametrize("job_name", [JOB, None])
def test_it_does_not_fire_before_the_scheduler_has_heard_of_the_deferral(
    service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch, job_name: str | None
) -> None:
    monkeypatch.setattr(training, "SETTLING_SECONDS", 0.5)
    service.put(JOB, "Completed", "Completed")
    begun = time.monotonic()
    made = trigger(DictionaryHook(service), jobs=[watched(job_name)] if job_name else [])
    assert fired(made)["status"] == ("terminal" if job_name else "timeout")
    assert time.monotonic() - begun >= 0.5


def test_it_fires_when_the_job_is_gone(service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher, "GONE_PAUSE", 0.01)
    hook = ScriptedHook(service, None, service.jobs.clear)
    assert fired(trigger(hook)) == {"status": "not_found", "job_name": JOB, "run_state": RUN_STATE}


def test_it_fires_when_looking_is_not_permitted(service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher, "DENIED_SECONDS", 0.0)
    service.denied.add("DescribeTrainingJob")
    event = fired(trigger(DictionaryHook(service)))
    assert (event["status"], event["run_state"]) == ("access_denied", RUN_STATE)
    assert "sagemaker:DescribeTrainingJob" in event["message"]


@pytest.mark.parametrize(
    ("passing", "told"),
    [
        (error("ThrottlingException", "Rate exceeded"), 0),
        (error("ExpiredTokenException", "The security token included in the request is expired"), 0),
        (error("InternalFailure"), 18),
        (ConnectionError("no route"), 21),
        (TimeoutError(), 21),
        (RuntimeError("anything"), 21),
    ],
)
def test_what_passes_ends_nothing(
    service: DictionarySageMaker, passing: Exception, told: int, capfd: pytest.CaptureFixture[str]
) -> None:
    hook = ScriptedHook(service, *[passing] * 20, None, passing, lambda: service.put(JOB, "Completed"))
    made = trigger(hook)
    made._service().renew = lambda: None  # type: ignore[method-assign]
    assert fired(made)["status"] == "terminal"
    assert hook.looks == 23
    assert capfd.readouterr().out.count("will retry") == told


def test_expired_credentials_are_read_anew(service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[ScriptedHook] = []

    def make(**settings: Any) -> ScriptedHook:
        expired = error("ExpiredTokenException", "The security token included in the request is expired")
        made.append(ScriptedHook(service, *([expired] if not made else [lambda: service.put(JOB, "Completed")])))
        return made[-1]

    monkeypatch.setattr("airflow_spot.hooks.training.SageMakerSpotTrainingHook", make)
    waiting = SageMakerSpotTrainingTrigger(jobs=[watched()], poll_interval=0.001)
    (event,) = asyncio.run(asyncio.wait_for(events(waiting), FOREVER))
    assert event.payload["status"] == "terminal"
    assert [hook.looks for hook in made] == [1, 1]


def test_what_was_told_before_is_not_told_again(service: DictionarySageMaker, statuses: list[str]) -> None:
    hook = ScriptedHook(service, None, lambda: service.put(JOB, "Completed"))
    assert fired(trigger(hook, watched(seen=2)))["status"] == "terminal"
    assert statuses == ["Training"]


def test_triggers_of_one_connection_share_a_watcher(service: DictionarySageMaker) -> None:
    """And it is gone with the last of them."""
    names = [f"train-afspot-{number:010d}-1-1" for number in range(50)]
    for name in names:
        service.put(name)
    made = [trigger(DictionaryHook(service), watched(name), poll_interval=1) for name in names]
    other = trigger(DictionaryHook(service), region_name="eu-west-1", poll_interval=1)

    async def scene() -> list[int]:
        before = asyncio.all_tasks()
        tasks = [asyncio.create_task(events(each)) for each in (*made, other)]
        counts = []
        # Each has been looked at: all have begun.
        await until(lambda: service.calls.count("DescribeTrainingJob") > len(names))
        counts.append(WATCHERS.count())
        tasks[-1].cancel()
        await asyncio.wait(tasks[-1:])
        counts.append(WATCHERS.count())
        for task in tasks[25:]:
            task.cancel()
        for name in names[:25]:
            service.put(name, "Completed", "Completed")
        done = await asyncio.gather(*tasks[:25])
        assert all(fired[0].payload["status"] == "terminal" for fired in done)
        await asyncio.wait(tasks)
        counts.append(WATCHERS.count())
        # Nothing is left but this, and what waits for it.
        await until(lambda: asyncio.all_tasks() == before)
        return counts

    assert asyncio.run(asyncio.wait_for(scene(), FOREVER)) == [2, 1, 0]
    # Each has its first look, and whoever has changed another one; one more where it changed under the first.
    assert service.calls.count("DescribeTrainingJob") <= len(names) + 1 + 2 * 25


def test_every_transition_is_told_once_and_in_order_even_between_two_looks(
    service: DictionarySageMaker, statuses: list[str]
) -> None:
    hook = ScriptedHook(
        service,
        None,
        None,
        error("ThrottlingException"),
        # The instance goes, and the job trains again, before the next look.
        lambda: service.passes(JOB, "Interrupted", "Starting", "Downloading", "Training"),
        None,
        lambda: (service.passes(JOB, "Uploading", "Completed"), service.put(JOB, "Completed", "Completed")),
    )
    assert fired(trigger(hook))["status"] == "terminal"
    assert statuses == [
        *("Starting", "Downloading", "Training"),
        *("Interrupted", "Starting", "Downloading", "Training"),
        *("Uploading", "Completed"),
    ]


# ---- killed by a user (Airflow 3.3 and later)


TASK: Any = SimpleNamespace(dag_id="d", run_id="r", task_id="t", map_index=-1)


@pytest.fixture(autouse=True)
def _marked_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "task_state", lambda task_instance: "failed")


def kill(service: DictionarySageMaker, *jobs: dict[str, Any], task_instance: Any = TASK, **more: Any) -> None:
    """End the task as a user does."""
    made = trigger(DictionaryHook(service), *jobs, **more)
    made.task_instance = task_instance
    asyncio.run(made.on_kill())


@pytest.mark.parametrize("state", ["deferred", "scheduled", "queued", "running", "up_for_retry", "restarting", "new"])
def test_a_trigger_that_another_triggerer_took_over_stops_nothing(
    service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    """Airflow 3.3 calls on_kill() for it too: its triggerer had been late, and came back."""
    monkeypatch.setattr(training, "task_state", lambda task_instance: state)
    kill(service)
    assert not {"AddTags", "StopTrainingJob"} & set(service.calls)


@pytest.mark.parametrize(("states", "stopped"), [([None, "queued"], False), ([None, None], True)])
def test_a_task_that_was_cleared_is_looked_at_once_more(
    service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch, states: list[str | None], stopped: bool
) -> None:
    monkeypatch.setattr(cancelled, "SECOND_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(training, "task_state", lambda task_instance: states.pop(0))
    kill(service)
    assert ("StopTrainingJob" in service.calls) is stopped
    assert states == []


def test_where_nobody_can_say_nothing_is_stopped(service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(task_instance: Any) -> str:
        raise ConnectionError("the supervisor is gone")

    monkeypatch.setattr(training, "task_state", gone)
    kill(service)
    kill(service, task_instance=None)
    assert not {"AddTags", "StopTrainingJob"} & set(service.calls)


def test_a_kill_stops_the_job_with_a_mark_that_comes_first(service: DictionarySageMaker) -> None:
    kill(service, try_number=2)
    assert service.jobs[JOB]["TrainingJobStatus"] == "Stopping"
    assert service.tags_of(JOB)["airflow-spot:stop"] == "killed 2"
    acts = [call for call in service.calls if call in ("AddTags", "StopTrainingJob")]
    # The second time for a successor that took the mark back in between.
    assert acts == ["AddTags", "StopTrainingJob", "AddTags"]


@pytest.mark.parametrize("status", ["Completed", "Failed", "Stopped", "Stopping"])
def test_a_kill_leaves_a_job_that_is_over(service: DictionarySageMaker, status: str) -> None:
    service.put(JOB, status, status)
    kill(service)
    assert not {"AddTags", "StopTrainingJob"} & set(service.calls)


def test_a_kill_leaves_a_job_that_a_later_try_waits_for(service: DictionarySageMaker) -> None:
    service.add_tags(service.jobs[JOB]["TrainingJobArn"], [{"Key": "airflow-spot:owner", "Value": "3"}])
    service.calls.clear()
    kill(service, try_number=2)
    assert not {"AddTags", "StopTrainingJob"} & set(service.calls)
    kill(service, try_number=3)
    assert service.jobs[JOB]["TrainingJobStatus"] == "Stopping"


@pytest.mark.parametrize("more", [{"stop_on_kill": False}, {"jobs": []}])
def test_a_kill_that_is_to_stop_nothing_asks_nothing(service: DictionarySageMaker, more: dict[str, Any]) -> None:
    kill(service, **more)
    assert service.calls == []


def test_a_kill_of_a_job_that_is_gone(service: DictionarySageMaker) -> None:
    service.jobs.clear()
    kill(service)
    assert not {"AddTags", "StopTrainingJob"} & set(service.calls)


def test_a_kill_without_permission_to_mark_still_stops(service: DictionarySageMaker) -> None:
    service.denied |= {"AddTags", "ListTags"}
    kill(service)
    assert service.jobs[JOB]["TrainingJobStatus"] == "Stopping"


# ---- in a triggerer


def test_a_restarted_or_cancelled_trigger_stops_nothing(service: DictionarySageMaker) -> None:
    """A triggerer that goes down cancels its triggers, and calls cleanup(), at each of its restarts."""

    async def scene() -> None:
        looked, loop = asyncio.Event(), asyncio.get_running_loop()
        made = trigger(ScriptedHook(service, None, lambda: loop.call_soon_threadsafe(looked.set)))
        task = asyncio.create_task(events(made))
        await looked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await made.cleanup()

    asyncio.run(asyncio.wait_for(scene(), FOREVER))
    assert service.jobs[JOB]["TrainingJobStatus"] == "InProgress"
    assert set(service.calls) == {"DescribeTrainingJob"}


@pytest.mark.parametrize("doing", ["looking", "stopping"])
def test_a_slow_answer_does_not_hold_up_the_event_loop(service: DictionarySageMaker, doing: str) -> None:
    """The answer comes only after the loop has gone round many times: it would never come if the loop stood still."""
    rounds, enough, stood_still = 0, threading.Event(), False

    class SlowSageMaker(DictionarySageMaker):
        def describe_training_job(self, TrainingJobName: str) -> dict[str, Any]:
            nonlocal stood_still
            stood_still = stood_still or not enough.wait(FOREVER / 6)
            return super().describe_training_job(TrainingJobName)

    slow = SlowSageMaker()
    slow.put(JOB, "Completed" if doing == "looking" else "InProgress")

    async def turn() -> None:
        nonlocal rounds
        while rounds < 100:
            rounds += 1
            await asyncio.sleep(0)
        enough.set()

    async def scene() -> None:
        made = trigger(DictionaryHook(slow))
        made.task_instance = TASK
        await asyncio.gather(turn(), events(made) if doing == "looking" else made.on_kill())

    asyncio.run(asyncio.wait_for(scene(), 2 * FOREVER))
    assert not stood_still
    assert rounds == 100
    assert doing == "looking" or slow.jobs[JOB]["TrainingJobStatus"] == "Stopping"


# ---- several jobs, and rows of other versions

PROBE = "train-afspot-abcdefghij-1-p1"


@pytest.mark.parametrize("first", [JOB, PROBE])
def test_of_several_jobs_the_first_that_ends_fires(service: DictionarySageMaker, first: str) -> None:
    service.put(PROBE)

    async def scene() -> list[TriggerEvent]:
        both, loop = asyncio.Event(), asyncio.get_running_loop()
        hook = ScriptedHook(service, None, lambda: loop.call_soon_threadsafe(both.set))
        waiting = asyncio.create_task(events(trigger(hook, watched(JOB), watched(PROBE))))
        await both.wait()
        service.put(first, "Completed", "Completed")
        return await waiting

    (event,) = asyncio.run(asyncio.wait_for(scene(), FOREVER))
    assert event.payload == {"status": "terminal", "job_name": first, "run_state": RUN_STATE}


def test_a_kill_stops_every_job(service: DictionarySageMaker) -> None:
    service.put(PROBE)
    kill(service, watched(JOB), watched(PROBE), try_number=2)
    assert [service.jobs[name]["TrainingJobStatus"] for name in (JOB, PROBE)] == ["Stopping"] * 2
    assert {service.tags_of(name)["airflow-spot:stop"] for name in (JOB, PROBE)} == {"killed 2"}


ROWS = sorted((Path(__file__).parent / "rows").glob("*.json"))


@pytest.mark.parametrize("row", ROWS, ids=lambda path: path.stem)
def test_a_row_of_a_released_version_still_resumes(service: DictionarySageMaker, row: Path) -> None:
    """A deferred task outlives an upgrade: its row was written by the version before. These files never change."""
    path, kwargs = json.loads(row.read_text())
    module, _, name = path.rpartition(".")
    made = getattr(import_module(module), name)(**kwargs)
    hook = DictionaryHook(service)
    service.put(kwargs["jobs"][0]["name"], "Completed", "Completed")
    source = SageMakerSource()
    source._hook = hook
    made._service = lambda: source
    payload = fired(made)
    assert payload["status"] == "terminal"
    state = RunState.from_json(payload["run_state"])
    assert (state.generation, state.first_of_try, state.this_try) == (2, 3, TryMark(2, 5, 3, 1))
    assert state.jobs == (kwargs["jobs"][0]["name"],)
    assert [refusal.outcome for refusal in state.refusals] == [Outcome.QUOTA_EXCEEDED]


def test_what_a_newer_version_adds_is_kept_and_ignored(service: DictionarySageMaker) -> None:
    service.put(JOB, "Completed", "Completed")
    newer = {"jobs": [{**watched(), "priority": 3}], "deadline": 5.0, "run_state": {**RUN_STATE, "probes": [1]}}
    made = trigger(DictionaryHook(service), **newer)
    _, kwargs = made.serialize()
    assert {name: kwargs[name] for name in newer} == newer
    assert fired(made) == {"status": "terminal", "job_name": JOB, "run_state": newer["run_state"]}


def test_its_name_in_airflows_log_tells_no_secret() -> None:
    proxies = {"proxies": {"https": "http://me:hunter2@proxy:8080"}}
    assert repr(SageMakerSpotTrainingTrigger(jobs=[watched()], botocore_config=proxies)) == (
        f"<SageMakerSpotTrainingTrigger {JOB}>"
    )
    assert repr(SageMakerSpotTrainingTrigger()) == "<SageMakerSpotTrainingTrigger without a job>"
