"""
The process that ``watch.py`` measures: many triggers on one event loop, as in a triggerer.

    python bench/watch_process.py < settings.json

Runs in the environment of the trigger that it measures, ours or the stock one's, and prints JSON lines. What an idle
triggerer has loaded is loaded before anything is counted; then one trigger alone, which loads what all share.

Settings: ``kind``, ``jobs`` (names), ``first`` (the name of one more), ``interval``, ``seconds`` and, of these,
``start_seconds``, for which the start is measured; ``prioritize`` makes so many seconds of the event loop pass in one;
once ``ends`` triggers have fired it is over (0: never before its time).
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import selectors
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

_TICK = 0.02


class Hurried(asyncio.SelectorEventLoop):
    """An event loop whose time goes faster than the machine's."""

    def __init__(self, times: float) -> None:
        self._times, self._begun = times, time.monotonic()
        super().__init__(_Shortened(times))

    def time(self) -> float:
        return self._begun + (time.monotonic() - self._begun) * self._times


class _Shortened(selectors.DefaultSelector):  # type: ignore[valid-type, misc]
    def __init__(self, times: float) -> None:
        self._times = times
        super().__init__()

    def select(self, timeout: float | None = None) -> Any:
        return super().select(timeout if timeout is None else timeout / self._times)


def memory_kb() -> float:
    """Resident size."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024


def maker(kind: str, interval: float) -> Callable[[str], Any]:
    """Give what makes a trigger for a job, as the operator's own deferral does."""
    if kind == "ours":
        return _ours(interval)
    from airflow.providers.amazon.aws.triggers.sagemaker import SageMakerTrigger

    return lambda name: SageMakerTrigger(
        job_name=name, job_type="Training", waiter_delay=int(interval), waiter_max_attempts=10_000
    )


def _ours(interval: float) -> Callable[[str], Any]:
    """Give what makes ours: with what its row carries for the run's page, where this version of it has one."""
    from airflow_spot.triggers.training import SageMakerSpotTrainingTrigger

    try:
        from airflow_spot.compat import xcoms
        from airflow_spot.core.attempt import Attempt
        from airflow_spot.core.identity import JobName, RunIdentity
        from airflow_spot.core.placement import Placement
        from airflow_spot.core.starts import Start
        from airflow_spot.core.timeline.carried import pack
        from airflow_spot.core.timeline.state import LedgerState, take_in
    except ImportError:
        pack = None
    else:
        # There is no Airflow to take it: all that the triggerer does itself is measured, to the JSON that it sends.
        xcoms.set_xcom = lambda ti, key, value: json.dumps(value)

    def make(name: str) -> Any:
        state = {"job_name": name}
        if pack is not None:
            begun = datetime.now(timezone.utc)
            placement, starts = Placement(instance_type="ml.m5.large"), (Start(begun),)
            job = Attempt(
                JobName.parse(name), name, placement, "InProgress", "Starting", None, created=begun, starts=starts
            )
            run = RunIdentity("bench", "a_dag", f"scheduled__{begun.isoformat()}", name)
            state["timeline"] = pack(take_in(LedgerState.begin(run, 1, begun), (job,), 1, lost=0.0))
        made = SageMakerSpotTrainingTrigger(jobs=[{"name": name}], poll_interval=interval, run_state=state)
        made.task_instance = SimpleNamespace(dag_id="a_dag", run_id="a_run", task_id=name, map_index=-1)
        return made

    return make


class Measurement:
    """
    What became of the triggers.

    :param ends: it is over once so many have fired; 0: never before its time.
    """

    def __init__(self, ends: int) -> None:
        self._ends = ends
        self.over = asyncio.Event()
        self.fired: dict[str, float] = {}
        self.failed: list[str] = []
        self.lag = 0.0

    async def run(self, name: str, trigger: Any) -> None:
        """Run one trigger, as a triggerer does."""
        try:
            async for _ in trigger.run():
                self._fire(name)
                return
        except asyncio.CancelledError:
            raise
        except Exception as error:  # the stock trigger raises where the job did not complete
            self._fire(name)
            self.failed.append(type(error).__name__)

    def _fire(self, name: str) -> None:
        self.fired[name] = time.time()
        if len(self.fired) == self._ends:
            self.over.set()

    async def meter(self) -> None:
        """Note how late the loop is, at most."""
        while True:
            before = time.monotonic()
            await asyncio.sleep(_TICK)
            self.lag = max(self.lag, time.monotonic() - before - _TICK)


async def measure(settings: dict[str, Any]) -> dict[str, Any]:
    """Run all triggers for as long as is asked, and tell of it on the way."""
    idle = memory_kb()
    make, found = maker(settings["kind"], settings["interval"]), Measurement(settings["ends"])
    tasks = [asyncio.ensure_future(found.run(settings["first"], make(settings["first"])))]
    # Until what all share is loaded: the first look makes a client.
    await asyncio.sleep(max(5.0, settings["interval"] / 2))
    shared, processor, lag = memory_kb(), [time.process_time()], asyncio.ensure_future(found.meter())
    # By the clock on the wall, also where the loop is blocked.
    minute = threading.Timer(settings["start_seconds"], lambda: processor.append(time.process_time()))
    minute.daemon = True
    minute.start()
    _say(state="begun", at=time.time())
    for name in settings["jobs"]:
        tasks.append(asyncio.ensure_future(found.run(name, make(name))))
        await asyncio.sleep(0)  # as the triggerer does
    begun = asyncio.get_running_loop().time()
    await asyncio.sleep(settings["start_seconds"])
    start = {
        "cpu_seconds": (processor[1] if len(processor) > 1 else time.process_time()) - processor[0],
        "loop_lag_seconds": found.lag,
        "kb_per_job": (memory_kb() - shared) / max(1, len(settings["jobs"])),
        "shared_mb": (shared - idle) / 1024,
    }
    _say(state="started", at=time.time(), **start)
    left = max(0.0, settings["seconds"] - (asyncio.get_running_loop().time() - begun))
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(found.over.wait(), left)
    lag.cancel()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, lag, return_exceptions=True)
    return {"state": "ended", "at": time.time(), "fired": found.fired, "failed": found.failed, "lag": found.lag}


def _say(**what: Any) -> None:
    print(json.dumps(what), flush=True)


def main() -> None:
    """Measure what is asked for on standard input."""
    settings = json.loads(sys.stdin.readline())
    import airflow.jobs.triggerer_job_runner  # noqa: F401 - what an idle triggerer has loaded

    loop = Hurried(settings["prioritize"])
    asyncio.set_event_loop(loop)
    _say(**loop.run_until_complete(measure(settings)))
    # Not through the interpreter's end: thousands of clients take their time to be closed.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
