"""Finds out by probes whether there is capacity: one job at a time, each of a type, until one gets its instances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from airflow_spot.core.attempt import Attempt
from airflow_spot.core.durations import human
from airflow_spot.core.identity import JobName, name_filter
from airflow_spot.core.marks import StopMark, tag_map
from airflow_spot.core.outcomes import CAPACITY_OUTCOMES, Outcome
from airflow_spot.core.plan import Plan
from airflow_spot.core.probe import next_type, probe_request, was_granted
from airflow_spot.core.roles import Role
from airflow_spot.core.stop_reasons import StopReason
from airflow_spot.core.try_marks import TryMark
from airflow_spot.errors import RunKilledError, error_for
from airflow_spot.hooks.training import CreateRefusedError
from airflow_spot.observers import Log

if TYPE_CHECKING:
    from airflow_spot.hooks.training import SageMakerSpotTrainingHook

#: What a person runs by hand begins anew with each look.
_RUN_BY_HAND = timedelta(hours=1)
#: How an ended probe says that there was no capacity, or that it was not asked for long enough.
_AGAIN = CAPACITY_OUTCOMES | {
    Outcome.STOPPED_BY_OPERATOR,
    Outcome.MOVED,
    Outcome.SERVICE_ERROR,
    Outcome.MAX_WAIT_EXCEEDED,
    Outcome.UNKNOWN,
}


@dataclass(frozen=True)
class Waiting:
    """
    Nothing was granted yet.

    :param job: the probe that waits; None where none is live.
    :param until: when it is given up for the next type; None for never.
    """

    job: str | None
    until: datetime | None
    why: str


@dataclass(frozen=True)
class Granted:
    """A probe got its instances, and has ended."""

    probe: Attempt
    probes: int


class Probing:
    """
    The probes of one task instance, over all its tries. Where they stand is read from SageMaker alone.

    :param plan: of :func:`~airflow_spot.core.probe.probe_config`, with a rung for each type.
    :param wait: seconds that a probe may wait before the next type is asked for.
    :param newest: the name of the newest probe, which the try has waited for before; None has it looked for.
    :param stopped: whether the try has told that one to stop: without the permission for tags it does not say so.
    """

    def __init__(
        self,
        hook: SageMakerSpotTrainingHook,
        plan: Plan,
        this_try: TryMark,
        wait: float,
        log: Log,
        newest: str | None = None,
        *,
        stopped: bool = False,
    ) -> None:
        self._hook = hook
        self._plan = plan
        self._try = this_try
        self._wait = wait
        self._log = log
        self._killed = False
        #: It takes a probe over that it finds; one that continues may have been superseded meanwhile.
        self._begins = newest is None
        self._newest_name = newest
        self._stopped = {newest} if newest is not None and stopped else set()
        self._waited_for = {newest} if newest is not None else set()
        #: The job that may be live: a kill stops it.
        self.live: str | None = newest
        hook.signal_client  # noqa: B018  made now: a signal handler must not have to wait for it

    @property
    def types(self) -> Sequence[str]:
        """What is asked for, in order."""
        return [rung.instance_type for rung in self._plan.ladder]

    def carried(self) -> dict[str, Any]:
        """Return what a deferral is to carry: the newest probe, if this try has waited for it, and its stop."""
        name = self._newest_name if self._newest_name in self._waited_for else None
        return {"probe": name, "stopped": name in self._stopped}

    def look(self, *, asks: bool = True) -> Granted | Waiting:
        """
        Look once; create the next probe where none is live.

        :param asks: False has nothing asked for: no probe is created, and one that waits is stopped.
        :raises SpotTrainingError: a probe cannot work, or somebody has stopped one.
        """
        probe, begins = self._newest(), self._begins
        self._begins = False
        self._check_alive()
        if probe is not None and probe.live:
            self.live = probe.job_name
            self._waited_for.add(probe.job_name)
            if probe.owner is None or (probe.owner != self._try.number if begins else probe.owner < self._try.number):
                self._hook.marks.set_owner(probe.arn, self._try)
            return self._waits(probe, asks=asks)
        self.live = None
        if probe is not None and self._is_of_this_try(probe):
            if self._was_granted(probe):
                return Granted(probe, probe.number)
            if probe.outcome not in _AGAIN and not self._was_given_up(probe):
                said = probe.failure_reason or "it was stopped outside Airflow"
                raise error_for(probe.outcome)(f"Probe {probe.job_name} ({probe.label}): {said}")
        return self._create(probe) if asks else Waiting(None, None, "")

    def kill(self) -> None:
        """Stop the probe of a task that Airflow kills, in a signal handler; what the task does next creates none."""
        self._killed = True
        self.stop(StopReason.KILLED, in_signal=True)

    def stop(self, reason: StopReason, *, in_signal: bool = False) -> None:
        """Stop the probe that may be live, if it is this try's."""
        if self.live is None and self._begins and not in_signal:
            found = self._newest()  # the check failed that was to find it
            self.live = found.job_name if found is not None and found.live else None
        if self.live is None:
            return
        number = self._try.number
        self._stopped.add(self.live)
        client = self._hook.signal_client if in_signal else None
        skipped = self._hook.stop(self.live, StopMark(reason, number), owner=number, client=client)
        self._log.info("Probe %s: %s", self.live, "stopped" if skipped is None else f"not stopped, {skipped}")

    # ---- inside

    def _newest(self) -> Attempt | None:
        if self._newest_name is None:
            names = self._hook.listed(name_filter(self._plan.run.key))
            probes = [
                (each.number, name) for name in names if (each := JobName.parse(name)) and each.role is Role.PROBE
            ]
            # By name: what it begins with may be a template, and render to something else.
            self._newest_name = max(probes, default=(0, None))[1]
        found = self._read(self._newest_name) if self._newest_name is not None else None
        # A list lags, and may not be permitted: the next names are tried too.
        while (following := self._read(self._name(self.number + 1))) is not None:
            self._newest_name, found = following.job_name, following
        return found

    @property
    def number(self) -> int:
        """The number of the newest probe that is known; 0 where none is."""
        name = JobName.parse(self._newest_name or "")
        return name.number if name is not None else 0

    def _read(self, name: str) -> Attempt | None:
        mark = StopMark(StopReason.PROBE, self._try.number) if name in self._stopped else None
        return self._hook.attempt(name, mark)

    def _is_of_this_try(self, probe: Attempt) -> bool:
        """Return whether an ended probe tells of now: one that another try has seen to its end is of another day."""
        if probe.job_name in self._waited_for:
            return True
        began = self._try.run_started
        if began is not None and probe.ended is not None and probe.ended < began + self._offset - _RUN_BY_HAND:
            return False  # of a DAG run that was made again: its tries begin with 1, too
        if self._try.is_same_try(probe.created_by):
            return True
        # It was taken over while it waited.
        made_by = probe.created_by.number if probe.created_by is not None else None
        return probe.owner == self._try.number and made_by != probe.owner

    def _was_given_up(self, probe: Attempt) -> bool:
        """Return whether a probe was stopped once its wait was over, as we do: its tags may not be permitted."""
        if probe.outcome is not Outcome.STOPPED_EXTERNALLY or probe.created is None or probe.ended is None:
            return False
        return len(self.types) > 1 and (probe.ended - probe.created).total_seconds() >= self._wait

    def _name(self, number: int) -> str:
        return self._plan.job_name(1, number, Role.PROBE)

    def _was_granted(self, probe: Attempt) -> bool:
        return was_granted(self._hook.find(probe.job_name) or {})

    def _waits(self, probe: Attempt, *, asks: bool) -> Waiting:
        if probe.status == "Stopping" or self._was_granted(probe):
            return Waiting(probe.job_name, None, f"probe {probe.job_name} ends")
        kind = probe.placement.instance_type
        due = None
        if not asks:
            self.stop(StopReason.PROBE)
            return Waiting(probe.job_name, None, f"probe {probe.job_name} ends")
        if len(self.types) > 1 and probe.created is not None:
            due = probe.created + timedelta(seconds=self._wait)
            if due <= self._now():
                self._log.info("No capacity for %s within %s", probe.placement, human(self._wait))
                self.stop(StopReason.PROBE)
                return Waiting(probe.job_name, None, f"probe {probe.job_name} ends")
        return Waiting(probe.job_name, due, f"waiting for capacity for {kind}")

    def _create(self, last: Attempt | None) -> Waiting:
        refused: dict[str, CreateRefusedError] = {}
        number = self.number + 1
        while (kind := next_type(self.types, last, tuple(refused))) is not None:
            rung = next(rung for rung in self._plan.ladder if rung.instance_type == kind)
            why = "first probe" if last is None else f"after a probe of {last.placement.instance_type}"
            request = probe_request(self._plan, number, rung, self._try, why)
            self._check_alive()
            self.live = str(request["TrainingJobName"])
            try:
                description, _ = self._hook.submit(request, self._plan.run.key)
            except CreateRefusedError as error:
                self.live = None
                refused[kind] = error
                self._log.info("Probe of %s refused: %s", kind, error)
                continue
            self._newest_name = self.live
            self._waited_for.add(self.live)
            if self._killed:  # in the middle of the create, when there was nothing to stop yet
                self.stop(StopReason.KILLED)
                self._check_alive()
            probe = self._hook.as_attempt(description, tag_map(request["Tags"]))
            self._log.info("Probe %d asks for %s: training job %s", number, probe.placement, probe.job_name)
            due = self._now() + timedelta(seconds=self._wait) if len(self.types) > 1 else None
            return Waiting(probe.job_name, due, f"waiting for capacity for {kind}")
        if all(error.outcome is Outcome.QUOTA_TOO_SMALL for error in refused.values()):
            raise error_for(Outcome.QUOTA_TOO_SMALL)(
                f"No quota for any of {', '.join(self.types)}: {error_of(refused)}"
            )
        return Waiting(None, None, f"no probe could be created ({error_of(refused)})")

    def _check_alive(self) -> None:
        if self._killed:
            raise RunKilledError("Airflow killed this task; its probe was stopped")

    def _now(self) -> datetime:
        return datetime.now(timezone.utc) + self._offset

    @property
    def _offset(self) -> timedelta:
        return timedelta(seconds=self._hook.clock.offset)


def error_of(refused: dict[str, CreateRefusedError]) -> str:
    """Return what the last refusal said."""
    return str(list(refused.values())[-1])
