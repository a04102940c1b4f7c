"""Below Airflow 3.3 a cancelled trigger stops its job if a user ended the task, once, and never otherwise."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
from asgiref.sync import async_to_sync

from airflow_spot.aws import retrying
from airflow_spot.aws.retrying import RetryingClient
from airflow_spot.compat import triggers as compat_triggers
from airflow_spot.triggers import cancelled, training
from airflow_spot.triggers.sources import SageMakerSource
from airflow_spot.triggers.training import SageMakerSpotTrainingTrigger
from tests.support.sagemaker import DictionaryHook, DictionarySageMaker, error

JOB = "train-afspot-abcdefghij-1-1"
LIMIT = 30.0
TASK = SimpleNamespace(dag_id="dag", run_id="run", task_id="train", map_index=-1)

State = Callable[[Any], "str | None"]


@pytest.fixture
def service() -> DictionarySageMaker:
    made = DictionarySageMaker()
    made.put(JOB)
    made.passes(JOB, "Starting", "Training")
    return made


@pytest.fixture(autouse=True)
def _below_3_3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "TRIGGER_HAS_ON_KILL", False)
    monkeypatch.setattr(training, "SETTLING_SECONDS", 0.0)


def use(trigger: SageMakerSpotTrainingTrigger, hook: Any) -> None:
    """Have a trigger look and stop with a hook of ours."""
    watched = SageMakerSource()
    watched._hook = hook
    trigger._connect = lambda: hook  # type: ignore[method-assign]
    trigger._service = lambda: watched  # type: ignore[method-assign]


class Scene:
    """A trigger that has looked once and waits, and a triggerer that cancels it, again and again, as Airflow does."""

    def __init__(self, service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch, state: State) -> None:
        self.service = service
        self.asked: list[Any] = []

        def ask(task_instance: Any) -> str | None:
            self.asked.append(task_instance)
            return state(task_instance)

        monkeypatch.setattr(training, "task_state", ask)

    def cancel(self, **more: Any) -> None:
        asyncio.run(asyncio.wait_for(self._cancel(**more), LIMIT))

    async def _cancel(self, task_instance: Any = TASK, **more: Any) -> None:
        looked, loop = asyncio.Event(), asyncio.get_running_loop()

        class Looked(DictionaryHook):
            def find(self, job_name: str) -> dict[str, Any] | None:
                found = super().find(job_name)
                loop.call_soon_threadsafe(looked.set)
                return found

        trigger = SageMakerSpotTrainingTrigger(
            **{"jobs": [{"name": JOB}], "poll_interval": LIMIT, "try_number": 2, **more}
        )
        use(trigger, Looked(self.service))
        if task_instance is not None:
            trigger.task_instance = task_instance
        events: list[Any] = []

        async def run() -> None:
            events.extend([event async for event in trigger.run()])

        task = asyncio.create_task(run())
        if more.get("jobs", [JOB]):
            await looked.wait()
        else:
            await asyncio.sleep(0)
        while not task.done():
            task.cancel()
            await asyncio.sleep(0.001)
        assert task.cancelled(), "a cancelled trigger ends as cancelled, whatever it found"
        assert events == []
        await trigger.cleanup()

    @property
    def acts(self) -> list[str]:
        return [call for call in self.service.calls if call in ("AddTags", "StopTrainingJob")]


@pytest.mark.parametrize("state", ["failed", "success", "skipped", "upstream_failed", "removed", None])
def test_a_task_that_a_user_ended_stops_its_job_once(
    service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch, state: str | None
) -> None:
    scene = Scene(service, monkeypatch, lambda _: state)
    monkeypatch.setattr(cancelled, "SECOND_LOOK_SECONDS", 0.01)
    scene.cancel()
    assert scene.acts == ["AddTags", "StopTrainingJob", "AddTags"]
    assert scene.asked == [TASK] * (2 if state is None else 1)
    assert service.tags_of(JOB)["airflow-spot:stop"] == "killed 2"


@pytest.mark.parametrize("state", ["deferred", "scheduled", "queued", "running", "restarting", "up_for_retry"])
def test_a_task_that_somebody_looks_after_keeps_its_job(
    service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    """The triggerer restarts or hands its triggers on (deferred), or a worker has resumed from the event already."""
    scene = Scene(service, monkeypatch, lambda _: state)
    scene.cancel()
    assert scene.asked
    assert scene.acts == []
    assert service.jobs[JOB]["TrainingJobStatus"] == "InProgress"


def test_an_answer_that_takes_longer_than_airflows_next_cancel_still_counts(
    service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trigger's state comes only once the loop has repeated the cancel many times."""
    asked, enough = asyncio.Event(), threading.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    def slow(_: Any) -> str:
        loops[0].call_soon_threadsafe(asked.set)
        assert enough.wait(LIMIT)
        return "failed"

    scene = Scene(service, monkeypatch, slow)

    async def both() -> None:
        under_way = asyncio.create_task(scene._cancel())
        loops.append(asyncio.get_running_loop())
        await asked.wait()
        for _ in range(50):
            await asyncio.sleep(0.001)
        assert scene.acts == []
        enough.set()
        await under_way

    asyncio.run(asyncio.wait_for(both(), LIMIT))
    assert scene.acts == ["AddTags", "StopTrainingJob", "AddTags"]
    assert len(scene.asked) == 1


def test_a_later_trys_job_is_left_alone(service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    service.add_tags(service.jobs[JOB]["TrainingJobArn"], [{"Key": "airflow-spot:owner", "Value": "3"}])
    service.calls.clear()
    monkeypatch.setattr(cancelled, "SECOND_LOOK_SECONDS", 0.01)
    scene = Scene(service, monkeypatch, lambda _: None)
    scene.cancel()
    assert scene.acts == []


class Patient(DictionaryHook):
    """Repeats its calls, as the real one does."""

    def enable_retries(self, sleep: Any, deadline: float | None, **_: Any) -> None:
        self._retrying = RetryingClient(lambda fresh: self.service, sleep, self.log, deadline=deadline)

    @property
    def client(self) -> Any:
        return self._retrying or self.service


def test_a_stop_is_repeated_while_aws_throttles(service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "PAUSES", (0.001, 0.002))
    refused = iter(range(30))
    called = service._called

    def throttled(operation: str) -> None:
        called(operation)
        if next(refused, None) is not None:
            raise error("ThrottlingException", "Rate exceeded", operation)

    monkeypatch.setattr(service, "_called", throttled)
    trigger = SageMakerSpotTrainingTrigger(jobs=[{"name": JOB}])
    use(trigger, Patient(service))
    trigger._stop()
    assert service.jobs[JOB]["TrainingJobStatus"] == "Stopping"


def test_a_stop_that_takes_long_goes_on_when_the_triggerer_is_no_longer_held_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    enough, stopped = threading.Event(), threading.Event()

    def stop() -> None:
        assert enough.wait(LIMIT)
        stopped.set()

    async def run() -> None:
        await cancelled.stop_if_ended(lambda: "failed", stop, logging.getLogger("trigger"), timeout=0.05)
        assert not stopped.is_set()
        enough.set()
        assert await asyncio.to_thread(stopped.wait, LIMIT)

    asyncio.run(run())
    assert "continuing in the background" in caplog.text


def test_when_nobody_can_say_nothing_is_stopped(
    service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fails(_: Any) -> str:
        raise ConnectionError("the supervisor is gone")

    scene = Scene(service, monkeypatch, fails)
    scene.cancel()
    assert scene.acts == []
    assert "the supervisor is gone" in capfd.readouterr().out


@pytest.mark.parametrize("more", [{"stop_on_kill": False}, {"jobs": [], "until": 1e12}, {"task_instance": None}])
def test_what_is_not_to_be_stopped_is_not_asked_about(
    service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any]
) -> None:
    scene = Scene(service, monkeypatch, lambda _: "failed")
    scene.cancel(**more)
    assert (scene.asked, scene.acts) == ([], [])


def test_from_3_3_on_airflow_calls_on_kill_and_the_cancel_does_nothing(
    service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "TRIGGER_HAS_ON_KILL", True)
    scene = Scene(service, monkeypatch, lambda _: "failed")
    scene.cancel()
    assert (scene.asked, scene.acts) == ([], [])


def test_a_trigger_that_has_fired_asks_nothing(service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(service, monkeypatch, lambda _: "failed")
    service.put(JOB, "Completed", "Completed")

    async def run() -> list[Any]:
        trigger = SageMakerSpotTrainingTrigger(jobs=[{"name": JOB}])
        use(trigger, DictionaryHook(service))
        trigger.task_instance = TASK
        return [event async for event in trigger.run()]

    assert len(asyncio.run(run())) == 1
    assert (scene.asked, scene.acts) == ([], [])


def test_a_triggerer_is_not_held_up_for_long() -> None:
    never, stopped = threading.Event(), []

    async def scene() -> None:
        await cancelled.stop_if_ended(
            lambda: "failed" if never.wait(LIMIT) else None,
            lambda: stopped.append(1),
            logging.getLogger(__name__),
            timeout=0.05,
        )
        assert stopped == []
        never.set()  # else the executor's thread would be waited for

    asyncio.run(asyncio.wait_for(scene(), LIMIT))
    assert stopped == [1]


def test_a_question_to_airflow_is_never_broken_off(service: DictionarySageMaker) -> None:
    """The hook's first call asks for the connection; without its answer the triggerer would read the wrong one."""
    heard: list[str] = []

    async def scene() -> None:
        asked, answer, done = asyncio.Event(), asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()

        async def question() -> str:
            asked.set()
            await answer.wait()
            return "the answer"

        class Asking(DictionaryHook):
            def find(self, job_name: str) -> dict[str, Any] | None:
                return self.ask() or super().find(job_name)

            def stop(self, *args: Any, **kwargs: Any) -> str | None:
                return self.ask() or super().stop(*args, **kwargs)

            def ask(self) -> None:
                try:
                    heard.append(async_to_sync(question)())
                finally:
                    loop.call_soon_threadsafe(done.set)

        trigger = SageMakerSpotTrainingTrigger(jobs=[{"name": JOB}])
        use(trigger, Asking(service))

        async def run() -> None:
            async for _ in trigger.run():
                pass

        task = asyncio.create_task(run())
        await asked.wait()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled(), "the cancel does not wait for the answer"
        assert heard == []
        answer.set()
        await done.wait()

    asyncio.run(asyncio.wait_for(scene(), LIMIT))
    assert heard == ["the answer"]


@pytest.mark.parametrize(("map_index", "key"), [(-1, "train"), (None, "train"), (0, "train_0"), (7, "train_7")])
def test_a_tasks_state_is_asked_of_the_supervisor(
    monkeypatch: pytest.MonkeyPatch, map_index: int | None, key: str
) -> None:
    answers: dict[str, Any] = {}

    def get_task_states(**asked: Any) -> dict[str, Any]:
        assert (asked["dag_id"], asked["run_ids"], asked["task_ids"]) == ("dag", ["run"], ["train"])
        assert asked["map_index"] == (-1 if map_index is None else map_index)
        return answers

    monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", get_task_states)
    task = SimpleNamespace(dag_id="dag", run_id="run", task_id="train", map_index=map_index)
    assert compat_triggers.task_state(task) is None
    answers["run"] = {key: "failed", "other": "success"}
    assert compat_triggers.task_state(task) == "failed"
    answers["run"] = {key: None}
    assert compat_triggers.task_state(task) is None


def test_this_airflow_is_told_apart() -> None:
    """The newest Airflow calls ``on_kill``; where it did not, nothing but a cancel would come."""
    assert compat_triggers.TRIGGER_HAS_ON_KILL is True
