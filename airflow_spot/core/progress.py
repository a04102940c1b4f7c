"""
Whether starts leave anything new in the checkpoint folder: by looks at it, as values.

Not seen is not absent: what a look could not show counts for nothing, neither as progress nor against it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from airflow_spot.core.findings import Finding, NothingYet, NotSeen, StartEnd, Stuck
from airflow_spot.core.folder_look import MARK_LENGTH, FolderLook
from airflow_spot.core.read_values import amount, count, moment
from airflow_spot.core.starts import Start

VERSION = 1
#: The defaults: starts in a row that may leave nothing new, and the seconds that one may train without a checkpoint,
#: but never more than a quarter of ``max_run``, and not less than minutes: loading data takes that long, and a short
#: ``max_run`` bounds what such a job wastes all the same.
MAX_STARTS = 3
WARNING_AFTER = 3600.0
WARNING_AFTER_LEAST = 600.0
#: Seconds from one look to the next while a start trains: a page shows checkpoints as they come, also those that go.
LOOK_EVERY = 300.0
#: Objects that a deferral remembers, besides those that lie in the folder: with them 2.4 kB, and 6 kB at most.
REMEMBERED = 400
#: S3 tells when an object was written in whole seconds.
_SECOND = timedelta(seconds=1)
#: A start may take so many times the longest interval that was seen: no two epochs take the same time.
_MARGIN = 1.1
HOW_TO_CHECKPOINT = (
    "The script has to write checkpoints to checkpoint_local_path (/opt/ml/checkpoints) as it trains, and to resume "
    "from the newest at its start: docs/checkpoints.md shows how"
)
_DOUBTFUL = "what it wrote has the names of half-written files, such as *.part"


@dataclass(frozen=True)
class ProgressRules:
    """
    When a run is warned of, and when it is ended.

    :param warning_after: seconds that a start may train without any checkpoint.
    :param max_starts: starts in a row that may leave nothing new; None for any number.
    """

    warning_after: float = WARNING_AFTER
    max_starts: int | None = MAX_STARTS

    @classmethod
    def of(cls, warning_after: float | None, max_starts: int | None, max_run: float) -> ProgressRules:
        """
        Make them of what a task says.

        :param warning_after: None for an hour or a quarter of ``max_run``, whichever is less, but at least ten minutes.
        """
        default = max(WARNING_AFTER_LEAST, min(WARNING_AFTER, max_run / 4))
        return cls(default if warning_after is None else warning_after, max_starts)


@dataclass(frozen=True)
class WatchedStarts:
    """
    The starts of an attempt, and where it keeps its checkpoints.

    :param number: the attempt's.
    :param uri: an S3 URI.
    :param over: the job has ended.
    :param completed: and successfully: what its last start trained is not lost.
    :param ended: when it ended.
    :param spot: whether it may be interrupted.
    :param why_not: why there is nothing to look at; empty where there is.
    :param elsewhere: why the script may keep its checkpoints somewhere else: then nothing follows from an empty folder.
    """

    number: int
    uri: str
    starts: tuple[Start, ...]
    over: bool = False
    completed: bool = False
    ended: datetime | None = None
    spot: bool = True
    why_not: str = ""
    elsewhere: str = ""

    def doubt(self, look: FolderLook, start: Start) -> str:
        """Return why a start may have left something though the look shows nothing new of it; empty where not so."""
        return self.elsewhere or (_DOUBTFUL if _is_after(look.doubtful, start) else "")

    @property
    def done(self) -> tuple[Start, ...]:
        """Return the starts that have ended and are to be judged."""
        return self.starts if self.over and not self.completed else self.starts[:-1]

    @property
    def current(self) -> Start | None:
        """Return the start that trains, or waits for its instances."""
        return self.starts[-1] if self.starts and not self.over else None


@dataclass(frozen=True)
class Progress:
    """
    What the looks at a run's checkpoint folder have shown; a deferred task carries it.

    :param seen: marks of the objects that were there at some look, oldest first.
    :param advanced: when the newest of them was written, by what was new when it was seen.
    :param newest: when the newest object of the last look was written.
    :param objects: how many the last look showed; None before the first.
    :param longest: the longest interval that was seen, from the begin of a start to its first checkpoint or from one
        checkpoint to the next, in seconds; 0.0 where none was.
    :param barren: starts in a row that left nothing new, of those that trained long enough to count.
    :param attempt: the number of the attempt whose starts were judged last, and ``starts``, how many of them.
    :param looked: when the last look was.
    :param lost: seconds that were trained and lost, over all starts so far; None where one could not be told.
    :param unseen: why the folder could not be seen, as it was told.
    :param warned: that a start has trained for long without any checkpoint was told.
    :param told_long: that the run has trained twice its ``max_run`` was told.
    """

    seen: tuple[str, ...] = ()
    advanced: datetime | None = None
    newest: datetime | None = None
    objects: int | None = None
    longest: float = 0.0
    barren: int = 0
    attempt: int = 0
    starts: int = 0
    looked: datetime | None = None
    lost: float | None = None
    unseen: str = ""
    warned: bool = False
    told_long: bool = False

    @classmethod
    def anew(cls, watched: WatchedStarts | None, *, trained: bool) -> Progress:
        """
        Begin to count: what was before is neither held against the run nor known.

        :param watched: the newest attempt, if there is one; its starts that have ended are not judged.
        :param trained: whether anything of the generation has trained before.
        """
        lost = None if trained else 0.0
        return cls(lost=lost) if watched is None else cls(attempt=watched.number, starts=len(watched.done), lost=lost)

    def counts_from(self, rules: ProgressRules) -> float:
        """
        Return the seconds that a start has to train at least for its leaving nothing new to count, or to be warned of.

        A file that is written at once, such as the arguments, makes an interval of seconds, and another rung may be
        slower: so never less than ``warning_after``, and a tenth more than what was seen.
        """
        return max(_MARGIN * self.longest, rules.warning_after)

    def is_stuck(self, rules: ProgressRules) -> bool:
        """Return whether as many starts in a row as may be left nothing new."""
        return rules.max_starts is not None and self.barren >= rules.max_starts

    def to_json(self) -> dict[str, Any]:
        """Return it as a deferral carries it: without what has its default."""
        always = {
            "version": VERSION,
            "seen": "".join(self.seen),
            "attempt": self.attempt,
            "starts": self.starts,
            "lost": self.lost,
        }
        more = {
            "advanced": _stamp(self.advanced),
            "newest": _stamp(self.newest),
            "objects": self.objects,
            "longest": self.longest,
            "barren": self.barren,
            "looked": _stamp(self.looked),
            "unseen": self.unseen,
            "warned": self.warned,
            "told_long": self.told_long,
        }
        return {**always, **{name: value for name, value in more.items() if value}}

    @classmethod
    def from_json(cls, value: Any) -> Progress | None:
        """
        Read what :meth:`to_json` wrote, of this version or another.

        :return: what is odd in it has its default; None where it cannot be read at all.
        """
        if not isinstance(value, Mapping):
            return None
        seen, attempt, starts = value.get("seen"), count(value.get("attempt")), count(value.get("starts"))
        if not isinstance(seen, str) or attempt is None or starts is None:
            return None
        whole = len(seen) // MARK_LENGTH * MARK_LENGTH
        unseen = value.get("unseen")
        return cls(
            seen=tuple(seen[at : at + MARK_LENGTH] for at in range(0, whole, MARK_LENGTH)),
            advanced=moment(value.get("advanced")),
            newest=moment(value.get("newest")),
            objects=count(value.get("objects")),
            longest=amount(value.get("longest")) or 0.0,
            barren=count(value.get("barren")) or 0,
            attempt=attempt,
            starts=starts,
            looked=moment(value.get("looked")),
            lost=amount(value.get("lost")),
            unseen=unseen if isinstance(unseen, str) else "",
            warned=value.get("warned") is True,
            told_long=value.get("told_long") is True,
        )


def explain(progress: Progress, uri: str) -> str:
    """Return in sentences what was looked at, where a run leaves nothing new, and what to mend."""
    there = f"{progress.objects or 0} object{'' if progress.objects == 1 else 's'}"
    newest = f", the newest of {progress.newest:%Y-%m-%d %H:%M:%S} UTC" if progress.newest is not None else ""
    return (
        f"The folder {uri} was looked at after each start. It has {there}{newest}, and none of another key, size or "
        f"ETag than before (empty, half-written and SageMaker's own ones do not count). {HOW_TO_CHECKPOINT}. Fix "
        "that and clear the task; where it keeps its checkpoints elsewhere, as on FSx, set use_checkpoints=False. "
        "An on-demand rung at the end of the ladder would train without interruptions"
    )


def next_look(progress: Progress, rules: ProgressRules, job: WatchedStarts) -> datetime | None:
    """
    Return when to look while a start trains: now and then, and when there should be a checkpoint.

    None where nothing is to be looked at. What could not be seen is not looked at now and then.
    """
    start = job.current
    if start is None or start.training is None or start.ended is not None or not job.spot or job.why_not:
        return None
    due, looked = start.training + timedelta(seconds=progress.counts_from(rules)), progress.looked
    moments = [due] if looked is None or looked < due else []
    if not progress.unseen:
        moments.append(max(start.training, looked or start.training) + timedelta(seconds=LOOK_EVERY))
    return min(moments, default=None)


def needs_look(progress: Progress, rules: ProgressRules, job: WatchedStarts, now: datetime) -> bool:
    """Return whether there is something to look for: a start has ended, or has trained for a while."""
    if job.why_not:
        return progress.unseen != job.why_not or _begin(progress, job) < len(job.done)
    if any(start.training is not None for start in job.done[_begin(progress, job) :]):
        return True
    if job.completed:
        # What its last start wrote, for whoever looks at the run; where no look was had there is nothing to go on with.
        if progress.looked is None or progress.objects is None or progress.unseen or job.ended is None:
            return False
        return progress.looked < job.ended
    due = next_look(progress, rules, job)
    return due is not None and now >= due


def take_in(
    progress: Progress, rules: ProgressRules, job: WatchedStarts, look: FolderLook
) -> tuple[Progress, tuple[Finding, ...]]:
    """
    Take in a look at the folder of an attempt.

    Starts that ended since the look before are judged by when what is new was written, so it does not matter how many
    of them there are, nor whether the next one has begun to write.

    :return: what is known now, and what there is to tell.
    """
    begin, done = _begin(progress, job), job.done
    ended = [
        (begin + place, start, start.ended or job.ended or look.at)
        for place, start in enumerate(done[begin:], 1)
        if start.training is not None
    ]
    judged = replace(progress, attempt=job.number, starts=max(begin, len(done)), looked=look.at)
    if problem := job.why_not or look.problem:
        told = () if progress.unseen == problem else (NotSeen(problem),)
        return replace(judged, barren=0, unseen=problem, lost=None if ended else progress.lost), told

    known = set(progress.seen)
    new = sorted(moment for mark, moment in look.objects.items() if mark not in known)
    advanced = max([*new, *([progress.advanced] if progress.advanced else [])], default=None)
    moments = sorted({*new, *([progress.advanced] if progress.advanced else [])})
    longest = max(progress.longest, _longest_interval(job.starts[begin:], progress.advanced, new))
    judged = replace(
        judged,
        seen=_remember(progress.seen, look.objects),
        advanced=advanced,
        newest=max(look.objects.values(), default=None),
        objects=len(look.objects),
        longest=longest,
        unseen="",
        warned=progress.warned and not new,
    )
    findings: list[Finding] = []
    barren, lost = (0 if new else progress.barren), progress.lost
    for number, start, until in ended:
        if not _is_after(advanced, start) and (doubt := job.doubt(look, start)):
            judged, barren, lost = replace(judged, unseen=doubt), 0, None
            continue
        end = _end_of(number, start, until, moments, look)
        findings += [end] if end.trained >= 1 else []
        lost = None if lost is None or end.lost is None else lost + end.lost
        # What was written in this start or after it: that start, and those before it, were not in vain.
        if job.spot and not _is_after(advanced, start) and end.trained > judged.counts_from(rules):
            barren += 1
    judged = replace(judged, barren=barren, lost=lost)
    if judged.is_stuck(rules) and not progress.is_stuck(rules):
        findings.append(Stuck(barren, judged.counts_from(rules)))
    current = job.current
    if current is not None and current.training is not None and job.spot and not judged.warned:
        trained = (look.at - current.training).total_seconds()
        if trained >= judged.counts_from(rules) and not _is_after(advanced, current):
            if doubt := job.doubt(look, current):
                judged = replace(judged, unseen=doubt)
            else:
                findings.append(NothingYet(trained))
                judged = replace(judged, warned=True)
    if judged.unseen and judged.unseen != progress.unseen:
        findings.append(NotSeen(judged.unseen))
    return judged, tuple(findings)


def _begin(progress: Progress, job: WatchedStarts) -> int:
    """Return how many starts of the attempt were judged before."""
    return progress.starts if progress.attempt == job.number else 0


def _is_after(moment: datetime | None, start: Start) -> bool:
    """Return whether something was written after a start began to train, as far as whole seconds tell."""
    return moment is not None and start.training is not None and moment + _SECOND > start.training


def _end_of(number: int, start: Start, until: datetime, moments: list[datetime], look: FolderLook) -> StartEnd:
    training = start.training or until
    trained = max(0.0, (until - training).total_seconds())
    newest = max(look.objects.values(), default=None)
    if newest is not None and newest > until + _SECOND:
        return StartEnd(number, until, trained, None, newest)
    saved = max([training, *(moment for moment in moments if moment + _SECOND > training)])
    lost = min(trained, max(0.0, (until - saved).total_seconds()))
    return StartEnd(number, until, trained, lost, min(newest, until) if newest is not None else None)


def _longest_interval(starts: tuple[Start, ...], before: datetime | None, new: list[datetime]) -> float:
    """Return the longest interval of some starts, each by itself: between two of them nothing trained."""
    longest = 0.0
    trained = [start.training for start in starts if start.training is not None]
    for place, training in enumerate(trained):
        following = trained[place + 1] if place + 1 < len(trained) else None
        first = before if before is not None and before >= training else training
        inside = [each for each in new if each >= first and (following is None or each < following)]
        points = [first, *inside]
        longest = max([longest, *((b - a).total_seconds() for a, b in pairwise(points))])
    return longest


def _remember(seen: tuple[str, ...], objects: Mapping[str, datetime]) -> tuple[str, ...]:
    """Return the marks to remember: what lies in the folder, and the newest of what is gone."""
    there = sorted(objects, key=lambda mark: (objects[mark], mark))
    gone = [mark for mark in seen if mark not in objects]
    room = max(0, REMEMBERED - len(there))
    return (*(gone[-room:] if room else ()), *there)


def _stamp(moment: datetime | None) -> float | None:
    return None if moment is None else round(moment.timestamp(), 3)
