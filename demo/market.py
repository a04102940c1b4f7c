"""The demo's spot market: it follows the training, so that the story is the same on a machine of any speed."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator, Mapping
from http.client import HTTPException
from typing import Any

from airflow_spot.local import LocalSageMaker

#: Once the checkpoint of such a round is in S3, the instance goes, and comes back after DOWN_SECONDS.
TAKEN_AT = (10, 25)
DOWN_SECONDS = 2.0
#: Once this one is there, the instance goes, and the job is refused another.
FAILS_AT = 40
#: How often the audit log is read.
LOOK_SECONDS = 0.2

SCRIPT = (
    f"takes the instance after the checkpoints of rounds {', '.join(map(str, TAKEN_AT))} and {FAILS_AT}, "
    "and has no other the third time"
)


def round_of(key: str) -> int:
    """Return the round of a checkpoint by its file's name, ``round-000010-<hash>.ubj``; 0 of any other file."""
    kind, _, rest = key.partition("-")
    number = rest.partition("-")[0]
    return int(number) if kind == "round" and number.isdecimal() else 0


class ScriptedMarket:
    """Takes instances when the audit log says that it is time.

    :param sagemaker: the service; its market is ``always``.
    """

    def __init__(self, sagemaker: LocalSageMaker) -> None:
        self._sagemaker = sagemaker

    def follow(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Do what is due, at most one thing; call it often."""
        job, newest, taken, saved_by = "", 0, 0, 0
        for event in events:
            if event["event"] == "checkpoint" and event["action"] == "upload":
                job, newest, saved_by = event["job"], max(newest, round_of(event["key"])), event["start"]
            taken += event["event"] == "capacity" and event["action"] == "reclaimed"
        # Who comes late finds two of them due: each start saves something before it is ended.
        if saved_by <= taken:
            return
        # Between two instances there is none to take: then the next call does it.
        with contextlib.suppress(RuntimeError):
            if taken < len(TAKEN_AT) and newest >= TAKEN_AT[taken]:
                self._sagemaker.interrupt(job, capacity_gap=DOWN_SECONDS)
            elif taken == len(TAKEN_AT) and newest >= FAILS_AT:
                self._sagemaker.interrupt(job, refuse=True)

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        """Inside, it follows the audit log by itself: whatever else is waited for, the training does not wait."""
        ended = threading.Event()

        def follow() -> None:
            while not ended.wait(LOOK_SECONDS):
                # A service that is slow to answer is asked again.
                with contextlib.suppress(OSError, ValueError, HTTPException):
                    self.follow(self._sagemaker.audit)

        thread = threading.Thread(target=follow, name="demo-market", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
