"""Ledgers as hypothesis makes them up: anything that the format allows, whether or not it makes sense."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from airflow_spot.render.ledger_format import STATES, VERSION

times = st.one_of(
    st.floats(-1e6, 1e7, allow_nan=False), st.sampled_from([0.0, -1e10, 1e10, 0.1, 59.9, 86_400.0, 1e-9])
).map(lambda value: round(value, 1))
maybe_times = st.none() | times
counts = st.integers(0, 10**9)
texts = st.one_of(
    # JSON may hold half of a pair of surrogates, which is no text that can be sent.
    st.sampled_from(["", "attempt", "probe", "completed", "no_capacity", "<script>alert(1)</script>", "ml.\ud800"]),
    st.text(max_size=30),
)
monies = st.none() | st.fixed_dictionaries(
    {
        "amount": st.decimals(-(10**6), 10**9, allow_nan=False, allow_infinity=False, places=4).map(str),
        "currency": st.sampled_from(["USD", "EUR", "CNY", "<b>"]),
    }
)

attempts = st.fixed_dictionaries(
    {
        "generation": st.integers(0, 4),
        "number": st.integers(0, 50),
        "role": texts,
        "job": texts,
        "type": texts,
        "count": st.integers(-1, 20),
        "spot": st.booleans(),
        "rung": texts,
        "why": texts,
        "tried_by": st.none() | counts,
        "created": times,
        "ended": maybe_times,
        "status": texts,
        "secondary_status": texts,
        "outcome": st.none() | texts,
        "label": texts,
        "reason": texts,
        "exit_code": st.none() | st.integers(-255, 255),
        "interruptions": counts,
        "training_seconds": counts,
        "billable_seconds": st.none() | counts,
        "cost": monies,
        "checkpoint_s3_uri": st.none() | texts,
        "starts": st.lists(st.lists(maybe_times, min_size=5, max_size=5), max_size=6),
        "uploading": st.none() | st.lists(maybe_times, min_size=2, max_size=2),
        "ticks": st.lists(st.tuples(times, st.none() | st.floats(-1e15, 1e15)).map(list), max_size=6),
        "again": st.lists(st.tuples(times, times).map(list), max_size=4),
        "more_starts": counts,
        "more_ticks": counts,
    }
)
totals = st.dictionaries(
    st.sampled_from(
        [
            "interruptions",
            "waited_seconds",
            "launch_seconds",
            "training_seconds",
            "billable_seconds",
            "trained_twice_seconds",
            "spot_discount_percent",
            "savings_percent",
            "cost",
            "on_demand_cost",
            "saved",
        ]
    ),
    st.none() | counts | st.floats(-1e9, 1e9) | monies | texts,
)
progress = st.none() | st.dictionaries(
    st.sampled_from(["step", "total", "percent", "metrics", "at"]), st.none() | counts | st.floats(-10, 1e12) | texts
)
timelines: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "v": st.just(VERSION),
        "key": texts,
        "dag_id": texts,
        "run_id": texts,
        "task_id": texts,
        "map_index": st.integers(-1, 100),
        "try_number": st.integers(0, 10),
        "region": texts,
        "partition": texts,
        "t0": st.floats(-1e9, 3e9),
        "updated": times,
        "state": st.sampled_from(STATES) | texts,
        "since": times,
        "reason": texts,
        "generation": st.integers(0, 4),
        "attempts": st.lists(attempts, max_size=15),
        "more_attempts": counts,
        "decisions": st.lists(st.tuples(times, texts, texts).map(list), max_size=8),
        "more_decisions": counts,
        "progress": progress,
        "points": st.lists(st.tuples(times, st.floats(-1e15, 1e15)).map(list), max_size=8),
        "model": st.none() | texts,
        "deadline": maybe_times,
        "forecast": st.none() | st.tuples(times, times, times).map(list),
        "totals": totals,
    }
)
summaries: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "v": st.just(VERSION),
        "key": texts,
        "state": st.sampled_from(STATES) | texts,
        "since": times,
        "began": times,
        "updated": times,
        "ended": maybe_times,
        "job": texts,
        "type": texts,
        "count": st.integers(0, 20),
        "spot": st.booleans(),
        "generation": st.integers(1, 4),
        "attempts": counts,
        "interruptions": counts,
        "interrupted": st.lists(st.tuples(times, texts).map(list), max_size=5),
        "waited": counts,
        "trained": counts,
        "billed": st.none() | counts,
        "twice": st.none() | counts,
        "cost": monies,
        "on_demand_cost": monies,
        "saved": monies,
        "progress": st.none() | st.tuples(st.floats(-1e9, 1e9), st.floats(-1, 1e9)).map(list),
        "deadline": maybe_times,
        "forecast": st.none() | st.tuples(times, times, times).map(list),
    }
)
#: Any JSON.
anything: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
