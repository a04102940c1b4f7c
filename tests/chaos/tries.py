"""
As much of Airflow as gives a task its tries: what a scheduler, an executor and a triggerer do around ``execute``.

Each try is a process of its own (see :mod:`tests.chaos.zygote`), each deferral another, and so is each resumption.
``try_number`` and ``max_tries`` go as in Airflow: a try that fails or whose worker vanishes is followed by the next
one as long as ``try_number <= max_tries``, unless it failed with AirflowFailException; a deferral and its resumption
are one try; clearing raises ``max_tries`` and the DAG run's ``clear_number``, and begins a DAG run again that was over.
"""

from __future__ import annotations

import select
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from tests.chaos.scenario import Scenario
from tests.chaos.wire import Hit, Wire
from tests.chaos.zygote import Child, Zygote

RETRIES = 12
RETRY_DELAY = 0.3
#: Airflow ends a process that SIGTERM does not end.
KILL_SECONDS = 5.0
_TICK = 0.05


@dataclass
class Process:
    """A worker or a triggerer of the run."""

    child: Child
    role: str
    number: int
    zombie: bool = False
    #: When it is sent SIGTERM, and SIGKILL after that; None for not.
    term_at: float | None = None
    kill_at: float | None = None
    answered: bool = False
    #: SIGSTOP has it.
    frozen: bool = False

    def end(self, now: float) -> bool:
        """Send what is due; return whether it was SIGTERM."""
        if self.term_at is not None and now >= self.term_at:
            self.term_at, self.kill_at = None, now + KILL_SECONDS
            self.child.signal(signal.SIGTERM)
            return True
        if self.kill_at is not None and now >= self.kill_at and not self.frozen:
            self.kill_at = None
            self.child.signal(signal.SIGKILL)
        return False


@dataclass
class Tries:
    """
    One task instance, from its first try to its end.

    :param spec: the operator's, see :func:`tests.chaos.operators.build`.
    :param environ: sends its processes' calls along the wire.
    :param interrupt: takes the instances of a job back: job name, seconds without capacity.
    :param stop: stops a job as a person does in the console.
    :param probe: puts a probe of the run beside a job.
    :ivar story: what happened, line by line.
    :ivar struck: the blows that it really suffered.
    :ivar clears: when a person cleared it.
    :ivar restarts: those of the clears that Airflow tells from a retry, where the operator trains from the beginning.
    :ivar successes: how often it succeeded.
    """

    scenario: Scenario
    zygote: Zygote
    spec: dict[str, Any]
    environ: dict[str, str]
    folder: Path
    interrupt: Callable[[str, float], None]
    bound: float
    retries: int = RETRIES
    retry_delay: float = RETRY_DELAY
    execution_timeout: float | None = None
    stop: Callable[[str], None] = lambda job: None
    wire: Wire = field(init=False)
    story: list[str] = field(default_factory=list)
    struck: list[str] = field(default_factory=list)
    probe: Callable[[str], None] = lambda job: None
    clears: list[float] = field(default_factory=list)
    restarts: list[float] = field(default_factory=list)
    successes: int = 0
    result: Any = None
    error: str = ""

    def __post_init__(self) -> None:
        self.wire = Wire(self.scenario.strikes, self.scenario.lag, f"run-{self.scenario.token}-", self._note)
        self._notes: list[Hit] = []
        self.cleared_at_call = 0
        self._begun = time.monotonic()
        self._made = self._started = time.time()
        self._processes: list[Process] = []
        self._current: Process | None = None
        self._deferred: dict[str, Any] | None = None
        self._try = 1
        self._max_tries = self.retries
        self._again_at: float | None = None
        self._state = ""
        self._count = 0
        self._clear_number = 0
        self._blows = list(self.scenario.blows)

    def run(self) -> str:
        """Give it its tries; return ``success``, ``failed`` or ``stuck``."""
        self._start_try()
        end = self._begun + self.bound
        clears = self.scenario.clears
        while True:
            self._wait()
            if self._state == "success" and clears > 0:
                clears -= 1
                self._clear()
                self.struck.append("clear")
            if self._state:
                break
            if time.monotonic() > end:
                self._tell("it does not end")
                self._state = "stuck"
                break
            self._now_due()
        self._bury(at_once=self._state == "stuck")
        return self._state

    # ---- Airflow's side

    def _start_try(self) -> None:
        self._deferred = None
        self._again_at = None
        self._current = self._worker({})
        self._tell(f"try {self._try} of at most {self._max_tries + 1} begins")

    def _worker(self, more: dict[str, Any]) -> Process:
        ti = {
            "dag_id": "chaos",
            "run_id": f"manual__{datetime.fromtimestamp(self._made, timezone.utc).isoformat()}_{self.scenario.token}",
            "try_number": self._try,
            "max_tries": self._max_tries,
        }
        # A backup of the database holds the DAG run as well: it began when it began.
        dag_run = {"start_date": self._started, "run_after": self._made, "clear_number": self._clear_number}
        task = {"role": "worker", "ti": ti, "dag_run": dag_run, "operator": self.spec, "retries": self.retries, **more}
        return self._fork({**task, "execution_timeout": self.execution_timeout})

    def _triggerer(self) -> Process:
        assert self._deferred is not None
        return self._fork(
            {"role": "triggerer", "path": self._deferred["path"], "kwargs": self._deferred["kwargs"]},
        )

    def _fork(self, task: dict[str, Any]) -> Process:
        self._count += 1
        log = self.folder / f"{self._count:02d}-{task['role']}-try{self._try}.log"
        child = self.zygote.fork({**task, "environ": self.environ, "log": str(log)})
        process = Process(child, task["role"], self._count)
        self._processes.append(process)
        self._tell(f"{process.role} {process.number} starts")
        return process

    def _wait(self) -> None:
        """Hear what the processes say, for a moment."""
        if not self._processes:
            time.sleep(_TICK)
            return
        ready, _, _ = select.select([process.child for process in self._processes], [], [], _TICK)
        for process in list(self._processes):
            if process.child in ready:
                for message in process.child.read():
                    process.answered = process.answered or "cancelled" not in message
                    self._hear(process, message)
                if process.child.ended:
                    self._processes.remove(process)
                    self._gone(process)

    def _hear(self, process: Process, message: dict[str, Any]) -> None:
        kind = next(iter(message))
        about = {"failed": message.get("failed"), "event": str(message.get("event"))[:100]}.get(kind, "")
        self._tell(f"{process.role} {process.number}{' (superseded)' if process.zombie else ''}: {kind} {about}")
        if process.zombie or self._state:
            return  # Airflow's API refuses what a process says that is no longer its task's
        if process.role == "triggerer":
            if "event" in message and self._deferred is not None:
                self._resume(message["event"])
            elif "failed" in message:
                self._failed(f"the trigger failed: {message['failed']}", retry=True)
            return
        if process is not self._current:
            return
        if "success" in message:
            self.result = message["success"]
            self._state = "success"
            self.successes += 1
        elif "deferred" in message:
            self._deferred = {**message["deferred"], "since": time.monotonic()}
            self._current = self._triggerer()
        elif "failed" in message:
            self._failed(str(message["failed"]), retry=bool(message["retry"]))

    def _resume(self, event: dict[str, Any]) -> None:
        assert self._deferred is not None
        method, self._deferred = self._deferred["method"], None
        for other in self._processes:
            if other.role == "triggerer":
                # Another triggerer with the same trigger: what it fires finds no deferred task any more.
                other.zombie = True
                other.kill_at = other.kill_at or time.monotonic() + 2
        self._current = self._worker({"event": event, "method": method})

    def _failed(self, why: str, *, retry: bool) -> None:
        self.error = why
        self._current = None
        self._deferred = None
        if retry and self._try <= self._max_tries:
            self._again_at = time.monotonic() + self.retry_delay
        else:
            self._state = "failed"

    def _gone(self, process: Process) -> None:
        """A process has ended; one that said nothing was killed."""
        if process.answered:
            return
        self._tell(f"{process.role} {process.number}{' (superseded)' if process.zombie else ''} died")
        if process.zombie or process is not self._current or self._state:
            return
        if process.role == "triggerer":
            others = [other for other in self._processes if other.role == "triggerer" and not other.zombie]
            self._current = others[0] if others else self._triggerer()
        else:
            self._failed("the worker vanished", retry=True)

    def _clear(self) -> None:
        """A person clears a task that does not run."""
        self.clears.append(time.time())
        self._clear_number += 1
        self.cleared_at_call = len(self.wire.answered)
        if self._state:
            self._started = time.time()
            self._state = ""
        self._max_tries = self._try + self.retries
        self._try += 1
        self._tell("cleared by a person")
        self._start_try()

    # ---- what a subclass adds

    def _now_due(self) -> None:
        """Do what is due: the next try, and what befalls it."""
        raise NotImplementedError

    def _bury(self, *, at_once: bool) -> None:
        """End what is left of the processes, as Airflow does with those whose task is over."""
        raise NotImplementedError

    def _note(self, hit: Hit) -> None:
        self._notes.append(hit)

    def _tell(self, line: str) -> None:
        self.story.append(f"{time.monotonic() - self._begun:7.2f} {line}")
