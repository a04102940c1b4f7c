"""Arguments get into the job as JSON, bound to the function's parameters, and the checkpointer beside them."""

from __future__ import annotations

import inspect
import json
import math
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import XComArg
from airflow.sdk import task as airflow_task
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_spot.core.parameter_errors import InvalidParameterError
from airflow_spot.decorators._arguments import bind, wants_checkpoint, without_checkpoint

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def every_kind(a: Any, /, b: Any, c: Any = 1, *rest: Any, d: Any = 2, checkpoint: Any = None, **more: Any) -> Any:
    return {"a": a, "b": b, "c": c, "rest": list(rest), "d": d, "more": more, "checkpoint": checkpoint}


def ordinary(checkpoint: Any, a: Any, b: Any = 5) -> Any:
    return {"a": a, "b": b, "checkpoint": checkpoint}


def called(function: Any, call: Any) -> Any:
    """What the container does with a call."""
    call = json.loads(json.dumps(call, allow_nan=False))
    return function(*call["args"], **call["kwargs"], checkpoint="injected")


@settings(max_examples=40)
@given(
    a=JSON, b=JSON, c=JSON, rest=st.lists(JSON, max_size=2), d=JSON, more=st.dictionaries(st.text(), JSON, max_size=2)
)
def test_a_call_in_the_job_is_the_call_in_the_dag(a: Any, b: Any, c: Any, rest: Any, d: Any, more: Any) -> None:
    more = {key: value for key, value in more.items() if key not in ("b", "c", "d", "checkpoint")}
    call = bind(without_checkpoint(every_kind), (a, b, c, *rest), {"d": d, **more})
    expected = {"a": a, "b": b, "c": c, "rest": rest, "d": d, "more": more, "checkpoint": "injected"}
    assert called(every_kind, call) == expected


def test_defaults_are_the_functions_own_and_order_is_kept() -> None:
    function = without_checkpoint(every_kind)
    assert called(every_kind, bind(function, (0,), {"b": 7})) == every_kind(0, 7, checkpoint="injected")
    assert called(ordinary, bind(without_checkpoint(ordinary), (7,), {})) == ordinary("injected", 7)


def test_the_injected_parameter_is_none_of_the_callers() -> None:
    seen = without_checkpoint(ordinary)
    assert list(inspect.signature(seen).parameters) == ["a", "b"]
    assert wants_checkpoint(seen) and seen.__name__ == "ordinary" and not hasattr(seen, "__wrapped__")
    assert list(inspect.signature(ordinary).parameters) == ["checkpoint", "a", "b"], "the function itself is changed"
    assert seen("c", 1) == ordinary("c", 1)
    with pytest.raises(TypeError, match="checkpoint"):
        bind(seen, (), {"a": 1, "checkpoint": 2})

    def plain(a: int) -> int:
        return a

    assert without_checkpoint(plain) is plain and not wants_checkpoint(plain)


def test_it_has_to_be_a_keyword_where_positions_are_taken() -> None:
    def first(checkpoint: Any, /) -> None: ...

    def before_rest(checkpoint: Any, *rest: Any) -> None: ...

    for function in (first, before_rest):
        with pytest.raises(InvalidParameterError, match=r"write it as a keyword, behind a `\*`"):
            without_checkpoint(function)


def test_what_airflow_would_inject_is_refused_unless_it_is_passed() -> None:
    def dated(ds: str, params: Any) -> None: ...

    with pytest.raises(InvalidParameterError, match=r"dated\(ds\) is of Airflow's context, which is not in the job"):
        bind(dated, (), {"params": {}})
    assert bind(dated, ("2026-01-01", {}), {})["kwargs"] == {"ds": "2026-01-01", "params": {}}


class Thing:
    pass


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (Thing(), r"ordinary\(a\) is an object of Thing: only JSON gets into the job: pass text, numbers"),
        ({"x": [1, Path("/data")]}, r"ordinary\(a\)\['x'\]\[1\] is an object of PosixPath: .* here str\(\) of it"),
        (datetime(2026, 1, 1, tzinfo=timezone.utc), r"object of datetime: .* its isoformat\(\)"),
        (timedelta(1), r"its total_seconds\(\)"),
        ({1, 2}, "a list of it"),
        (range(3), "a list of it"),
        (b"x", "base64"),
        (math.nan, "nan: JSON has no such number"),
        ([math.inf], r"ordinary\(a\)\[0\] is inf"),
        ({1: 2}, r"the key 1 is a number: JSON's keys are text"),
    ],
)
def test_what_is_no_json_is_named_by_its_place(value: Any, said: str) -> None:
    for rendered in (True, False):
        with pytest.raises(InvalidParameterError, match=said):
            bind(without_checkpoint(ordinary), (), {"a": value}, rendered=rendered)


def test_a_value_is_not_shown_since_it_may_be_a_secret() -> None:
    with pytest.raises(InvalidParameterError) as refusal:
        bind(without_checkpoint(ordinary), ({"password": b"hush"},), {})
    assert "hush" not in str(refusal.value)


def test_results_of_other_tasks_are_left_alone_until_they_are_there() -> None:
    @airflow_task
    def before() -> int:
        return 1

    made = before()
    assert isinstance(made, XComArg)
    bind(without_checkpoint(ordinary), (), {"a": [made]}, rendered=False)
    with pytest.raises(InvalidParameterError, match="PlainXComArg"):
        bind(without_checkpoint(ordinary), (), {"a": [made]})


def test_sequences_that_are_no_lists_become_lists() -> None:
    """As Airflow hands over the results of a mapped task."""
    from collections.abc import Sequence

    class Lazy(Sequence[Any]):
        def __getitem__(self, index: Any) -> Any:
            return (0, (1, 2))[index]

        def __len__(self) -> int:
            return 2

    assert bind(without_checkpoint(ordinary), (Lazy(),), {})["kwargs"] == {"a": [0, [1, 2]]}
