"""Waits for the moments of one run of a script, and interrupts it there."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from airflow_spot.rehearsal.observations import Stored
from airflow_spot.rehearsal.plan import Interruption
from airflow_spot.rehearsal.processes import process_tree
from airflow_spot.rehearsal.writes import FolderWatch, Torn, is_scripts, is_supported

TERMINAL = ("Completed", "Failed", "Stopped")
ENDED_BEFORE = "the script had ended before"
NOTHING_UPLOADED = "the script had ended before a checkpoint of it was uploaded"
_LOOK_SECONDS = 0.01
_UPLOAD_SECONDS = 20.0
_INTERRUPT_SECONDS = 60.0
#: By which the time of a file may be behind.
_CLOCK_SECONDS = 0.01

T = TypeVar("T")


class _Missed(Exception):
    """An interruption could not come; the message says why."""


class Jobs(Protocol):
    """What a driver needs of the place where the jobs run."""

    def describe(self, job: str) -> dict[str, Any]:
        """Return what SageMaker says of a job."""

    def audit_of(self, job: str, event: str) -> list[dict[str, Any]]:
        """Return a job's lines of the audit log, so far."""

    def interrupt(self, job: str, how: str) -> None:
        """Take a job's instance. Raises RuntimeError if it has none."""

    def stop(self, job: str) -> None:
        """Stop a job."""

    def create(self, job: str, folder: str, max_run: float) -> None:
        """Create a job of a trial, with the trial's checkpoint folder."""

    def folder_of(self, job: str) -> Path:
        """Return where a job's checkpoint folder is on this machine."""


class Driver:
    """Waits for the moments of one trial, and interrupts."""

    def __init__(self, jobs_of: Jobs, watch: FolderWatch, jobs: list[str], folder: str, max_run: float) -> None:
        self._stage = jobs_of
        self._watch = watch
        self._jobs = jobs
        self._folder = folder
        self._max_run = max_run
        self._started = 0
        self._started_of_job = 0
        self.torn: Stored | None = None

    @property
    def starts(self) -> int:
        """How often the script was started, in all jobs."""
        return sum(line["action"] == "started" for job in self._jobs for line in self._stage.audit_of(job, "process"))

    @property
    def _job(self) -> str:
        return self._jobs[-1]

    def drive(self, interruptions: Sequence[Interruption]) -> str | None:
        """Interrupt; return why an interruption did not come, None if all came."""
        try:
            for each in interruptions:
                self._interrupt(each)
        except _Missed as missed:
            return str(missed)
        finally:
            self._watch.drop_trap()
        return None

    def end(self) -> dict[str, Any]:
        """Wait for the end of the last job; return its description."""
        while (description := self._stage.describe(self._job))["TrainingJobStatus"] not in TERMINAL:
            self._await_start()
            time.sleep(0.05)
        return description

    def _await_start(self) -> None:
        """Note a start, if there is a new one."""
        begun = self._begun()
        if len(begun) > self._started:
            self._started = len(begun)
            self._watch.live_since(begun[-1]["asked"])

    def _begun(self) -> list[dict[str, Any]]:
        return [line for line in self._stage.audit_of(self._job, "process") if line["action"] == "started"]

    def _running(self) -> bool:
        lines = self._stage.audit_of(self._job, "process")
        return not lines or lines[-1]["action"] == "started"

    def _until(self, probe: Callable[[], T | None], why: str, *, starting: bool = False) -> T:
        """Wait while the script runs, or will run (``starting``); raise _Missed if it ends before."""
        while True:
            self._await_start()
            answer = probe()
            if answer is not None and answer is not False:
                return answer
            if self._has_ended() or not (starting or self._running()):
                raise _Missed(why)
            time.sleep(_LOOK_SECONDS)

    def _has_ended(self) -> bool:
        states = self._stage.audit_of(self._job, "state")
        return bool(states) and states[-1]["status"] in TERMINAL

    def _interrupt(self, each: Interruption) -> None:
        number = self._await_own_start()
        if each.how == "tear":
            self._tear(each)
            how = "kill"
        else:
            if each.after_writes:
                self._until(lambda: self._watch.begun >= each.after_writes, ENDED_BEFORE)
                self._until(lambda: self._uploaded() >= each.uploads, NOTHING_UPLOADED)
            self._pause(each.pause)
            how = each.how
        if how == "stop":
            self._next_job()
            return
        self._take(how)
        self._await_gone(number)

    def _await_own_start(self) -> int:
        """Wait until a start of the script that was not interrupted yet; return its number in its job."""
        wanted = self._started_of_job + 1
        self._until(lambda: len(self._begun()) >= wanted, ENDED_BEFORE, starting=True)
        self._started_of_job = wanted
        return wanted

    def _uploaded(self) -> int:
        """Return how many files of the script have been in S3."""
        lines = (line for job in self._jobs for line in self._checkpoints(job))
        return len({line["key"] for line in lines if line["action"] == "upload" and is_scripts(line["key"])})

    def _checkpoints(self, job: str) -> list[dict[str, Any]]:
        return self._stage.audit_of(job, "checkpoint")

    def _pause(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        self._until(lambda: time.monotonic() >= end, ENDED_BEFORE)

    def _take(self, how: str) -> None:
        try:
            self._stage.interrupt(self._job, how)
        except RuntimeError:
            raise _Missed(ENDED_BEFORE) from None

    def _await_gone(self, number: int) -> None:
        """Wait until a start's processes have gone."""

        def gone() -> bool:
            lines = self._stage.audit_of(self._job, "process")
            return any(line["action"] == "exited" and line["start"] == number for line in lines)

        deadline = time.monotonic() + _INTERRUPT_SECONDS + self._max_run
        while not gone():
            if time.monotonic() > deadline:
                raise _Missed("its instance did not go")
            time.sleep(_LOOK_SECONDS)
        self._watch.asleep()

    def _tear(self, each: Interruption) -> None:
        if not is_supported():
            raise _Missed("this machine does not tell when a file is written: it takes Linux")
        pid = self._begun()[-1]["pid"]
        self._watch.set_trap(each.after_writes, each.piece, lambda: process_tree(pid))
        torn = self._until(self._watch.trapped, "no write of a checkpoint could be met in its middle")
        self.torn = Stored(torn.key, torn.size)
        # SageMaker uploads while the script runs: what is there now is what is given back.
        deadline = time.monotonic() + _UPLOAD_SECONDS
        while not self._is_uploaded(torn) and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)

    def _is_uploaded(self, torn: Torn) -> bool:
        for line in reversed(self._checkpoints(self._job)):
            # One of an earlier write of that name does not count.
            newer = torn.began <= max(line["time"], (line["mtime"] or 0.0) + _CLOCK_SECONDS)
            if line["action"] == "upload" and line["key"] == torn.key and newer:
                return bool(line["size"] == torn.size)
        return ".sagemaker-ignore" in torn.key

    def _next_job(self) -> None:
        self._stage.stop(self._job)
        deadline = time.monotonic() + _INTERRUPT_SECONDS + self._max_run
        while self._stage.describe(self._job)["TrainingJobStatus"] not in TERMINAL:
            if time.monotonic() > deadline:
                raise _Missed("its first job did not end")
            time.sleep(0.05)
        self._watch.asleep()
        self._jobs.append(f"{self._folder}-{len(self._jobs) + 1}")
        self._started = self._started_of_job = 0
        self._watch.folder = self._stage.folder_of(self._job)
        self._stage.create(self._job, self._folder, self._max_run)
