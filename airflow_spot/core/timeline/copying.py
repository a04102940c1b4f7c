"""Both values of the copy that pages read, under the keys of their XComs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from airflow_spot.core.money.prices import Prices
from airflow_spot.core.timeline.state import LedgerState
from airflow_spot.core.timeline.summary import summary_of
from airflow_spot.core.timeline.whole import timeline_of
from airflow_spot.render.ledger_format import SUMMARY_KEY, TIMELINE_KEY


def copy_of(state: LedgerState, now: datetime, prices: Prices | None = None) -> dict[str, Any]:
    """Return what is written of a run, whole."""
    return {TIMELINE_KEY: timeline_of(state, now, prices), SUMMARY_KEY: summary_of(state, now, prices)}
