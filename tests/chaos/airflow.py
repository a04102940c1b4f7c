"""What befalls a task instance besides its tries: signals, zombies, backups, people."""

from __future__ import annotations

import signal
import threading
import time
from dataclasses import dataclass

from botocore.exceptions import ClientError

from tests.chaos.scenario import Blow
from tests.chaos.tries import KILL_SECONDS, RETRIES, Process, Tries
from tests.chaos.wire import CREATE, OWN, Hit

__all__ = ["RETRIES", "TaskRun"]

#: Airflow ends a process that comes back to a task which is no longer its own, at its next heartbeat.
WOKEN_SECONDS = 1.5


@dataclass
class Frozen:
    """
    A process in the middle of a call, stopped until a milestone.

    :param until: ``attached`` (a successor works for the task), ``completed`` (the task has succeeded),
        ``generation`` (it was cleared since, and the new generation has a job).
    :param thaw: lets the call continue.
    :param call: how many calls had been answered when it was stopped.
    :param successes: how often the task had succeeded by then.
    :param clears: how often it had been cleared.
    """

    process: Process
    until: str
    thaw: threading.Event
    call: int
    successes: int
    clears: int


class TaskRun(Tries):
    """See :class:`tests.chaos.tries.Tries`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._frozen: list[Frozen] = []

    # ---- at a moment

    def _now_due(self) -> None:
        now = time.monotonic()
        if self._again_at is not None and now >= self._again_at:
            self._try += 1
            self._start_try()
        self._heed_notes()
        created = self.wire.created_at
        while created is not None and self._blows and now >= created + self._blows[0].at:
            self._strike(self._blows.pop(0))
        for frozen in [each for each in self._frozen if self._is_reached(each)]:
            self._wake(frozen)
        for process in self._processes:
            if process.end(now):
                self._tell(f"SIGTERM to {process.role} {process.number}")
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
        others = {"interrupt": self._strike_job, "stop": self._strike_job, "clear": self._clear_what_runs}
        others |= {"restore": self._restore, "restore-alive": self._restore, "probe": self._put_probe}
        if others.get(blow.kind, self._strike_process)(blow):
            self.struck.append(blow.kind)

    def _strike_process(self, blow: Blow) -> bool:
        """Strike whoever works for the task; return whether there was anybody."""
        current = self._current
        if current is None:
            return False  # between two tries
        if blow.kind == "kill":
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
            return False
        return True

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

    def _restore(self, blow: Blow) -> bool:
        """The metadata database is of an hour ago: no try has begun. Who lives on is refused by the API."""
        if self.clears:
            return False  # an hour ago, its run was over: to begin it again is to train from the beginning
        for process in self._processes:
            if process.zombie:
                continue
            if blow.kind == "restore" or process.role == "triggerer":
                process.zombie = True
                process.child.signal(signal.SIGKILL)
            else:
                self._leave(process, blow.seconds)
        self._try = 1
        self._start_try()
        return True

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

    def _clear_what_runs(self, blow: Blow) -> bool:
        """
        A person clears the task, whatever its state.

        Of one whose worker runs, Airflow changes the DAG run's ``clear_number`` alone: the worker is ended, and the
        next try looks like a retry.
        """
        current = self._current
        if current is not None and current.role == "worker":
            self.clears.append(time.time())
            self._clear_number += 1
            self.cleared_at_call = len(self.wire.answered)
            current.term_at = time.monotonic()
            return True
        if current is not None:
            current.zombie = True
            current.kill_at = time.monotonic() + KILL_SECONDS
            current.child.signal(signal.SIGUSR1)
        self._clear()
        if self.spec["arguments"].get("resume") is False:
            self.restarts.append(self.clears[-1])
        return True

    def _put_probe(self, blow: Blow) -> bool:
        """
        Put a live probe of the run beside its job, of a worker that died as it made it; whoever comes next sees it.

        :return: False where the task was over by then, and nobody comes.
        """
        current, said = self._current, []
        if current is not None:
            current.child.signal(signal.SIGKILL)
            while not current.child.ended:
                said += current.child.read()
            current.answered = any("cancelled" not in message for message in said) or current.answered
            self._processes.remove(current)
        over = any("success" in message for message in said) or self._try > self._max_tries
        if not over:
            self._put(self.wire.jobs[-1])
        for message in said:
            self._hear(current, message)
        if current is not None:
            self._gone(current)
        return not over

    def _put(self, attempt: str) -> None:
        """Put a probe beside an attempt; where the quota is used up, or one is there, this blow misses."""
        try:
            self.probe(attempt)
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("ResourceLimitExceeded", "ResourceInUse"):
                raise

    def _bury(self, *, at_once: bool) -> None:
        for frozen in list(self._frozen):
            self._wake(frozen)
        now = time.monotonic()
        for process in self._processes:
            if at_once:
                process.child.signal(signal.SIGKILL)
            elif process.term_at is None and process.kill_at is None:
                process.term_at = now + (0 if process.zombie else KILL_SECONDS)
        while self._processes:
            self._wait()
            self._heed_notes()
            for process in self._processes:
                process.end(time.monotonic())

    # ---- at a call

    def _heed_notes(self) -> None:
        """Follow what the wire did to a process in the middle of a call."""
        while self._notes:
            hit = self._notes.pop(0)
            if hit.strike.kind == "hold":
                self._supersede(self._dice_seconds())
                continue
            process = next((each for each in self._processes if each.child.pid == hit.pid), None)
            if process is None:
                hit.thaw.set()
            elif hit.strike.kind == "freeze":
                self._freeze(process, hit)
            else:
                self._tell(f"SIGTERM to {process.role} {process.number}, in the middle of a call")
                process.kill_at = process.kill_at or time.monotonic() + KILL_SECONDS

    def _freeze(self, process: Process, hit: Hit) -> None:
        """A machine stands still: its process is thought dead, and another takes its place."""
        self._tell(f"{process.role} {process.number} is frozen")
        process.frozen = True
        calls, cleared = len(self.wire.answered), len(self.clears)
        frozen = Frozen(process, hit.strike.until, hit.thaw, calls, self.successes, cleared)
        self._frozen.append(frozen)
        if self._state or process is not self._current or self._try > self._max_tries:
            self._wake(frozen)
        elif process.role == "triggerer":
            # It still has the same trigger when it comes back: either may fire.
            self._current = self._triggerer()
        else:
            process.zombie = True
            self._try += 1
            self._start_try()

    def _is_reached(self, frozen: Frozen) -> bool:
        own = frozen.process.child.pid
        if frozen.until == "completed":
            return self.successes > frozen.successes
        if frozen.until == "generation":
            since = self.wire.answered[self.cleared_at_call :]
            return len(self.clears) > frozen.clears and CREATE in {what for pid, what in since if pid != own}
        others = {what for pid, what in self.wire.answered[frozen.call :] if pid != own}
        return bool(others if frozen.process.role == "triggerer" else others & {OWN, CREATE})

    def _wake(self, frozen: Frozen) -> None:
        self._frozen.remove(frozen)
        process = frozen.process
        self._tell(f"{process.role} {process.number} is awake again")
        process.frozen = False
        if process.zombie or self._state:
            process.zombie = True
            process.kill_at, process.term_at = None, time.monotonic() + WOKEN_SECONDS
        process.child.signal(signal.SIGCONT)
        frozen.thaw.set()

    def _dice_seconds(self) -> float:
        return 0.5 + (self.scenario.seed % 7) / 2
