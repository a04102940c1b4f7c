"""Two or three runs that want one job: whatever the order of their reads and writes, one of them has it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from airflow_spot.core.claims import TAG_ADOPTED, TAG_CLAIM, WITHDRAWN, Claims, Step
from airflow_spot.core.try_marks import TryMark


def wants(tags: dict[str, str], key: str) -> Iterator[str | None]:
    """What a run does: each step is one call, and between two of them any other run may do any of its own."""
    while True:
        claims = Claims.of(dict(tags), key)
        yield None
        step = claims.step(key)
        if step is Step.CLAIM:
            tags[TAG_CLAIM + key] = str(TryMark(1, 1))
        elif step is Step.WITHDRAW:
            tags[TAG_CLAIM + key] = WITHDRAWN
        elif step is Step.TAKE:
            tags[TAG_ADOPTED] = key
            yield key
            return
        elif step is Step.DONE:
            yield claims.owner
            return
        yield None


@given(st.lists(st.integers(0, 2), max_size=60), st.permutations(["a", "b", "c"]), st.integers(2, 3))
def test_one_run_has_the_job_whatever_the_order(schedule: list[int], keys: list[str], count: int) -> None:
    tags: dict[str, str] = {"airflow-spot:owner": "1", "team": "ml"}
    runs = {key: wants(tags, key) for key in keys[:count]}
    ends: dict[str, str] = {}

    def go(key: str) -> None:
        if key not in ends and (end := next(runs[key])) is not None:
            ends[key] = end

    for each in schedule:
        go(keys[each % count])
    for _ in range(20):  # then all continue in turn
        for key in runs:
            go(key)
    assert len(ends) == count
    assert len({*ends.values(), tags[TAG_ADOPTED]}) == 1


def test_a_run_that_is_gone_keeps_others_from_it_and_not_its_own_next_try() -> None:
    for gone, other in permutations("ab"):
        tags = {TAG_CLAIM + gone: "1 1 - -"}
        assert Claims.of(tags, other).step(other) is Step.WAIT
        assert Claims.of(tags, gone).step(gone) is Step.TAKE


def test_a_claim_of_a_newer_version_is_one() -> None:
    claims = Claims.of({TAG_CLAIM + "b": "something new"}, "a")
    assert (claims.others, claims.step("a")) == (("b",), Step.WAIT)
    assert Claims.of({TAG_CLAIM + "b": WITHDRAWN}, "a").step("a") is Step.CLAIM
