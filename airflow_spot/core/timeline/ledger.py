"""The ledger of a run: its whole story as one JSON value, made from SageMaker alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from airflow_spot.core.attempt import Attempt
from airflow_spot.core.history import History
from airflow_spot.core.money.prices import Prices
from airflow_spot.core.money.totals import total
from airflow_spot.core.result import attempt_facts
from airflow_spot.core.roles import Role
from airflow_spot.core.starts import Start

LEDGER_VERSION = 1


def ledger(
    key: str, task: Mapping[str, Any], jobs: Sequence[Attempt], now: datetime, prices: Prices | None = None
) -> dict[str, Any]:
    """
    Return a run's ledger. Keys are only ever added.

    :param key: the run key.
    :param task: the ids of its task instance.
    :param jobs: of all generations and roles.
    :param now: until when what is not over counts.
    :param prices: on-demand prices; without them no money.
    """
    generations = sorted({job.name.generation for job in jobs})
    histories = [History.of(generation, jobs) for generation in generations]
    attempts = [attempt for history in histories for attempt in history.attempts]
    return {
        "v": LEDGER_VERSION,
        "run_key": key,
        **task,
        "generations": [_generation(history, jobs, now, prices) for history in histories],
        "totals": {"attempts": len(attempts), **total(attempts, now, prices).to_json()},
    }


def _generation(history: History, jobs: Sequence[Attempt], now: datetime, prices: Prices | None) -> dict[str, Any]:
    others = [job for job in jobs if job.name.generation == history.generation and job.role is not Role.ATTEMPT]
    return {
        "generation": history.generation,
        "checkpoint_s3_uri": history.checkpoint_s3_uri or None,
        "attempts": [_job(attempt, now, prices) for attempt in history.attempts],
        "other_jobs": [_job(job, now, prices) for job in others],
        "totals": total(history.attempts, now, prices).to_json(),
    }


def _job(job: Attempt, now: datetime, prices: Prices | None) -> dict[str, Any]:
    return {
        "number": job.number,
        "role": job.role.value,
        **attempt_facts(job, now, prices),
        "rung": job.rung,
        "status": job.status,
        "secondary_status": job.secondary_status,
        "created": _iso(job.created),
        "ended": None if job.live else _iso(job.ended),
        "failure_reason": job.failure_reason or None,
        "created_by": str(job.created_by) if job.created_by else None,
        "stop": str(job.stop) if job.stop else None,
        "request": str(job.request) if job.request else None,
        "delivered_by": str(job.delivered_by) if job.delivered_by else None,
        "starts": [_start(start) for start in job.starts],
    }


def _start(start: Start) -> dict[str, Any]:
    return {
        "asked": _iso(start.asked),
        "granted": _iso(start.granted),
        "training": _iso(start.training),
        "lost": _iso(start.lost),
        "ended": _iso(start.ended),
    }


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
