"""What is known of a run, as a deferral carries it: some kilobytes in a row of Airflow's database."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

from airflow_spot.core.attempt import Attempt
from airflow_spot.core.identity import JobName
from airflow_spot.core.outcomes import Outcome
from airflow_spot.core.placement import Placement
from airflow_spot.core.read_values import amount, count
from airflow_spot.core.script_progress import ScriptProgress
from airflow_spot.core.starts import Start
from airflow_spot.core.timeline.state import Again, Decision, LedgerState, Phase, Tick, cut, in_order
from airflow_spot.core.try_marks import TryMark

VERSION = 1
#: Characters at most. What is beyond is thinned, the oldest first; a run of 30 attempts and 540 starts has some 12,000.
MOST = 16_000
#: What a row of this length may unpack to: one that is larger is none of ours.
_LARGEST = 2_000_000


def pack(state: LedgerState, most: int = MOST) -> str:
    """Return what is known of a run as text that is no longer than ``most``."""
    for keep in _THINNER:
        packed = _text(_to_json(state))
        if len(packed) <= most:
            return packed
        state = keep(state)
    packed = _text(_to_json(state))
    return packed if len(packed) <= most else ""


def unpack(value: Any) -> LedgerState | None:
    """Read what :func:`pack` wrote, of this version or another; None where it cannot be read."""
    if not isinstance(value, str) or not value:
        return None
    try:
        stream = zlib.decompressobj()
        said = json.loads(stream.decompress(base64.b64decode(value, validate=True), _LARGEST))
        return _from_json(said)
    except (ValueError, zlib.error, KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError):
        return None


def _text(value: Any) -> str:
    plain = json.dumps(value, separators=(",", ":")).encode()
    return base64.b64encode(zlib.compress(plain, 9)).decode()


# ---- what goes first where it is too long


def _fewer_starts(state: LedgerState, *, live: bool = False) -> LedgerState:
    """
    Keep the newer half of the starts of each job that has ended, and its newest.

    What a live job's were says how long it has waited and trained so far: they go last.
    """
    jobs, dropped = {}, dict(state.dropped_starts)
    for name, job in state.jobs.items():
        gone = len(job.starts) // 2 if job.live is live else 0
        jobs[name] = replace(job, starts=job.starts[gone:])
        if gone:
            dropped[name] = dropped.get(name, 0) + gone
    return replace(state, jobs=jobs, dropped_starts=dropped)


def _fewer_live_starts(state: LedgerState) -> LedgerState:
    return _fewer_starts(state, live=True)


def _fewer_ticks(state: LedgerState) -> LedgerState:
    kept = {name: ticks[len(ticks) // 2 :] for name, ticks in state.ticks.items()}
    dropped = {
        name: state.dropped_ticks.get(name, 0) + len(ticks) - len(kept[name]) for name, ticks in state.ticks.items()
    }
    return replace(state, ticks=kept, dropped_ticks={name: gone for name, gone in dropped.items() if gone})


def _fewer_notes(state: LedgerState) -> LedgerState:
    gone = len(state.notes) // 2
    points = state.points[len(state.points) // 2 :]
    again = {name: spans[len(spans) // 2 :] for name, spans in state.again.items()}
    notes = state.notes[gone:]
    return replace(state, notes=notes, dropped_notes=state.dropped_notes + gone, points=points, again=again)


def _fewer_jobs(state: LedgerState) -> LedgerState:
    ordered = in_order(state.jobs.values())
    kept = ordered[(3 * len(ordered)) // 4 :]
    names = {job.job_name for job in kept}
    return replace(
        state,
        jobs={job.job_name: job for job in kept},
        dropped_jobs=state.dropped_jobs + len(ordered) - len(kept),
        ticks={name: ticks for name, ticks in state.ticks.items() if name in names},
        again={name: spans for name, spans in state.again.items() if name in names},
        dropped_ticks={name: gone for name, gone in state.dropped_ticks.items() if name in names},
        dropped_starts={name: gone for name, gone in state.dropped_starts.items() if name in names},
    )


def _newest_only(state: LedgerState) -> LedgerState:
    """Keep the newest job with its newest starts, whatever it was that took the room."""
    newest = in_order(state.jobs.values())[-1:]
    jobs = {job.job_name: replace(job, starts=job.starts[-3:]) for job in newest}
    gone = state.dropped_jobs + len(state.jobs) - len(jobs)
    bare = replace(state, jobs=jobs, dropped_jobs=gone, ticks={}, again={}, notes=(), points=())
    return replace(bare, dropped_ticks={}, dropped_starts={}, reported=None)


_THINNER: tuple[Callable[[LedgerState], LedgerState], ...] = (
    *(_fewer_starts,) * 5,
    *(_fewer_ticks,) * 6,
    *(_fewer_notes,) * 4,
    *(_fewer_jobs,) * 4,
    *(_fewer_live_starts,) * 8,
    _newest_only,
)


# ---- as JSON


def _to_json(state: LedgerState) -> dict[str, Any]:
    zero = round(state.began.timestamp(), 3)

    def at(moment: datetime | None) -> float | None:
        return None if moment is None else round(moment.timestamp() - zero, 3)

    return {
        "v": VERSION,
        "key": state.key,
        "task": [state.dag_id, state.run_id, state.task_id, state.map_index, state.try_number],
        "zero": zero,
        "place": [state.region, state.partition],
        "generation": state.generation,
        "jobs": [_job_to_json(job, at) for job in state.jobs.values()],
        "notes": [[at(one.at), one.what, one.why] for one in state.notes],
        "ticks": {name: [[at(one.at), one.step] for one in ticks] for name, ticks in state.ticks.items()},
        "again": {
            name: [[one.start, at(one.begin), at(one.end)] for one in spans] for name, spans in state.again.items()
        },
        "dropped": [state.dropped_notes, state.dropped_jobs, dict(state.dropped_ticks), dict(state.dropped_starts)],
        "lost": None if state.lost is None else round(state.lost, 1),
        "phase": [state.phase.state, at(state.phase.since), state.phase.reason] if state.phase else None,
        "awaited": list(state.awaited) if state.awaited else None,
        "reported": state.reported.to_json() if state.reported else None,
        "points": [[at(moment), step] for moment, step in state.points],
        "model": state.model,
        "deadline": at(state.deadline),
    }


def _job_to_json(job: Attempt, at: Callable[[datetime | None], float | None]) -> dict[str, Any]:
    place = job.placement
    whole = {
        "name": job.job_name,
        "place": [place.instance_type, place.instance_count, place.spot, [list(group) for group in place.groups]],
        "status": [job.status, job.secondary_status, job.outcome.value if job.outcome else None],
        "rung": job.rung,
        "sums": [job.interruptions, job.training_seconds, job.billable_seconds],
        "times": [at(job.created), at(job.ended), at(job.uploading)],
        "starts": [
            [at(one.asked), at(one.granted), at(one.training), at(one.lost), at(one.ended)] for one in job.starts
        ],
        "reason": cut(job.failure_reason),
        "why": cut(job.why),
        "try": str(job.created_by) if job.created_by else None,
        "folder": job.checkpoint_s3_uri,
        "exit": job.exit_code,
        "part": not job.whole,
    }
    # Not by equality: an exit code of 0 is one.
    return {key: value for key, value in whole.items() if value is not None and value is not False and value != ""}


def _from_json(said: Mapping[str, Any]) -> LedgerState:
    zero = float(said["zero"])

    def moment(value: Any) -> datetime | None:
        if value is None:
            return None
        return datetime.fromtimestamp(zero + float(value), timezone.utc)

    def sure(value: Any) -> datetime:
        return moment(value) or datetime.fromtimestamp(zero, timezone.utc)

    dag_id, run_id, task_id, map_index, try_number = said["task"]
    region, partition = said["place"]
    dropped_notes, dropped_jobs, dropped_ticks, dropped_starts = said["dropped"]
    found = (_job_from_json(each, moment) for each in said["jobs"])
    phase, awaited = said.get("phase"), said.get("awaited")
    return LedgerState(
        key=str(said["key"]),
        dag_id=str(dag_id),
        run_id=str(run_id),
        task_id=str(task_id),
        map_index=int(map_index),
        try_number=int(try_number),
        began=sure(0),
        region=str(region),
        partition=str(partition),
        generation=int(said["generation"]),
        jobs={job.job_name: job for job in found if job is not None},
        notes=tuple(Decision(sure(at), str(what), str(why)) for at, what, why in said["notes"]),
        dropped_notes=int(dropped_notes),
        ticks={
            str(name): tuple(Tick(sure(at), None if step is None else int(step)) for at, step in ticks)
            for name, ticks in said["ticks"].items()
        },
        dropped_ticks=_counts(dropped_ticks),
        dropped_starts=_counts(dropped_starts),
        dropped_jobs=int(dropped_jobs),
        again={
            str(name): tuple(Again(int(start), sure(begin), sure(end)) for start, begin, end in spans)
            for name, spans in said["again"].items()
        },
        lost=amount(said.get("lost")),
        phase=Phase(str(phase[0]), sure(phase[1]), str(phase[2])) if phase else None,
        awaited=(str(awaited[0]), str(awaited[1])) if awaited else None,
        reported=ScriptProgress.from_json(said.get("reported")),
        points=tuple((sure(at), int(step)) for at, step in said["points"]),
        model=None if said.get("model") is None else str(said["model"]),
        deadline=moment(said.get("deadline")),
    )


def _job_from_json(said: Mapping[str, Any], moment: Callable[[Any], datetime | None]) -> Attempt | None:
    name = JobName.parse(str(said["name"]))
    if name is None:
        return None
    kind, number, spot, *groups = said["place"]
    status, secondary, ended_as = said["status"]
    known = {outcome.value: outcome for outcome in Outcome}
    outcome = None if ended_as is None else known.get(ended_as, Outcome.UNKNOWN)
    created, ended, uploading = said["times"]
    interruptions, trained, billed = said["sums"]
    return Attempt(
        name=name,
        job_name=str(said["name"]),
        placement=Placement(str(kind), int(number), bool(spot), _groups(groups)),
        status=str(status),
        secondary_status=str(secondary),
        outcome=outcome,
        rung=str(said.get("rung") or ""),
        interruptions=int(interruptions),
        training_seconds=int(trained),
        billable_seconds=int(billed),
        created=moment(created),
        ended=moment(ended),
        failure_reason=str(said.get("reason") or ""),
        created_by=TryMark.parse(said.get("try")),
        checkpoint_s3_uri=str(said.get("folder") or ""),
        exit_code=None if said.get("exit") is None else int(said["exit"]),
        why=str(said.get("why") or ""),
        starts=tuple(Start(*map(moment, one)) for one in said.get("starts") or ()),
        whole=not said.get("part"),
        uploading=moment(uploading),
    )


def _groups(groups: Iterable[Any]) -> tuple[tuple[str, int], ...]:
    return tuple((str(kind), int(number)) for each in groups for kind, number in each)


def _counts(value: Mapping[str, Any]) -> dict[str, int]:
    return {str(name): read for name, number in value.items() if (read := count(number)) is not None}
