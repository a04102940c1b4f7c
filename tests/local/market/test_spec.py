"""Market specifications: pure values."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_spot.local.market.spec import Constant, Random, Schedule, Script, State, parse_market

SECONDS = st.floats(min_value=0.001, max_value=1e6, allow_nan=False)


def states(spec: str, *elapsed: float, instance_type: str = "ml.m5.large") -> list[State]:
    schedule = Schedule(parse_market(spec).supply(instance_type), instance_type)
    return [schedule.at(time)[0] for time in elapsed]


def test_constants() -> None:
    assert parse_market("always").supply("ml.m5.large") == Constant(State.UP)
    assert states("never", 0, 1e9) == [State.DOWN, State.DOWN]
    assert Schedule(Constant(State.UP), "").at(5) == (State.UP, math.inf)


def test_a_script_repeats() -> None:
    spec = "script:up=6,down=4,up=1,fail=2"
    assert states(spec, 0, 5.9, 6, 9.9, 10, 11, 12.9, 13, 19) == [
        *(State.UP, State.UP, State.DOWN, State.DOWN, State.UP, State.FAIL, State.FAIL, State.UP, State.DOWN)
    ]


def test_an_infinite_segment_is_for_good() -> None:
    assert states("script:up=1,down=1,up=inf", 1.5, 2, 1e12) == [State.DOWN, State.UP, State.UP]


def test_per_type_the_first_match_counts() -> None:
    market = parse_market("ml.g5.xlarge=never; ml.g5.*=script:up=1,down=1 ;*=always")
    assert market.supply("ml.g5.xlarge") == Constant(State.DOWN)
    assert isinstance(market.supply("ml.g5.2xlarge"), Script)
    assert market.supply("ml.m5.large") == Constant(State.UP)
    assert parse_market("ml.g5.xlarge=never").supply("ml.m5.large") == Constant(State.UP)


def test_random_is_the_same_for_a_seed_and_differs_by_type() -> None:
    supply = parse_market("random:mean_up=3,mean_down=1,seed=4").supply("ml.m5.large")
    assert supply == Random(3, 1, 4)
    times = [0.5 * step for step in range(200)]
    spec = "random:mean_up=3,mean_down=1,seed=4"
    assert states(spec, *times) == states(spec, *times)
    assert states(spec, *times) != states(spec, *times, instance_type="ml.c5.large")
    assert states(spec, *times) != states("random:mean_up=3,mean_down=1,seed=5", *times)


def test_random_has_the_means_it_was_given() -> None:
    segments = Random(30, 10, 1).segments("ml.m5.large")
    lengths = [next(segments) for _ in range(20_000)]
    ups = [length for state, length in lengths if state is State.UP]
    downs = [length for state, length in lengths if state is State.DOWN]
    assert sum(ups) / len(ups) == pytest.approx(30, rel=0.05)
    assert sum(downs) / len(downs) == pytest.approx(10, rel=0.05)


def test_a_trace(tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    path.write_text(json.dumps({"metadata": {"gap_seconds": 10}, "data": [1, 2.5, 0, 0, 3]}))
    assert parse_market(f"trace:{path}").supply("x") == Script(((State.UP, 20), (State.DOWN, 20), (State.UP, 10)))


@pytest.mark.parametrize(
    ("spec", "part"),
    [
        ("sometimes", "'sometimes'"),
        ("script:up=1,sideways=2", "'sideways=2'"),
        ("script:up=0", "'up=0'"),
        ("script:up=-1,down=1", "'up=-1'"),
        ("script:up=soon", "'up=soon'"),
        ("script:", "''"),
        ("random:mean_up=1", "mean_down missing"),
        ("random:mean_up=1,mean_down=2,seed=x", "seed='x'"),
        ("random:mean_up=1,mean_down=2,mean=3", "'mean=3'"),
        ("random:mean_up=inf,mean_down=2", "infinite"),
        ("ml.g5.xlarge=never;always", "'always' is not TYPE=SPEC"),
        ("ml.g5.xlarge=perhaps", "'perhaps'"),
        ("trace:/no/such/file", "/no/such/file"),
        ("", "''"),
    ],
)
def test_what_is_wrong_is_named(spec: str, part: str) -> None:
    with pytest.raises(ValueError, match="market") as raised:
        parse_market(spec)
    assert part in str(raised.value)


@pytest.mark.parametrize("content", ["[]", "{}", '{"metadata": {"gap_seconds": 0}, "data": [1]}', "no json"])
def test_a_trace_file_that_is_none(tmp_path: Path, content: str) -> None:
    path = tmp_path / "trace.json"
    path.write_text(content)
    with pytest.raises(ValueError, match="gap_seconds"):
        parse_market(f"trace:{path}")


@given(st.lists(st.tuples(st.sampled_from(["up", "down", "fail"]), SECONDS), min_size=1, max_size=6), SECONDS)
def test_a_schedule_is_its_script(parts: list[tuple[str, float]], elapsed: float) -> None:
    spec = "script:" + ",".join(f"{name}={seconds!r}" for name, seconds in parts)
    total = sum(seconds for _, seconds in parts)
    elapsed = elapsed % (3 * total)
    state, end = Schedule(parse_market(spec).supply("x"), "x").at(elapsed)
    assert end > elapsed
    # Walk the script by hand to the same place.
    place, index = 0.0, 0
    while place + parts[index % len(parts)][1] <= elapsed:
        place += parts[index % len(parts)][1]
        index += 1
    assert state is State(parts[index % len(parts)][0])
    assert end == pytest.approx(place + parts[index % len(parts)][1])


@given(st.text(max_size=40))
def test_any_text_is_a_market_or_a_value_error(text: str) -> None:
    try:
        market = parse_market(text)
    except ValueError:
        return
    assert Schedule(market.supply("ml.m5.large"), "ml.m5.large").at(0)[1] > 0
