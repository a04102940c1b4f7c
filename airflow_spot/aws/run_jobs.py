"""The jobs of a run: found by the list and by their names, and what has ended read once. Needs no Airflow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

from airflow_spot.core.attempt import Attempt
from airflow_spot.core.identity import JobName, name_filter
from airflow_spot.core.outcomes import ENDED_STATUSES
from airflow_spot.core.plan import Plan
from airflow_spot.core.roles import Role

#: Names behind the first free one that are tried too where no list may be asked for: a job that was deleted must not
#: hide one that trains.
REACH_WITHOUT_LIST = 5
#: Behind the moment at which a run's first job was created, as SageMaker told it.
_SINCE_MARGIN = timedelta(hours=1)


class Source(Protocol):
    """What is asked of SageMaker: the hook."""

    def find(self, job_name: str) -> dict[str, Any] | None:
        """Describe a training job; None where there is none of that name."""

    def as_attempt(self, description: Mapping[str, Any]) -> Attempt:
        """Add a job's tags to its description."""

    def summaries(self, name_contains: str, since: datetime | None) -> Sequence[Mapping[str, Any]] | None:
        """List jobs; None where that is not permitted."""


class RunJobs:
    """
    The jobs of a run, as one list and the names that follow from the run show them.

    An ended job never changes, but for its tags: one that the list shows as ended, or that is known as such from
    before, is described only where more is asked of it.

    :param known: job names that the run has had, even if no list shows them yet.
    :param since: no job that matters was created before, by SageMaker's clock; None for what the run itself knows.
    :param ended: attempts that are known to have ended, as far as they are known.
    """

    def __init__(
        self,
        source: Source,
        plan: Plan,
        *,
        known: Iterable[str] = (),
        since: datetime | None = None,
        ended: Iterable[Attempt] = (),
    ) -> None:
        self._source = source
        self._plan = plan
        after = plan.run.since if since is None else since - _SINCE_MARGIN
        lines = source.summaries(name_filter(plan.run.key), after)
        self._reach = REACH_WITHOUT_LIST if lines is None else 1
        over = [line for line in lines or () if line["TrainingJobStatus"] in ENDED_STATUSES]
        self._listed_ended = {str(line["TrainingJobName"]): line for line in over}
        self._known_ended = {attempt.job_name: attempt for attempt in ended}
        names = (*(str(line["TrainingJobName"]) for line in lines or ()), *known, *self._known_ended)
        self._names = {name: parsed for name in names if (parsed := JobName.parse(name))}

    def newest_generation(self, at_least: int = 1) -> int:
        """Return the newest generation that has an attempt; the list may not show its first yet."""
        listed = (name.generation for name in self._names.values() if name.role is Role.ATTEMPT)
        generation = max((at_least, *listed))
        while self._exists(generation + 1):
            generation += 1
        return generation

    def attempts(self, generation: int, *, newest: int, first_needed: int | None = None) -> list[Attempt]:
        """
        Return the attempts of a generation, oldest first; those of which not all is read are not ``whole``.

        :param newest: so many of the newest that have ended are read in whole.
        :param first_needed: from this number on an attempt is read, unless it is among those known to have ended.
        """
        ours = self._numbers(generation, Role.ATTEMPT)
        ended = sorted((name for name in ours if self._ended(name)), key=lambda name: (ours[name], name))
        read = {name for name in ended if first_needed is not None and ours[name] >= first_needed}
        read -= self._known_ended.keys()
        read.update(ended[len(ended) - min(newest, len(ended)) :])
        found = self._found(generation, lambda name: None if name in read else self._ended(name))
        return sorted(found, key=lambda attempt: (attempt.number, attempt.job_name))

    def live(self, generation: int) -> list[str]:
        """Name the attempts of a generation that may still train; no list that lags and no deleted job hides one."""
        return [attempt.job_name for attempt in self._found(generation, self._ended) if attempt.live]

    def ended_before(self, generation: int) -> tuple[Attempt, ...]:
        """Return what the list tells of the ended jobs that are no attempts of a generation: nothing is read."""
        return tuple(
            Attempt.from_summary(line)
            for name, line in self._listed_ended.items()
            if (parsed := self._names.get(name)) is not None
            and (parsed.generation != generation or parsed.role is not Role.ATTEMPT)
        )

    def others(self, generation: int) -> Iterator[Attempt]:
        """
        Read what is live of other roles: the two newest of each that are listed.

        A probe that no list shows yet ends by itself, so its name is tried only where no list may be asked for.
        """
        for role in (Role.PROBE, Role.STANDBY):
            ours = self._numbers(generation, role)
            names = sorted(ours, key=lambda name: ours[name])[-2:]
            for name in names:
                job = None if name in self._listed_ended else self._source.find(name)
                if job is not None and is_live(job):
                    yield self._source.as_attempt(job)
            if role is Role.PROBE and self._reach > 1:
                following = self._following(generation, max(ours.values(), default=0) + 1, role, 1)
                yield from (self._source.as_attempt(job) for job in following if is_live(job))

    def _found(self, generation: int, ended: Callable[[str], Attempt | None]) -> Iterator[Attempt]:
        """Read what is listed, what is missing in between, and what comes next."""
        # By name, not by number: two jobs have one number where a name changed and the list lagged.
        ours = self._numbers(generation, Role.ATTEMPT)
        number = max(ours.values(), default=0) + 1
        there = set(ours.values())
        missing = (self._plan.job_name(generation, n) for n in range(1, number) if n not in there)
        for name in (*ours, *missing):
            known = ended(name) if name in ours else None
            if known is not None:
                yield known
            elif (job := self._source.find(name)) is not None:
                yield self._source.as_attempt(job)
        for job in self._following(generation, number, Role.ATTEMPT, self._reach):
            yield self._source.as_attempt(job)

    def _following(self, generation: int, number: int, role: Role, reach: int) -> Iterator[dict[str, Any]]:
        """Describe the jobs from a number on, until so many numbers in a row have none."""
        free = 0
        while free < reach:
            job = self._source.find(self._plan.job_name(generation, number, role))
            number, free = number + 1, free + 1
            if job is not None:
                free = 0
                yield job

    def _exists(self, generation: int) -> bool:
        return next(self._following(generation, 1, Role.ATTEMPT, self._reach), None) is not None

    def _numbers(self, generation: int, role: Role) -> dict[str, int]:
        """Return the jobs that are known by name, and their numbers."""
        return {
            name: parsed.number
            for name, parsed in self._names.items()
            if parsed.generation == generation and parsed.role is role
        }

    def _ended(self, name: str) -> Attempt | None:
        """Return what is known without a call of a job that has ended; None where that is nothing."""
        if name in self._known_ended:
            return self._known_ended[name]
        return Attempt.from_summary(self._listed_ended[name]) if name in self._listed_ended else None


def is_live(job: Mapping[str, Any]) -> bool:
    """Return whether a job may still train or write checkpoints."""
    return job["TrainingJobStatus"] not in ENDED_STATUSES
