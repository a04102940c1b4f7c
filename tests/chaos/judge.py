"""The verdict on a run, from Local SageMaker's audit log and from how the run ended. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_spot.core.identity import JobName
from airflow_spot.core.roles import Role

ENDED = frozenset({"Completed", "Failed", "Stopped", "Deleting"})
#: Seconds by which a simulated job's progress may differ from another's on the same clock.
TOLERANCE = 0.001
_STEP = re.compile(r"step-(\d+)\.json")


@dataclass(frozen=True)
class Ending:
    """
    How a run ended, as its Airflow has it.

    :param state: ``success`` or ``failed``; ``stuck`` if it did not end within its bound.
    :param clears: when a person cleared it, in seconds since the epoch: each is allowed one more training.
    :param work: what a job trains in all: seconds, or steps.
    :param trained: what each completed job's model holds of it, by job name.
    :param wanted: how many results are due; None for one, and one for each clear.
    :param restarts: those of the clears after which it has to train anew, whatever was there.
    :param folders: each job's checkpoint URI, by job name, where it has one.
    :param own: SageMaker keeps no checkpoints, so each start begins with nothing.
    :param shared: several generations keep their checkpoints in one folder.
    :param seed: what was in the folder that each generation's first job was to resume from; its URI and the amount.
    :param kept: what each checkpoint URI holds in the end; empty where nobody looked.
    """

    state: str
    work: float
    clears: tuple[float, ...] = ()
    trained: Mapping[str, float] = field(default_factory=dict)
    expected: str = "success"
    wanted: int | None = None
    restarts: tuple[float, ...] = ()
    folders: Mapping[str, str] = field(default_factory=dict)
    own: bool = False
    shared: bool = False
    seed: tuple[str, float] | None = None
    kept: Mapping[str, float] = field(default_factory=dict)


@dataclass
class Verdict:
    """Sentences under each column; a column without one is clean."""

    duplicate_jobs: list[str] = field(default_factory=list)
    lost_checkpoints: list[str] = field(default_factory=list)
    false_success: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    abandoned: list[str] = field(default_factory=list)
    not_survived: list[str] = field(default_factory=list)

    @property
    def survived(self) -> bool:
        """Whether the run ended as one without faults."""
        return not self.not_survived

    @property
    def clean(self) -> bool:
        """Whether nothing at all is wrong."""
        return not any(vars(self).values())


COLUMNS = ("duplicate_jobs", "lost_checkpoints", "false_success", "stuck", "abandoned")


def judge(events: Iterable[Mapping[str, Any]], ending: Ending) -> Verdict:
    """
    Judge one run.

    :param events: the audit log's lines that are about the run's jobs, in order.
    """
    lines = list(events)
    jobs = _Jobs(ending)
    for event in lines:
        if event["event"] == "state":
            jobs.enter(event)
    verdict = Verdict(
        duplicate_jobs=jobs.duplicates, lost_checkpoints=[*_Folders(lines, ending).found, *_strangers(ending)]
    )
    completed = jobs.results
    wanted = 1 + len(ending.clears) if ending.wanted is None else ending.wanted
    if ending.state == "stuck":
        verdict.stuck.append("it did not end within its bound")
    if ending.state == "success" and len(completed) < wanted:
        verdict.false_success.append(f"success with {len(completed)} completed jobs, where {wanted} are due")
    for restart in ending.restarts:
        if ending.state == "success" and not any(jobs.born[name] >= restart for name in completed):
            verdict.false_success.append("success with a job of before it was cleared to train from the beginning")
    verdict.abandoned.extend(f"{name} was left {status}" for name, status in jobs.live.items())
    if ending.state != ending.expected:
        verdict.not_survived.append(f"the task ended as {ending.state}")
    for name in completed:
        trained = ending.trained.get(name)
        if trained is None or abs(trained - ending.work) > TOLERANCE:
            verdict.not_survived.append(f"the model of {name} holds {trained} of {ending.work:g}")
    for column in COLUMNS:
        verdict.not_survived.extend(getattr(verdict, column))
    return verdict


def alive_at_once(events: Iterable[Mapping[str, Any]]) -> int:
    """Count how many of a run's jobs were live at the same time, at most."""
    live: set[str] = set()
    most = 0
    for event in events:
        if event["event"] == "state":
            (live.discard if event["status"] in ENDED else live.add)(event["job"])
            most = max(most, len(live))
    return most


def paid_seconds(events: Iterable[Mapping[str, Any]]) -> float:
    """Sum up how long a run's jobs held instances, by the audit log; what is live still counts up to its last line."""
    since: dict[str, float] = {}
    total = last = 0.0
    for event in events:
        last = event["time"]
        if event["event"] == "capacity" and event["action"] == "granted":
            since[event["job"]] = last
        elif (event["event"] == "capacity" and event["action"] == "reclaimed") or event.get("status") in ENDED:
            total += last - since.pop(event["job"], last)
    return total + sum(last - begun for begun in since.values())


def role_of(job: str) -> Role:
    """Return what a job is for, by its name; one that is not of ours trains."""
    parsed = JobName.parse(job)
    return Role.ATTEMPT if parsed is None else parsed.role


class _Jobs:
    """
    Who is live beside whom. At most one of each role, and at most one for each checkpoint URI.

    :ivar duplicates: sentences.
    """

    def __init__(self, ending: Ending) -> None:
        self.status: dict[str, str] = {}
        self.live: dict[str, str] = {}
        self.born: dict[str, float] = {}
        self.duplicates: list[str] = []
        self._ending = ending

    @property
    def results(self) -> list[str]:
        """Return the attempts that completed. A probe that did is no result."""
        return [name for name, status in self.status.items() if status == "Completed" and self._trains(name)]

    def enter(self, event: Mapping[str, Any]) -> None:
        name, status = event["job"], event["status"]
        if name not in self.status:
            self.born[name] = event["time"]
            self._born(name, event["time"])
        self.status[name] = status
        if status in ENDED:
            self.live.pop(name, None)
        else:
            self.live[name] = status

    def _born(self, name: str, time: float) -> None:
        role, folder = role_of(name), self._ending.folders.get(name)
        for other in self.live:
            if role_of(other) is role:
                self.duplicates.append(f"{name} was created while {other} was alive: two live {role}s")
            elif folder is not None and self._ending.folders.get(other) == folder:
                self.duplicates.append(f"{name} was created while {other} was alive: both write to {folder}")
        if self._trains(name) and len(self.results) > sum(1 for clear in self._ending.clears if clear <= time):
            self.duplicates.append(f"{name} was created after the run had its result, and nobody asked for it")

    @staticmethod
    def _trains(name: str) -> bool:
        return role_of(name) is Role.ATTEMPT


def _strangers(ending: Ending) -> list[str]:
    """Look whose each folder is: of one generation of one run, unless they share it, and never what seeds them."""
    users: dict[str, set[str]] = {}
    for job, folder in ending.folders.items():
        parsed = JobName.parse(job)
        users.setdefault(folder, set()).add(f"{parsed.key} {parsed.generation}" if parsed else "")
    several = {folder: who for folder, who in users.items() if len(who) > 1 and not ending.shared}
    kept = [f"{job} keeps its checkpoints in {folder}" for job, folder in ending.folders.items() if ending.own]
    found = [
        *kept,
        *(f"{folder} is of several runs or generations: {', '.join(sorted(who))}" for folder, who in several.items()),
    ]
    if ending.seed is not None and ending.seed[0] in users:
        found.append(f"a job keeps its checkpoints in {ending.seed[0]}, which is another's")
    return found


class _Folders:
    """
    What each checkpoint folder holds, line by line. It may only grow.

    :ivar found: sentences.
    """

    def __init__(self, lines: Sequence[Mapping[str, Any]], ending: Ending) -> None:
        self._lines = lines
        self._ending = ending
        self._seeded = ending.seed[1] if ending.seed is not None else 0.0
        self._saved: dict[str, float] = {}
        self._restored: dict[tuple[str, int], tuple[str, float]] = {}
        self.found: list[str] = []
        for event in lines:
            if event["event"] == "process" and event["action"] == "started":
                self._start(event)
            elif (progress := _progress(event)) is not None:
                self._change(event, *progress)
        if ending.kept:
            self._end()

    def _start(self, event: Mapping[str, Any]) -> None:
        """A start begins with all that its folder holds, and with nothing else: more is another's."""
        job, start = event["job"], event["start"]
        if role_of(job) is not Role.ATTEMPT:
            return
        uri = next((uri for (other, _), (uri, _) in self._restored.items() if other == job), None)
        uri, begun = self._restored.get((job, start), (uri, 0.0))
        if uri is None:
            uri = self._ending.folders.get(job) or _uri_of(job, self._lines)
        held = self._saved.get(uri or "", self._seeded)
        if begun < held - TOLERANCE:
            self.found.append(f"{job} start {start} began at {begun:g}, where {held:g} was saved")
        elif begun > held + TOLERANCE:
            self.found.append(f"{job} start {start} began at {begun:g}, where its own is {held:g}")

    def _change(self, event: Mapping[str, Any], uri: str, amount: float) -> None:
        if event["action"] in ("restore", "resumed"):
            place = (event["job"], event["start"])
            self._restored[place] = (uri, max(amount, self._restored.get(place, (uri, 0.0))[1]))
        elif amount < self._saved.get(uri, 0.0) - TOLERANCE:
            self.found.append(f"{event['job']} wrote a checkpoint of {amount:g} over one of {self._saved[uri]:g}")
        else:
            self._saved[uri] = amount

    def _end(self) -> None:
        """Nobody but the jobs wrote there, and nobody deleted."""
        seed = dict([self._ending.seed]) if self._ending.seed is not None else {}
        for uri, amount in {**self._saved, **seed}.items():
            if (kept := self._ending.kept.get(uri, 0.0)) < amount - TOLERANCE:
                self.found.append(f"{uri} holds {kept:g} in the end, where {amount:g} was saved")


def _uri_of(job: str, lines: Sequence[Mapping[str, Any]]) -> str | None:
    """Where a job keeps its checkpoints, by what it wrote there."""
    return next((event["uri"] for event in lines if event.get("job") == job and event.get("uri")), None)


def _progress(event: Mapping[str, Any]) -> tuple[str, float] | None:
    """How far a checkpoint is: of a simulated job in seconds, of a real one by its file's name in steps."""
    if event["event"] == "progress":
        return str(event["uri"]), float(event["seconds"])
    if event["event"] == "checkpoint" and event["action"] in ("restore", "upload"):
        match = _STEP.fullmatch(str(event["key"]))
        if match is not None:
            return str(event["uri"]), float(match[1])
    return None
