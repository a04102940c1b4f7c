"""The demo's story: one line for each thing that happens, in the order in which it happened."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from airflow_spot.core.log_messages import label_of, times
from demo.market import round_of


class EventsFile:
    """
    Reads the JSON lines that ``[airflow_spot] events_file`` collects.

    :param path: of the file, which need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0

    def new(self) -> list[dict[str, Any]]:
        """Return the events since the last call; a line that is still being written is left for the next."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._read)
            whole = file.read().rpartition(b"\n")[0]
        self._read += len(whole) + 1 if whole else 0
        return [json.loads(line) for line in whole.splitlines()]


class Story:
    """Prints what is new in what it is shown, each line with the seconds since the story began."""

    def __init__(self) -> None:
        self._start = time.time()
        self._audited = 0
        self._states: dict[str, str] = {}

    def tell(self, who: str, text: str, at: float | None = None) -> None:
        """
        Print one line.

        :param at: when it happened, in seconds since 1970; None for now.
        """
        print(f"{(at or time.time()) - self._start:6.1f} s  {who:<9} {text}", flush=True)

    def tasks(self, states: Mapping[str, str | None]) -> None:
        """Tell the tasks whose state has changed."""
        for task_id, state in states.items():
            if state not in (None, "scheduled", "queued") and self._states.get(task_id) != state:
                self._states[task_id] = state
                self.tell("airflow", f"{task_id}: {state}")

    def happened(self, audit: Sequence[Mapping[str, Any]], events: Sequence[Mapping[str, Any]]) -> None:
        """
        Tell what is new, sorted by time.

        :param audit: Local SageMaker's audit log from its beginning: states, reclaimed instances, checkpoints in S3.
        :param events: the run's new ones, as :func:`airflow_spot.core.events.as_line` writes them.
        """
        new = [(each["time"], "sagemaker", _of_audit(each)) for each in audit[self._audited :]]
        new += [(datetime.fromisoformat(each["at"]).timestamp(), "operator", _of_run(each)) for each in events]
        self._audited = len(audit)
        for at, who, text in sorted(new, key=lambda line: line[0]):
            if text is not None:
                self.tell(who, text, at)


def _of_run(event: Mapping[str, Any]) -> str | None:
    """Return what is told of an event of a run; None of transitions, which SageMaker's own lines tell."""
    tell = _TOLD.get(event["event"])
    return None if tell is None else tell(event)


def _stopped(event: Mapping[str, Any]) -> str:
    left = event["skip_reason"]
    return f"{label_of(event['job'])}: {'stopped' if left is None else f'not stopped, {left}'} ({event['why']})"


_TOLD: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "attempt_decided": lambda event: (
        f"attempt {event['attempt']} on {event['rung']} ({event['why']}): training job {event['job']}"
    ),
    "attempt_attached": lambda event: f"attempt {event['attempt']}: attached to its training job, which is there",
    "create_refused": lambda event: f"attempt {event['attempt']}: refused ({event['message']})",
    "waiting": lambda event: f"{label_of(event['job'])}: still waiting for capacity ({event['message']})",
    "paused": lambda event: str(event["why"]),
    "service_errors_repeated": lambda event: (
        f"attempt {event['attempt']}: SageMaker internal error, {event['errors']} in a row"
    ),
    "job_stopped": _stopped,
    "run_succeeded": lambda event: (
        f"the run succeeded: {times(event['attempts'], 'attempt')}, {times(event['interruptions'], 'interruption')}"
    ),
    "run_failed": lambda event: f"the run failed: {event['why']}",
}


def _of_audit(event: Mapping[str, Any]) -> str | None:
    kind, job = event["event"], label_of(str(event.get("job")))
    if kind == "state":
        status = event["secondary"] or event["status"]
        # SageMaker's usual words repeat the status; what went wrong does not.
        reason = str(event["message"] or "").partition("\n")[0]
        return f"{job}: {status}" + (f" ({reason})" if status == "Failed" else "")
    if kind == "capacity" and event["action"] == "reclaimed":
        return f"{job}: the spot instance is taken back"
    if kind == "checkpoint" and event["action"] == "upload" and (number := round_of(event["key"])):
        return f"{job}: checkpoint of round {number} is in S3"
    return None
