"""A run in little, as the page of all runs reads it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from airflow_spot.core.money.prices import Prices
from airflow_spot.core.timeline.forecast import expected_end
from airflow_spot.core.timeline.phase import phase_of
from airflow_spot.core.timeline.state import LedgerState
from airflow_spot.core.timeline.whole import money_json, totals_of
from airflow_spot.render.ledger_format import VERSION, Summary

#: Interruptions of which the moment is told.
INTERRUPTIONS_TOLD = 20


def summary_of(state: LedgerState, now: datetime, prices: Prices | None = None) -> Summary:
    """
    Return a run's summary: of its newest generation.

    :param now: by AWS's clock.
    :param prices: on-demand prices; without them no money.
    """
    attempts, phase, totals = state.attempts, phase_of(state), totals_of(state, now, prices)
    expected = expected_end(state, now)
    newest = state.live or (attempts[-1] if attempts else None)
    lost = sorted(
        (start.lost, attempt.placement.instance_type)
        for attempt in attempts
        for start in attempt.starts
        if start.lost is not None
    )
    interrupted: list[list[Any]] = [[int(at.timestamp()), kind] for at, kind in lost[-INTERRUPTIONS_TOLD:]]
    began = min((one.created for one in attempts if one.created is not None), default=state.began)
    twice = totals.trained_twice_seconds
    reported = state.reported
    return {
        "v": VERSION,
        "key": state.key,
        "state": phase.state,
        "since": int(phase.since.timestamp()),
        "began": int(began.timestamp()),
        "updated": int(now.timestamp()),
        "ended": int(phase.since.timestamp()) if state.is_over else None,
        "job": newest.job_name if newest else (state.awaited[0] if state.awaited else ""),
        "type": newest.placement.instance_type if newest else "",
        "count": newest.placement.instance_count if newest else 0,
        "spot": newest.placement.spot if newest else True,
        "generation": state.generation,
        "attempts": totals.attempts,
        "interruptions": totals.interruptions,
        "interrupted": interrupted,
        "waited": round(totals.waited_seconds),
        "trained": totals.training_seconds,
        "billed": totals.billable_seconds if totals.billed else None,
        "twice": None if twice is None else round(twice),
        "cost": money_json(totals.cost),
        "on_demand_cost": money_json(totals.on_demand_cost),
        "saved": money_json(totals.saved),
        "progress": [float(reported.step), float(reported.total or 0)] if reported else None,
        "deadline": int(state.deadline.timestamp()) if state.deadline else None,
        "forecast": [int(moment.timestamp()) for moment in expected] if expected else None,
    }
