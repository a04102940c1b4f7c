"""The log and the file of events hear the same, and a file that fails ends no run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from airflow_spot.core.events import AttemptCreated, CreateRefused, Event
from airflow_spot.core.log_messages import lines
from airflow_spot.observers import observers
from tests.core.cases import RUN, attempt, refusal


class Log:
    """A log that keeps what it was told."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str]] = []

    def info(self, message: str, /, *args: Any) -> None:
        self.said.append(("info", message % args))

    def warning(self, message: str, /, *args: Any) -> None:
        self.said.append(("warning", message % args))


EVENTS: tuple[Event, ...] = (AttemptCreated(attempt(1, None)), CreateRefused(refusal(2)))


def test_both_hear_each_event_in_order(tmp_path: Path) -> None:
    log, path = Log(), tmp_path / "events.jsonl"
    for event in EVENTS:
        for observe in observers(log, RUN.key, str(path)):
            observe(event)
    assert [line for _, line in log.said] == [line for event in EVENTS for line in lines(event)]
    assert [kind for kind, _ in log.said] == ["info", "warning"]
    written = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["event"], line["run"]) for line in written] == [(event.name, RUN.key) for event in EVENTS]


def test_a_file_that_cannot_be_written_is_said_once(tmp_path: Path) -> None:
    log = Log()
    heard = observers(log, RUN.key, str(tmp_path / "missing" / "events.jsonl"))
    for event in EVENTS:
        for observe in heard:
            observe(event)
    assert sum("cannot be written" in line for _, line in log.said) == 1
    assert len(log.said) == 3
