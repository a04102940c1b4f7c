"""Runs setups side by side, and ends what they have left."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from typing import Any

from airflow_spot.verify.cleaning import stop_quietly
from airflow_spot.verify.experiment import Seen, Setup
from airflow_spot.verify.scratch import CALL_ERRORS, NotReached, Run, Scratch
from airflow_spot.verify.service import Service


def run_setups(
    setups: Sequence[Setup], service: Service, run: Run, parallel: int, begun: Callable[[Setup], None]
) -> Generator[tuple[Setup, Seen], None, None]:
    """
    Run setups, so many at once, and yield what each has seen, as soon as it has.

    None raises: what goes wrong is why it was not reached. Once ``run.ending`` is set, none begins, and those that run
    end at their next wait.

    :param begun: called when one begins, on any thread.
    """
    with ThreadPoolExecutor(parallel, thread_name_prefix="verify") as pool:
        futures: dict[Future[Seen], Setup] = {pool.submit(_run, setup, service, run, begun): setup for setup in setups}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            # Who stops reading waits for those that run, not for those that have not begun.
            run.ending.set()


def _run(setup: Setup, service: Service, run: Run, begun: Callable[[Setup], None]) -> Seen:
    if run.ending.is_set():
        return Seen({}, "interrupted")
    begun(setup)
    scratch, start, reason = Scratch(service, run, setup.id), time.monotonic(), ""
    try:
        setup.collect(scratch)
    except NotReached as error:
        reason = str(error)
    except CALL_ERRORS as error:
        reason = f"a call failed: {error}"
    except Exception as error:
        # The other setups continue, and the jobs of this one are ended as any.
        reason = f"verify-aws itself failed: {type(error).__name__}: {error}"
    for name in scratch.names:
        stop_quietly(service.sagemaker, name)
    return Seen(scratch.facts, reason, scratch.why, time.monotonic() - start)


@contextmanager
def ending_on_signals(ending: threading.Event, tell: Callable[[str], None]) -> Iterator[list[int]]:
    """
    Have SIGINT, SIGTERM and SIGHUP set an event, so that what runs is ended and removed; a second one ends the process.

    :return: the signals that came.
    """
    came: list[int] = []

    def on_signal(number: int, _: Any) -> None:
        if came:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        came.append(number)
        ending.set()
        tell("Ending: its jobs are stopped and its folder is deleted. Once more to leave them to --clean")

    # Of a terminal that is closed; under nohup it stays ignored.
    heeded = [signal.SIGINT, signal.SIGTERM]
    heeded += [signal.SIGHUP] if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN else []
    before = {number: signal.signal(number, on_signal) for number in heeded}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
