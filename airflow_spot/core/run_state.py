"""What a run carries through a deferral, and what the trigger is to wait for. Both are rows in Airflow's database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Any

from airflow_spot.core.attempt import Attempt
from airflow_spot.core.ended_attempts import pack, unpack
from airflow_spot.core.history import History, Refusal
from airflow_spot.core.marks import StopMark
from airflow_spot.core.money.prices import Prices
from airflow_spot.core.progress import Progress, ProgressRules, WatchedStarts
from airflow_spot.core.read_values import amount, count
from airflow_spot.core.script_progress import Reports
from airflow_spot.core.starts import Start
from airflow_spot.core.try_marks import TryMark

STATE_VERSION = 1

REFUSALS_KEPT = 50


@dataclass(frozen=True)
class RunState:
    """
    What a run carries through a deferral: what SageMaker does not know.

    It is stored in Airflow's database. Keys are only ever added; a version that does not know one ignores it, and
    what is missing has its default, so that mixed versions and rollbacks work.

    :param generation: the run's.
    :param namespace: that it began with; the configuration may say another by now.
    :param first_of_try: the number of the try's first attempt.
    :param this_try: the try that wrote it. A retry that is handed another try's begins again: Airflow 3.0 does so.
    :param jobs: the names of the live jobs that were waited for; the attempt first.
    :param since: when the generation's first job was created, by SageMaker's clock; None before it, or not known.
    :param ended: the try's attempts that have ended, as far as decisions are made by them: they are not read again.
    :param give_up_at: seconds since 1970; None for never.
    :param stops: why the try told which of these jobs to stop: one that may not be tagged does not say it itself.
    :param progress: what was seen of the generation's checkpoints; None where that is not known: it is begun again.
    :param reports: what the script reported of itself.
    :param timeline: what is known of the run for its page, as text; empty for nothing.
    :param prices: what costs are calculated from: neither a worker that continues nor the triggerer asks AWS again.
    :param types: of an automatic ladder, the order that it has; empty where it has none.
    :param spent: what the budget carries; None without one.
    :param version: of the layout.
    """

    generation: int
    first_of_try: int
    this_try: TryMark | None = None
    namespace: str = ""
    jobs: tuple[str, ...] = ()
    give_up_at: float | None = None
    refusals: tuple[Refusal, ...] = ()
    restart_requested: bool = False
    since: datetime | None = None
    ended: tuple[Attempt, ...] = ()
    stops: Mapping[str, StopMark] = field(default_factory=dict)
    progress: Progress | None = None
    reports: Reports = field(default_factory=Reports)
    timeline: str = ""
    prices: Prices | None = None
    spent: Mapping[str, Any] | None = None
    types: tuple[str, ...] = ()
    version: int = STATE_VERSION

    @classmethod
    def of(
        cls,
        history: History,
        this_try: TryMark,
        namespace: str,
        jobs: tuple[str, ...],
        give_up_at: datetime | None,
        stops: Mapping[str, StopMark] | None = None,
    ) -> RunState:
        """Make it of a run's history."""
        refusals = history.refusals
        # The first says since when the run waits, the newest where it stands: a task carries no more of them.
        kept = refusals if len(refusals) <= REFUSALS_KEPT else (refusals[0], *refusals[-REFUSALS_KEPT + 1 :])
        # Nobody reads what SageMaker said before: fifty messages would be forty kilobytes in a database's row.
        kept = (*(replace(refusal, message="") for refusal in kept[:-1]), *kept[-1:])
        return cls(
            generation=history.generation,
            first_of_try=history.first_of_try,
            this_try=this_try,
            namespace=namespace,
            jobs=jobs,
            give_up_at=give_up_at.timestamp() if give_up_at else None,
            refusals=kept,
            restart_requested=history.restart_requested,
            since=min((made for attempt in history.attempts if (made := attempt.created) is not None), default=None),
            ended=tuple(attempt for attempt in history.of_this_try if not attempt.live),
            stops={name: mark for name, mark in (stops or {}).items() if name in jobs},
            progress=history.progress,
            reports=history.reports,
        )

    @property
    def deadline(self) -> datetime | None:
        """Return when the task stops waiting; None for never."""
        return None if self.give_up_at is None else datetime.fromtimestamp(self.give_up_at, timezone.utc)

    def to_json(self) -> dict[str, Any]:
        """Return it as the trigger carries it."""
        return {
            "version": self.version,
            "try": str(self.this_try) if self.this_try else None,
            "namespace": self.namespace,
            "generation": self.generation,
            "first_of_try": self.first_of_try,
            "jobs": list(self.jobs),
            "give_up_at": self.give_up_at,
            "refusals": [refusal.to_json() for refusal in self.refusals],
            "restart_requested": self.restart_requested,
            "since": self.since.timestamp() if self.since else None,
            "ended": pack(self.ended),
            "stops": {name: str(mark) for name, mark in self.stops.items()},
            "progress": self.progress.to_json() if self.progress else None,
            **({"reports": reports} if (reports := self.reports.to_json()) else {}),
            **({"timeline": self.timeline} if self.timeline else {}),
            **({"prices": self.prices.to_json()} if self.prices else {}),
            **({"spent": dict(self.spent)} if self.spent else {}),
            **({"types": list(self.types)} if self.types else {}),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> RunState:
        """
        Read what :meth:`to_json` wrote, of this version or another.

        :raises ValueError: it is no state of a run.
        """
        if "generation" not in value:
            raise ValueError(f"no state of a run: it has {sorted(value) or 'nothing'}")
        return cls(
            generation=int(value["generation"]),
            first_of_try=int(value.get("first_of_try", 1)),
            this_try=TryMark.parse(value.get("try")),
            namespace=str(value.get("namespace") or ""),
            jobs=tuple(str(name) for name in value.get("jobs") or ()),
            give_up_at=value.get("give_up_at"),
            refusals=tuple(Refusal.from_json(each) for each in value.get("refusals") or ()),
            restart_requested=bool(value.get("restart_requested")),
            since=datetime.fromtimestamp(since, timezone.utc) if (since := value.get("since")) else None,
            ended=unpack(value.get("ended")),
            stops={
                str(name): mark
                for name, text in (value.get("stops") or {}).items()
                if (mark := StopMark.parse(text)) is not None
            },
            progress=Progress.from_json(value.get("progress")),
            reports=Reports.from_json(value.get("reports")),
            timeline=timeline if isinstance(timeline := value.get("timeline"), str) else "",
            prices=Prices.from_json(value.get("prices")),
            types=tuple(map(str, types)) if isinstance(types := value.get("types"), (list, tuple)) else (),
            spent=spent if isinstance(spent := value.get("spent"), Mapping) else None,
            version=int(value.get("version", STATE_VERSION)),
        )


@dataclass(frozen=True)
class WatchedFolder:
    """
    Where an attempt keeps its checkpoints, and what it is watched for.

    :param uri: an S3 URI.
    :param number: the attempt's.
    :param elsewhere: why there may be checkpoints in another place; empty where not.
    """

    uri: str
    number: int
    rules: ProgressRules
    elsewhere: str = ""

    def starts(self, starts: tuple[Start, ...]) -> WatchedStarts:
        """Return the starts of its job, which is live."""
        return WatchedStarts(self.number, self.uri, starts, elsewhere=self.elsewhere)

    def to_json(self) -> dict[str, Any]:
        """Return it as a job of the trigger has it."""
        rules = self.rules
        return {
            "uri": self.uri,
            "number": self.number,
            "warning_after": rules.warning_after,
            "max_starts": rules.max_starts,
            **({"elsewhere": self.elsewhere} if self.elsewhere else {}),
        }

    @classmethod
    def from_json(cls, value: Any) -> WatchedFolder | None:
        """Read what :meth:`to_json` wrote; None where there is none, or it cannot be read."""
        if not isinstance(value, Mapping):
            return None
        uri, number, after = value.get("uri"), count(value.get("number")), amount(value.get("warning_after"))
        most = value.get("max_starts")
        if not isinstance(uri, str) or number is None or after is None or (most is not None and not count(most)):
            return None
        elsewhere = value.get("elsewhere")
        return cls(uri, number, ProgressRules(after, count(most)), elsewhere if isinstance(elsewhere, str) else "")


@dataclass(frozen=True)
class WatchedReports:
    """
    Where a script reports how far it is.

    :param uri: the checkpoint folder, an S3 URI.
    :param expected: the script was sent along with the library that does so.
    """

    uri: str
    expected: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return it as a job of the trigger has it."""
        return {"uri": self.uri, "expected": self.expected}

    @classmethod
    def from_json(cls, value: Any) -> WatchedReports | None:
        """Read what :meth:`to_json` wrote; None where there is none, or it cannot be read."""
        uri = value.get("uri") if isinstance(value, Mapping) else None
        return cls(uri, value.get("expected") is True) if isinstance(uri, str) and uri else None


@dataclass(frozen=True)
class WatchedJob:
    """
    A job that the trigger waits for.

    :param transitions_seen: how many of its transitions were logged before.
    :param capacity_timeout: seconds that it may wait for capacity in one go; None for any.
    :param keeps_checkpoints: whether SageMaker keeps checkpoints of it: then it says what it restarts from.
    :param folder: where they are, if it is to be looked at while the job may be interrupted.
    :param reports: where its script may report how far it is.
    """

    name: str
    transitions_seen: int = 0
    capacity_timeout: float | None = None
    keeps_checkpoints: bool = True
    folder: WatchedFolder | None = None
    reports: WatchedReports | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as the trigger's ``jobs`` have it."""
        return {
            "name": self.name,
            "transitions_seen": self.transitions_seen,
            "capacity_timeout": self.capacity_timeout,
            **({} if self.keeps_checkpoints else {"keeps_checkpoints": False}),
            **({"folder": self.folder.to_json()} if self.folder else {}),
            **({"reports": self.reports.to_json()} if self.reports else {}),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> WatchedJob:
        """Read what :meth:`to_json` wrote, of this version or another."""
        return cls(
            str(value["name"]),
            int(value.get("transitions_seen") or 0),
            value.get("capacity_timeout"),
            keeps_checkpoints=bool(value.get("keeps_checkpoints", True)),
            folder=WatchedFolder.from_json(value.get("folder")),
            reports=WatchedReports.from_json(value.get("reports")),
        )
