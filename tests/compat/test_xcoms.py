"""XComs are written whole, by one writer at a time, and whatever becomes of them the task goes on."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from airflow_spot.compat import xcoms
from airflow_spot.compat.xcoms import TriggerXComs, WorkerXComs
from airflow_spot.watch.threads import in_thread
from tests.support.task import TaskInstance


class Log:
    def __init__(self) -> None:
        self.said: list[str] = []

    def warning(self, message: str, /, *args: Any) -> None:
        self.said.append(message % args)


class Broken(TaskInstance):
    """One whose XComs cannot be written."""

    def xcom_push(self, key: str, value: Any) -> None:
        raise OSError(f"cannot write {value}")


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any, str]]:
    """What triggers write, and in which thread."""
    made: list[tuple[str, Any, str]] = []

    def keep(ti: Any, key: str, value: Any) -> None:
        made.append((key, value, threading.current_thread().name))

    monkeypatch.setattr(xcoms, "set_xcom", keep)
    return made


def test_a_worker_writes_at_once() -> None:
    ti, log = TaskInstance("train"), Log()
    WorkerXComs(ti, log).write(lambda: {"a": {"v": 1}, "b": [1]})
    assert ti.xcoms == {"a": {"v": 1}, "b": [1]}
    assert log.said == []


def test_a_worker_that_cannot_write_says_so_once_without_the_value_and_does_not_try_at_each_step() -> None:
    log, asked = Log(), list[int]()
    writer = WorkerXComs(Broken("train"), log)

    def make() -> dict[str, Any]:
        asked.append(1)
        return {"a": "hunter2"}

    for _ in range(5):
        writer.write(make)
    writer.write(make, last=True)
    assert len(asked) == 2
    assert log.said == ["The timeline of this task in the Airflow UI is not up to date: OSError"]


def test_what_ends_a_task_goes_through() -> None:
    class Timeout(BaseException):
        pass

    class Ends(TaskInstance):
        def xcom_push(self, key: str, value: Any) -> None:
            raise Timeout

    with pytest.raises(Timeout):
        WorkerXComs(Ends("train"), Log()).write(lambda: {"a": 1})


def test_a_trigger_writes_the_newest_in_a_thread_and_never_two_at_once(written: list[tuple[str, Any, str]]) -> None:
    busy, most, gate = [0], [0], threading.Event()

    def made(number: int) -> Any:
        def make() -> dict[str, Any]:
            busy[0] += 1
            most[0] = max(most[0], busy[0])
            if number == 0:
                gate.wait(60)
            busy[0] -= 1
            return {"a": number}

        return make

    async def scene() -> None:
        writer = TriggerXComs(TaskInstance("train"), Log())
        for number in range(50):
            writer.put(made(number))
            await asyncio.sleep(0)
        gate.set()
        await writer.close()

    asyncio.run(scene())
    assert [value for _, value, _ in written] == [0, 49]
    assert most == [1]
    assert all(name != threading.main_thread().name for _, _, name in written)


def test_a_write_that_takes_long_holds_up_neither_the_loop_nor_the_end(written: list[tuple[str, Any, str]]) -> None:
    gate = threading.Event()

    def slow() -> dict[str, Any]:
        gate.wait(120)
        return {"a": 1}

    async def scene() -> None:
        writer = TriggerXComs(TaskInstance("train"), Log())
        writer.put(slow)
        ticks = 0
        for _ in range(20):
            await asyncio.sleep(0.001)
            ticks += 1
        await asyncio.wait_for(writer.close(0.01), 100)
        assert ticks == 20
        assert written == []
        gate.set()
        await writer.close()

    asyncio.run(scene())
    assert [key for key, _, _ in written] == ["a"]


def test_a_burst_of_writes_leaves_the_event_loops_threads_to_others(written: list[tuple[str, Any, str]]) -> None:
    """A region's capacity goes: a thousand triggers hear of it at once, and the watcher has to look on."""
    gate = threading.Event()

    async def scene() -> None:
        writers = [TriggerXComs(TaskInstance("train"), Log()) for _ in range(100)]
        for writer in writers:
            writer.put(lambda: {"a": gate.wait(120)})
        await asyncio.sleep(0)
        assert await asyncio.wait_for(in_thread(lambda: "looked"), 120) == "looked"
        gate.set()
        for writer in writers:
            await writer.close(120)

    asyncio.run(scene())
    assert len(written) == 100


def test_what_has_not_begun_when_a_trigger_fires_is_left_to_the_worker(written: list[tuple[str, Any, str]]) -> None:
    """Else it would stand in place of what the worker has written by then, for as long as nothing happens."""
    gate, begun = threading.Event(), threading.Semaphore(0)

    def slow() -> dict[str, Any]:
        begun.release()
        return {"a": gate.wait(120)}

    async def scene() -> None:
        busy = [TriggerXComs(TaskInstance("train"), Log()) for _ in range(2)]
        for writer in busy:
            writer.put(slow)
        await asyncio.sleep(0)
        for _ in busy:
            await in_thread(begun.acquire)
        late = TriggerXComs(TaskInstance("train"), Log())
        late.put(lambda: {"a": "late"})
        await late.close(0.01)
        gate.set()
        for writer in (*busy, late):
            await writer.close(120)

    asyncio.run(scene())
    assert [value for _, value, _ in written] == [True, True]


def test_the_last_write_is_the_last(written: list[tuple[str, Any, str]]) -> None:
    gate, begun = threading.Event(), threading.Event()

    def slow() -> dict[str, Any]:
        begun.set()
        return {"a": gate.wait(120) and "first"}

    async def scene() -> None:
        writer = TriggerXComs(TaskInstance("train"), Log())
        writer.put(slow)
        await in_thread(begun.wait)
        writer.put(lambda: {"a": "second"})
        last = asyncio.ensure_future(in_thread(lambda: writer.write(lambda: {"a": "last"})))
        await asyncio.sleep(0.01)
        gate.set()
        await last
        await writer.close(120)

    asyncio.run(scene())
    assert written[0][1] == "first"
    assert written[-1][1] == "last"


def test_the_end_of_a_trigger_breaks_no_write_off(written: list[tuple[str, Any, str]]) -> None:
    gate = threading.Event()

    async def scene() -> None:
        writer = TriggerXComs(TaskInstance("train"), Log())

        async def trigger() -> None:
            writer.put(lambda: {"a": gate.wait(120)})
            await asyncio.sleep(60)

        task = asyncio.ensure_future(trigger())
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        gate.set()
        await writer.close()

    asyncio.run(scene())
    assert [value for _, value, _ in written] == [True]


def test_a_trigger_that_cannot_write_says_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("Response read out of order!")

    monkeypatch.setattr(xcoms, "set_xcom", fail)
    log = Log()

    async def scene() -> None:
        writer = TriggerXComs(TaskInstance("train"), log)
        for _ in range(3):
            writer.put(lambda: {"a": 1})
            await writer.close()
        assert not xcoms._UNDER_WAY

    asyncio.run(scene())
    assert log.said == ["The timeline of this task in the Airflow UI is not up to date: RuntimeError"]


def test_without_a_task_instance_nothing_is_written(written: list[tuple[str, Any, str]]) -> None:
    async def scene() -> None:
        writer = TriggerXComs(None, Log())
        writer.put(lambda: {"a": 1})
        await writer.close()
        writer.write(lambda: {"a": 1})

    asyncio.run(scene())
    assert written == []


def test_airflows_own_xcom_takes_what_a_trigger_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = pytest.importorskip("airflow.sdk.execution_time.xcom").XCom
    given: list[dict[str, Any]] = []
    monkeypatch.setattr(backend, "serialize_value", staticmethod(lambda **more: more["value"]))
    from airflow.sdk.execution_time import task_runner

    class Comms:
        def send(self, msg: Any = None, **_: Any) -> None:
            given.append(msg.model_dump())

    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", Comms(), raising=False)
    xcoms.set_xcom(TaskInstance("train", map_index=3), "airflow_spot", {"v": 1})
    ids = {"dag_id": "a_dag", "run_id": "manual__2026-01-01T00:00:00+00:00", "task_id": "train", "map_index": 3}
    assert {key: given[0][key] for key in ids} == ids
    assert (given[0]["key"], given[0]["value"]) == ("airflow_spot", {"v": 1})
