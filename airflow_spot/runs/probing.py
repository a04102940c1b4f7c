"""Finds out by probes whether there is capacity: one job at a time, each of a type, until one gets its instances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

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
from airflow_spot.errors import error_for
from airflow_spot.hooks.training import CreateRefusedError
from airflow_spot.observers import Log

if TYPE_CHECKING:
    from airflow_spot.hooks.training import SageMakerSpotTrainingHook

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
    :param number: of the newest probe, where that is known; None has it looked for.
    """

    def __init__(
        self,
        hook: SageMakerSpotTrainingHook,
        plan: Plan,
        this_try: TryMark,
        wait: float,
        log: Log,
        number: int | None = None,
    ) -> None:
        self._hook = hook
        self._plan = plan
        self._try = this_try
        self._wait = wait
        self._log = log
        self.number = number
        #: The job that may be live: a kill stops it.
        self.live: str | None = None
        hook.signal_client  # noqa: B018  made now: a signal handler must not have to wait for it

    @property
    def types(self) -> Sequence[str]:
        """What is asked for, in order."""
        return [rung.instance_type for rung in self._plan.ladder]

    def look(self) -> Granted | Waiting:
        """
        Look once; create the next probe where none is live.

        :raises SpotTrainingError: a probe cannot work, or somebody has stopped one.
        """
        probe = self._newest()
        if probe is not None and probe.live:
            self.live = probe.job_name
            if probe.owner != self._try.number:
                self._hook.marks.set_owner(probe.arn, self._try)
            return self._waits(probe)
        self.live = None
        if probe is not None and self._is_of_this_try(probe):
            if self._was_granted(probe):
                return Granted(probe, probe.number)
            if probe.outcome not in _AGAIN:
                said = probe.failure_reason or "it was stopped outside Airflow"
                raise error_for(probe.outcome)(f"Probe {probe.job_name} ({probe.label}): {said}")
        return self._create(probe)

    def stop(self, reason: StopReason, *, in_signal: bool = False) -> None:
        """Stop the probe that may be live, if it is this try's."""
        if self.live is None:
            return
        number = self._try.number
        client = self._hook.signal_client if in_signal else None
        skipped = self._hook.stop(self.live, StopMark(reason, number), owner=number, client=client)
        self._log.info("Probe %s: %s", self.live, "stopped" if skipped is None else f"not stopped, {skipped}")

    # ---- inside

    def _newest(self) -> Attempt | None:
        number = self.number
        if number is None:
            listed = [JobName.parse(name) for name in self._hook.listed(name_filter(self._plan.run.key))]
            number = max((each.number for each in listed if each is not None and each.role is Role.PROBE), default=0)
        found = self._hook.attempt(self._name(number)) if number else None
        # A list lags, and may not be permitted: the next names are tried too.
        while (following := self._hook.attempt(self._name(number + 1))) is not None:
            number, found = number + 1, following
        self.number = number
        return found

    def _is_of_this_try(self, probe: Attempt) -> bool:
        """Return whether an ended probe tells of now: one that another try has seen to its end is of another day."""
        if self._try.is_same_try(probe.created_by):
            return True
        # It was taken over while it waited.
        made_by = probe.created_by.number if probe.created_by is not None else None
        return probe.owner == self._try.number and made_by != probe.owner

    def _name(self, number: int) -> str:
        return self._plan.job_name(1, number, Role.PROBE)

    def _was_granted(self, probe: Attempt) -> bool:
        return was_granted(self._hook.find(probe.job_name) or {})

    def _waits(self, probe: Attempt) -> Waiting:
        if probe.status == "Stopping" or self._was_granted(probe):
            return Waiting(probe.job_name, None, f"probe {probe.job_name} ends")
        kind = probe.placement.instance_type
        due = None
        if len(self.types) > 1 and probe.created is not None:
            due = probe.created + timedelta(seconds=self._wait)
            if due <= self._now():
                self._log.info("No capacity for %s within %s", probe.placement, human(self._wait))
                self.stop(StopReason.PROBE)
                return Waiting(probe.job_name, None, f"probe {probe.job_name} ends")
        return Waiting(probe.job_name, due, f"waiting for capacity for {kind}")

    def _create(self, last: Attempt | None) -> Waiting:
        refused: dict[str, CreateRefusedError] = {}
        number = (self.number or 0) + 1
        while (kind := next_type(self.types, last, tuple(refused))) is not None:
            rung = next(rung for rung in self._plan.ladder if rung.instance_type == kind)
            why = "first probe" if last is None else f"after a probe of {last.placement.instance_type}"
            request = probe_request(self._plan, number, rung, self._try, why)
            self.live = str(request["TrainingJobName"])
            try:
                description, _ = self._hook.submit(request, self._plan.run.key)
            except CreateRefusedError as error:
                self.live = None
                refused[kind] = error
                self._log.info("Probe of %s refused: %s", kind, error)
                continue
            self.number = number
            probe = self._hook.as_attempt(description, tag_map(request["Tags"]))
            self._log.info("Probe %d asks for %s: training job %s", number, probe.placement, probe.job_name)
            due = self._now() + timedelta(seconds=self._wait) if len(self.types) > 1 else None
            return Waiting(probe.job_name, due, f"waiting for capacity for {kind}")
        if all(error.outcome is Outcome.QUOTA_TOO_SMALL for error in refused.values()):
            raise error_for(Outcome.QUOTA_TOO_SMALL)(
                f"No quota for any of {', '.join(self.types)}: {error_of(refused)}"
            )
        return Waiting(None, None, f"no probe could be created ({error_of(refused)})")

    def _now(self) -> datetime:
        return datetime.now(timezone.utc) + timedelta(seconds=self._hook.clock.offset)


def error_of(refused: dict[str, CreateRefusedError]) -> str:
    """Return what the last refusal said."""
    return str(list(refused.values())[-1])
