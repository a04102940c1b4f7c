"""The demo's story: one line for each thing that happens, when it is first seen."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

#: How the lines begin that the operator logs when it has decided something, among all that it logs.
DECISIONS = {
    "attempt": re.compile(r"Attempt \d+ on "),
    "attach": re.compile(r"Attached to training job "),
    "stop": re.compile(r"Stopped training job "),
    "pause": re.compile(r"attempt \d+: .+; again in "),
}
_CHECKPOINT = re.compile(r"round-(\d+)-")


class Story:
    """Prints what is new in what it is shown, each line with the seconds since the story began."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._audited = 0
        self._decisions: set[str] = set()
        self._states: dict[str, str] = {}

    def tell(self, who: str, text: str) -> None:
        """Print one line."""
        print(f"{time.monotonic() - self._start:6.1f} s  {who:<9} {text}", flush=True)

    def tasks(self, states: Mapping[str, str | None]) -> None:
        """Tell the tasks whose state has changed."""
        for task_id, state in states.items():
            if state not in (None, "scheduled", "queued") and self._states.get(task_id) != state:
                self._states[task_id] = state
                self.tell("airflow", f"{task_id}: {state}")

    def decisions(self, lines: Sequence[str]) -> None:
        """Tell what the operator has newly decided, from the lines of its task's log."""
        # The API merges the logs of worker and triggerer at each call: what is new need not be at the end.
        for line in lines:
            if line not in self._decisions and any(each.match(line) for each in DECISIONS.values()):
                self._decisions.add(line)
                self.tell("operator", line)

    def audit(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Tell what is new in Local SageMaker's audit log: states, reclaimed instances, checkpoints in S3."""
        for event in events[self._audited :]:
            line = _line(event)
            if line is not None:
                self.tell("sagemaker", line)
        self._audited = len(events)


def _line(event: Mapping[str, Any]) -> str | None:
    kind, job = event["event"], event.get("job")
    if kind == "state":
        status = event["secondary"] or event["status"]
        # SageMaker's usual words repeat the status; what went wrong does not.
        reason = str(event["message"] or "").partition("\n")[0]
        return f"{job}: {status}" + (f" ({reason})" if status == "Failed" else "")
    if kind == "capacity" and event["action"] == "reclaimed":
        return f"{job}: the spot instance is taken back"
    if kind == "checkpoint" and event["action"] == "upload" and (match := _CHECKPOINT.match(event["key"])):
        return f"{job}: checkpoint of round {int(match[1])} is in S3"
    return None
