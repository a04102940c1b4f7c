"""Attempts that have ended, as a deferred task carries them: what decisions are made by, in some forty bytes each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

from airflow_spot.core.attempt import Attempt
from airflow_spot.core.identity import JobName
from airflow_spot.core.outcomes import Outcome
from airflow_spot.core.placement import Placement

#: The newest that are carried: twelve kilobytes. Older ones are read again at each resume.
KEPT = 300


def pack(attempts: Iterable[Attempt]) -> dict[str, Any]:
    """
    Write attempts for a deferral: those that have ended and that :func:`unpack` can tell whole enough to decide by.

    A line each: number, place of its rung and of its outcome among the words, begin in seconds since the first one's,
    duration, training, billable and active seconds, interruptions and, where the script said one, its exit code.

    :return: empty where there is none.
    """
    chosen = [attempt for attempt in attempts if _is_told(attempt)][-KEPT:]
    if not chosen:
        return {}
    first, zero = chosen[0], _seconds(chosen[0].created)
    words: dict[str, int] = {}
    lines = []
    for attempt in chosen:
        # The name that follows from the first one's: another one's prefix is not carried.
        if str(replace(first.name, number=attempt.number)) != attempt.job_name:
            continue
        begun, ended = _seconds(attempt.created), _seconds(attempt.ended)
        active = _active(attempt, ended)
        parts = [
            str(attempt.number),
            *(str(words.setdefault(word, len(words))) for word in (attempt.rung, str(attempt.outcome))),
            *(f"{value:.1f}".removesuffix(".0") for value in (begun - zero, ended - begun)),
            *(str(value) for value in (attempt.training_seconds, attempt.billable_seconds)),
            f"{max(active, 0.1 if attempt.trained else 0.0):.1f}".removesuffix(".0"),
            str(attempt.interruptions),
            *([] if attempt.exit_code is None else [str(attempt.exit_code)]),
        ]
        lines.append(" ".join(parts))
    return {"name": first.job_name, "since": round(zero, 1), "words": list(words), "lines": ";".join(lines)}


def unpack(value: Any) -> tuple[Attempt, ...]:
    """Read what :func:`pack` wrote; empty where it cannot be read, so that the attempts are."""
    try:
        first = JobName.parse(value["name"])
        if first is None:
            return ()
        found = (_attempt(line.split(" "), first, value) for line in value["lines"].split(";"))
        return tuple(attempt for attempt in found if attempt is not None)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError):
        return ()


def _is_told(attempt: Attempt) -> bool:
    # A request moves what follows it: rare, and read again.
    times = attempt.created is not None and attempt.ended is not None
    return times and attempt.outcome is not None and attempt.request is None


def _active(attempt: Attempt, ended: float) -> float:
    """Return for how long an attempt had its instances: a span that was open when it ended, ended with it."""
    working = attempt.working_since
    return attempt.active_seconds + (max(0.0, ended - working.timestamp()) if working is not None else 0.0)


def _attempt(parts: list[str], first: JobName, value: Mapping[str, Any]) -> Attempt | None:
    words = value["words"]
    known = {outcome.value: outcome for outcome in Outcome}
    outcome = known.get(words[int(parts[2])])
    if outcome is None:  # of a newer version, before a rollback
        return None
    name = replace(first, number=int(parts[0]))
    created = datetime.fromtimestamp(value["since"] + float(parts[3]), timezone.utc)
    return Attempt(
        name=name,
        job_name=str(name),
        placement=Placement("unknown", 1, False),
        status="Completed" if outcome is Outcome.COMPLETED else "Stopped",
        secondary_status="",
        outcome=outcome,
        rung=str(words[int(parts[1])]),
        interruptions=int(parts[8]),
        training_seconds=int(parts[5]),
        billable_seconds=int(parts[6]),
        created=created,
        ended=created + timedelta(seconds=float(parts[4])),
        active_seconds=float(parts[7]),
        exit_code=int(parts[9]) if len(parts) > 9 else None,
        whole=False,
    )


def _seconds(moment: datetime | None) -> float:
    return moment.timestamp() if moment is not None else 0.0
