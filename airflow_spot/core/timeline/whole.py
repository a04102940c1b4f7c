"""The timeline of a run, as its page reads it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from itertools import chain
from typing import Any

from airflow_spot.core.attempt import Attempt
from airflow_spot.core.money.prices import Money, Prices
from airflow_spot.core.money.totals import RunTotals, total
from airflow_spot.core.outcomes import ENDED_STATUSES
from airflow_spot.core.roles import Role
from airflow_spot.core.starts import Start
from airflow_spot.core.timeline.forecast import expected_end
from airflow_spot.core.timeline.phase import phase_of
from airflow_spot.core.timeline.state import REASON_LENGTH, LedgerState, cut, in_order
from airflow_spot.core.timeline.thinning import thinned
from airflow_spot.render.ledger_format import VERSION, AttemptLine, MoneyJson, Timeline


def totals_of(state: LedgerState, now: datetime, prices: Prices | None = None) -> RunTotals:
    """
    Return what the newest generation has come to: what the log says at its end, and the result.

    Of a job that trains, SageMaker says neither what it has trained nor what that costs: its starts tell the former.
    """
    return total([_so_far(attempt, now) for attempt in state.attempts], now, prices, state.lost)


def _so_far(job: Attempt, now: datetime) -> Attempt:
    return replace(job, training_seconds=round(job.trained_seconds(now))) if job.live else job


def timeline_of(state: LedgerState, now: datetime, prices: Prices | None = None) -> Timeline:
    """
    Return a run's timeline, thinned to the size that is kept of one.

    :param now: by AWS's clock.
    :param prices: on-demand prices; without them no money.
    """
    jobs = in_order(state.jobs.values())
    zero = min((job.created for job in jobs if job.created is not None), default=state.began)
    clock = _Clock(zero)
    phase, expected = phase_of(state), expected_end(state, now)
    totals = totals_of(state, now, prices)
    reason = phase.reason
    if phase.state == "failed" and (said := _last_reason(state)):
        reason = f"{phase.reason}: {said}" if phase.reason and said[:100] not in phase.reason else phase.reason or said
    return thinned(
        {
            "v": VERSION,
            "key": state.key,
            "dag_id": state.dag_id,
            "run_id": state.run_id,
            "task_id": state.task_id,
            "map_index": state.map_index,
            "try_number": state.try_number,
            "region": state.region,
            "partition": state.partition,
            "t0": round(zero.timestamp(), 3),
            "updated": clock.after(now),
            "state": phase.state,
            "since": clock.after(phase.since),
            "reason": reason[: 2 * REASON_LENGTH + 2],
            "generation": state.generation,
            "attempts": [_line(job, state, clock, now, prices) for job in jobs],
            "more_attempts": state.dropped_jobs,
            "decisions": _decisions(jobs, state, clock),
            "more_decisions": state.dropped_notes,
            "progress": state.reported.to_json() if state.reported else None,
            "points": [[clock.after(at), float(step)] for at, step in state.points],
            "model": state.model,
            "deadline": clock.after(state.deadline) if state.deadline else None,
            "forecast": [clock.after(moment) for moment in expected] if expected else None,
            "totals": {"attempts": totals.attempts, **totals.to_json()},
        }
    )


def money_json(money: Money | None) -> MoneyJson | None:
    """Return an amount as the format has it."""
    return None if money is None else {"amount": money.to_json()["amount"], "currency": money.currency}


class _Clock:
    """Seconds after a timeline's beginning."""

    def __init__(self, zero: datetime) -> None:
        self._zero = zero

    def after(self, moment: datetime) -> float:
        """Return a moment; one before the beginning is the beginning."""
        return max(0.0, round((moment - self._zero).total_seconds(), 1))

    def rising(self, moments: Iterable[datetime | None]) -> list[float | None]:
        """Return moments that follow on one another: a clock that was set back makes none earlier than the last."""
        made: list[float | None] = []
        last = 0.0
        for moment in moments:
            last = last if moment is None else max(last, self.after(moment))
            made.append(None if moment is None else last)
        return made


def _line(job: Attempt, state: LedgerState, clock: _Clock, now: datetime, prices: Prices | None) -> AttemptLine:
    known = job.whole or bool(job.starts)
    ticks = state.ticks.get(job.job_name, ())
    over = not job.live or job.status in ENDED_STATUSES
    job = _so_far(job, now)
    sums = total([job], now, prices)
    return {
        "generation": job.name.generation,
        "number": job.number,
        "role": job.role.value,
        "job": job.job_name,
        "type": job.placement.instance_type if known else "",
        "count": job.placement.instance_count if known else 0,
        "spot": job.placement.spot,
        "rung": job.rung,
        "why": cut(job.why),
        "tried_by": job.created_by.number if job.created_by else None,
        "created": clock.after(job.created) if job.created else 0.0,
        "ended": clock.after(job.ended) if over and job.ended else None,
        "status": job.status,
        "secondary_status": job.secondary_status,
        "outcome": job.outcome.value if job.outcome and known else None,
        "label": _label(job) if known else job.status.lower(),
        "reason": cut(job.failure_reason),
        "exit_code": job.exit_code,
        "interruptions": job.interruptions,
        "training_seconds": job.training_seconds,
        "billable_seconds": sums.billable_seconds if sums.billed else None,
        "cost": money_json(sums.cost),
        "checkpoint_s3_uri": job.checkpoint_s3_uri or None,
        "starts": [_start(one, clock) for one in job.starts] if known else [],
        "uploading": _uploading(job, clock, now),
        "ticks": [[clock.after(one.at), None if one.step is None else float(one.step)] for one in ticks],
        "again": [
            [begin, end]
            for one in state.again.get(job.job_name, ())
            if (begin := clock.after(one.begin)) <= (end := clock.after(one.end))
        ],
        "more_starts": state.dropped_starts.get(job.job_name, 0),
        "more_ticks": state.dropped_ticks.get(job.job_name, 0),
    }


def _label(job: Attempt) -> str:
    if job.outcome is None and job.status in ENDED_STATUSES:
        return job.status.lower()  # how, a worker reads
    return job.label


def _start(start: Start, clock: _Clock) -> list[float | None]:
    lost = start.lost if start.lost is not None else None
    asked, granted, training, ended = clock.rising((start.asked, start.granted, start.training, lost or start.ended))
    return [asked, granted, training, None if lost is None else ended, ended]


def _uploading(job: Attempt, clock: _Clock, now: datetime) -> list[float] | None:
    if job.uploading is None:
        return None
    ended = job.ended if (not job.live or job.status in ENDED_STATUSES) and job.ended else now
    begin = clock.after(job.uploading)
    return [begin, max(begin, clock.after(ended))]


def _decisions(jobs: Iterable[Attempt], state: LedgerState, clock: _Clock) -> list[list[Any]]:
    """Return why each attempt was made, as its job says, and what no job tells of, in order."""
    made = [
        (job.created, "attempt" if job.role is Role.ATTEMPT else job.role.value, job)
        for job in jobs
        if job.created is not None and job.why
    ]
    told = [(at, f"{kind} {job.number}", cut(job.why), job.name.generation) for at, kind, job in made]
    noted = [(one.at, one.what, one.why, state.generation) for one in state.notes]
    ordered = sorted(chain(told, noted), key=lambda one: one[0])
    return [[clock.after(at), what, why] for at, what, why, _ in ordered]


def _last_reason(state: LedgerState) -> str:
    """Return SageMaker's word on why the newest attempt failed."""
    return cut(state.attempts[-1].failure_reason) if state.attempts else ""
