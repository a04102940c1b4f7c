"""Pages and orders of lists, without a service."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_spot.local.api.call import Call
from airflow_spot.local.api.pagination import DEFAULT_ORDER, order, page
from airflow_spot.local.api.validation import operation_model
from airflow_spot.local.errors import ServiceError
from airflow_spot.local.http.registry import OPERATIONS


def default(operation: str, member: str) -> str:
    """What the model's text says that a member is by default."""
    shape = operation_model(operation).input_shape
    assert shape is not None
    found = re.search(r"default is <code>(\w+)</code>", shape.members[member].documentation)
    assert found is not None, (operation, member)
    return found[1]


def test_the_default_order_is_the_models_own() -> None:
    sorted_ones = {
        name
        for name in OPERATIONS
        if (shape := operation_model(name).input_shape) is not None and "SortOrder" in shape.members
    }
    assert sorted_ones == set(DEFAULT_ORDER)
    for name in sorted_ones:
        assert DEFAULT_ORDER[name] == (default(name, "SortBy"), default(name, "SortOrder")), name


def test_a_request_may_name_its_order() -> None:
    assert order(Call("ListTrainingJobs", {"SortBy": "Name", "SortOrder": "Descending"}, "r")) == ("Name", True)
    assert order(Call("ListModels", {}, "r")) == ("CreationTime", True)


def pages(before: set[int], after: set[int], size: int, *, descending: bool) -> tuple[list[int], list[int]]:
    """The first page of some items, and all further ones of what they have become."""

    def one(items: set[int], params: dict[str, Any]) -> tuple[list[int], dict[str, str]]:
        return page(items, {"MaxResults": size, **params}, lambda item: (item,), descending=descending)

    first, token = one(before, {})
    rest: list[int] = []
    while token:
        found, token = one(after, token)
        assert len(found) <= size
        rest += found
    return first, rest


@given(st.sets(st.integers()), st.sets(st.integers()), st.integers(1, 5), st.booleans())
def test_what_comes_and_goes_between_pages_neither_repeats_nor_hides(
    before: set[int], after: set[int], size: int, descending: bool
) -> None:
    first, rest = pages(before, after, size, descending=descending)
    assert [*first, *rest] == sorted({*first, *rest}, reverse=descending)
    assert len({*first, *rest}) == len(first) + len(rest)
    if len(before) > size:
        assert before & after <= {*first, *rest}
    else:
        assert set(first) == before


@pytest.mark.parametrize(
    "content", [None, 5, [], [1], [["a"], {}, {}], [5, {}], [[5], {"NameContains": "x"}], ["a", {}]]
)
def test_a_token_that_is_none_of_ours_is_refused(content: Any) -> None:
    token = base64.urlsafe_b64encode(json.dumps(content).encode()).decode()
    with pytest.raises(ServiceError, match="NextToken") as refused:
        page([1, 2], {"NextToken": token}, lambda item: (item,))
    assert refused.value.code == "ValidationException"


@pytest.mark.parametrize("token", ["nonsense", "\u00e4", base64.urlsafe_b64encode(b'[["a"], {}]').decode()])
def test_a_token_that_cannot_be_read_or_compared_is_refused(token: str) -> None:
    with pytest.raises(ServiceError, match=r"Invalid NextToken\."):
        page([1, 2], {"NextToken": token}, lambda item: (item,))
