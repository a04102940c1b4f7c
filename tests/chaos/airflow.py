"""
As much of Airflow as gives a task its tries: what a scheduler, an executor and a triggerer do around ``execute``.

Each try is a process of its own (see :mod:`tests.chaos.zygote`), each deferral another, and so is each resumption.
``try_number`` and ``max_tries`` go as in Airflow: a try that fails or whose worker vanishes is followed by the next
one as long as ``try_number <= max_tries``, unless it failed with AirflowFailException; a deferral and its resumption
are one try; clearing raises ``max_tries``.
"""

from __future__ import annotations

import select
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.scenario import Blow, Scenario
from tests.chaos.wire import Wire
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


@dataclass
class TaskRun:
    """
    One task instance, from its first try to its end.

    :param spec: the operator's, see :func:`tests.chaos.operators.build`.
    :param environ: sends its processes' calls along the wire.
    :param interrupt: takes the instances of a job back: job name, seconds without capacity.
    :param stop: stops a job as a person does in the console.
    :ivar story: what happened, line by line.
    :ivar struck: the blows that it really suffered.
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
    clears: list[float] = field(default_factory=list)
    result: Any = None
    error: str = ""

    def __post_init__(self) -> None:
        self.wire = Wire(self.scenario.strikes, self.scenario.lag, self._hold)
        self._held = False
        self._begun = time.monotonic()
        self._started = time.time()
        self._processes: list[Process] = []
        self._current: Process | None = None
        self._deferred: dict[str, Any] | None = None
        self._try = 1
        self._max_tries = self.retries
        self._again_at: float | None = None
        self._state = ""
        self._count = 0
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
            "run_id": f"manual__{self.scenario.engine}_{self.scenario.seed}",
            "try_number": self._try,
            "max_tries": self._max_tries,
        }
        # A backup of the database holds the DAG run as well: it began when it began.
        task = {"role": "worker", "ti": ti, "run_started": self._started, "operator": self.spec, **more}
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
        self.clears.append(time.time())
        self._state = ""
        self._max_tries = self._try + self.retries
        self._try += 1
        self._tell("cleared by a person")
        self.struck.append("clear")
        self._start_try()

    # ---- what befalls it

    def _now_due(self) -> None:
        now = time.monotonic()
        if self._again_at is not None and now >= self._again_at:
            self._try += 1
            self._start_try()
        if self._held:
            self._held = False
            self._supersede(self._dice_seconds())
        created = self.wire.created_at
        while created is not None and self._blows and now >= created + self._blows[0].at:
            self._strike(self._blows.pop(0))
        for process in self._processes:
            if process.term_at is not None and now >= process.term_at:
                process.term_at, process.kill_at = None, now + KILL_SECONDS
                self._tell(f"SIGTERM to {process.role} {process.number}")
                process.child.signal(signal.SIGTERM)
            if process.kill_at is not None and now >= process.kill_at:
                process.kill_at = None
                self._tell(f"SIGKILL to {process.role} {process.number}")
                process.child.signal(signal.SIGKILL)
        timeout = (self._deferred or {}).get("timeout")
        if timeout and self._deferred is not None and now >= self._deferred["since"] + timeout:
            # Airflow resumes the task only to fail it, and cancels the trigger: no method of the operator runs.
            self._cancel_triggers()
            self._failed("TaskDeferralTimeout: the trigger's timeout", retry=True)

    def _cancel_triggers(self) -> None:
        for process in self._processes:
            if process.role == "triggerer":
                process.zombie = True
                process.term_at = time.monotonic()

    def _strike(self, blow: Blow) -> None:
        self._tell(f"blow: {blow.kind}")
        current = self._current
        if blow.kind in ("interrupt", "stop"):
            if not self._strike_job(blow):
                return
        elif blow.kind in ("restore", "restore-alive"):
            if self.clears:
                return  # an hour ago, its run was over: to begin it again is to train anew
            self._restore(None if blow.kind == "restore" else blow.seconds)
        elif current is None:
            return  # between two tries
        elif blow.kind == "kill":
            current.child.signal(signal.SIGKILL)
        elif blow.kind == "drain":
            current.term_at = time.monotonic()
        elif blow.kind == "mark-failed":
            self._end_by_user("failed")
        elif current.role == "triggerer":
            self._triggerer()  # a triggerer that was thought dead is not: two run the same trigger
        elif self._may_supersede:
            self._supersede(blow.seconds)
        else:
            return
        self.struck.append(blow.kind)

    def _strike_job(self, blow: Blow) -> bool:
        """Strike the newest job, and not the task; return whether there was one to strike."""
        for job in self.wire.jobs[-1:]:
            try:
                self.stop(job) if blow.kind == "stop" else self.interrupt(job, blow.seconds)
            except RuntimeError as error:  # it has ended, or waits for instances
                self._tell(str(error))
                return False
        return True

    def _supersede(self, seconds: float) -> None:
        """The worker is thought dead, and lives on beside its successor for a while."""
        if self._current is None or not self._may_supersede:
            return
        self._leave(self._current, seconds)
        self._try += 1
        self._start_try()

    @property
    def _may_supersede(self) -> bool:
        worker = self._current is not None and self._current.role == "worker"
        return worker and not self._state and self._try <= self._max_tries

    def _restore(self, seconds: float | None) -> None:
        """The metadata database is of an hour ago: no try has begun. Who lives on is refused by the API."""
        for process in self._processes:
            if process.zombie:
                continue
            if seconds is None or process.role == "triggerer":
                process.zombie = True
                process.child.signal(signal.SIGKILL)
            else:
                self._leave(process, seconds)
        self._try = 1
        self._start_try()

    def _leave(self, process: Process, seconds: float) -> None:
        process.zombie = True
        process.term_at = time.monotonic() + seconds

    def _end_by_user(self, state: str) -> None:
        """A person marks the task: 409 at a worker's heartbeat, on_kill of a trigger."""
        if self._current is None:
            return
        if self._current.role == "worker":
            self._current.term_at = time.monotonic()
        else:
            self._current.child.signal(signal.SIGUSR1)
        self._state = state

    def _bury(self, *, at_once: bool) -> None:
        """End what is left of the processes, as Airflow does with those whose task is over."""
        now = time.monotonic()
        for process in self._processes:
            if at_once:
                process.child.signal(signal.SIGKILL)
            elif process.term_at is None and process.kill_at is None:
                process.term_at = now + (0 if process.zombie else KILL_SECONDS)
        while self._processes:
            self._wait()
            for process in self._processes:
                now = time.monotonic()
                if process.term_at is not None and now >= process.term_at:
                    process.term_at, process.kill_at = None, now + KILL_SECONDS
                    process.child.signal(signal.SIGTERM)
                if process.kill_at is not None and now >= process.kill_at:
                    process.child.signal(signal.SIGKILL)

    def _hold(self) -> None:
        self._held = True

    def _dice_seconds(self) -> float:
        return 0.5 + (self.scenario.seed % 7) / 2

    def _tell(self, line: str) -> None:
        self.story.append(f"{time.monotonic() - self._begun:7.2f} {line}")
