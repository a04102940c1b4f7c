"""Who observes a run: the task's log, and a file of JSON lines where ``[airflow_spot] events_file`` names one."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Protocol

from airflow_spot.core.events import Event, Observer, ScriptProgressed, Transitioned, as_line
from airflow_spot.core.log_messages import is_warning, lines


class Log(Protocol):
    """A task's or a trigger's logger, whichever library it is of."""

    def info(self, message: str, /, *args: Any) -> Any: ...

    def warning(self, message: str, /, *args: Any) -> Any: ...


def log_observer(log: Log) -> Observer:
    """Return what writes each event into a task's log."""

    def observe(event: Event) -> None:
        write = log.warning if is_warning(event) else log.info
        for line in lines(event):
            write("%s", line)

    return observe


def file_observer(path: str, run_key: str, log: Log) -> Observer:
    """
    Return what appends each event to a file, one JSON object a line. A file that cannot be written is said once.

    For development and the demo: it is written where the task runs, and by the triggerer on its event loop.
    """
    failed = False

    def observe(event: Event) -> None:
        nonlocal failed
        if failed or (isinstance(event, Transitioned) and event.repeated):
            return
        if isinstance(event, ScriptProgressed) and not event.is_news:
            return
        try:
            line = json.dumps(as_line(event, run_key, datetime.now(timezone.utc)))
            with Path(path).open("a", encoding="utf-8") as file:
                file.write(f"{line}\n")
        except OSError as error:
            failed = True
            log.warning("[airflow_spot] events_file %s cannot be written: %s", path, error)

    return observe


def observers(log: Log, run_key: str, events_file: str | None) -> tuple[Observer, ...]:
    """Return the observers that every run has."""
    made = [log_observer(log)]
    if events_file:
        made.append(file_observer(events_file, run_key, log))
    return tuple(made)
