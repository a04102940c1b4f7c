"""Setups run side by side, and none takes the others with it."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import closing
from typing import Any

import pytest

from airflow_spot.verify.experiment import Setup
from airflow_spot.verify.pace import on_local
from airflow_spot.verify.running import ending_on_signals, run_setups
from airflow_spot.verify.scratch import NotReached, Run, Scratch
from airflow_spot.verify.service import Service

SERVICE = Service(None, None, "us-east-1", "role", "bucket", "ml.m5.large", "image", True, on_local(0))


def fails(scratch: Scratch) -> None:
    scratch.facts["a"] = 1
    raise KeyError("b")


def stops_halfway(scratch: Scratch) -> None:
    scratch.facts["a"] = 1
    raise NotReached("no spot quota")


def goes_well(scratch: Scratch) -> None:
    scratch.facts["a"] = 1


def test_what_each_has_seen_and_why_no_more() -> None:
    setups = [Setup("fails", (), fails), Setup("half", (), stops_halfway), Setup("well", (), goes_well)]
    begun: list[str] = []
    seen = {
        setup.id: (seen.facts, seen.reason)
        for setup, seen in run_setups(setups, SERVICE, Run(), 2, lambda setup: begun.append(setup.id))
    }
    assert sorted(begun) == ["fails", "half", "well"]
    assert seen == {
        "fails": ({"a": 1}, "verify-aws itself failed: KeyError: 'b'"),
        "half": ({"a": 1}, "no spot quota"),
        "well": ({"a": 1}, ""),
    }


def test_so_many_at_once() -> None:
    now: list[int] = [0, 0]
    lock = threading.Lock()

    def counts(scratch: Scratch) -> None:
        with lock:
            now[0] += 1
            now[1] = max(now)
        scratch.pause(0.01)
        with lock:
            now[0] -= 1

    setups = [Setup(str(number), (), counts) for number in range(12)]
    assert len(list(run_setups(setups, SERVICE, Run(), 3, lambda _: None))) == 12
    assert now[0] == 0 and 1 <= now[1] <= 3


def waits(scratch: Scratch) -> None:
    while True:
        scratch.pause(60)


def test_once_it_is_to_end_those_that_run_end_and_none_begins() -> None:
    run, begun = Run(), []

    def on_begun(setup: Setup) -> None:
        begun.append(setup.id)
        run.ending.set()

    setups = [Setup(str(number), (), waits) for number in range(5)]
    seen = list(run_setups(setups, SERVICE, run, 1, on_begun))
    assert [each.reason for _, each in seen] == ["interrupted"] * 5 and len(begun) == 1


def test_who_stops_reading_ends_those_that_run() -> None:
    run = Run()
    setups = [Setup("well", (), goes_well), Setup("waits", (), waits), Setup("later", (), waits)]
    with closing(run_setups(setups, SERVICE, run, 2, lambda _: None)) as outcomes:
        assert next(outcomes)[0].id == "well"
    assert run.ending.is_set()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_asks_for_the_end(number: signal.Signals, monkeypatch: pytest.MonkeyPatch) -> None:
    before: Any = signal.getsignal(number)
    if before is signal.SIG_IGN:
        pytest.skip("the tests run under nohup")
    ending, told = threading.Event(), []
    with ending_on_signals(ending, told.append) as came:
        os.kill(os.getpid(), number)
        assert ending.wait(120)
    assert came == [number] and "Once more" in told[0]
    assert signal.getsignal(number) is before
