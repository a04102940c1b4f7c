"""What a driver says of an element that went while the page was loaded again."""

from __future__ import annotations

import pytest

from tests.support.browser import is_gone

INSPECTOR = "unknown error: unhandled inspector error: "


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ("no such element", "Unable to locate element"),
        ("stale element reference", "stale element not found"),
        ("unknown error", INSPECTOR + '{"code":-32000,"message":"Node with given id does not belong to the document"}'),
        ("unknown error", INSPECTOR + '{"code":-32000,"message":"Cannot find context with specified id"}'),
        ("unknown error", "unknown error: aborted by navigation"),
    ],
)
def test_an_element_that_went_is_looked_for_again(error: str, message: str) -> None:
    assert is_gone(error, message)


@pytest.mark.parametrize(
    ("error", "message"),
    [("unknown error", "session deleted because of page crash"), ("element not interactable", "element has no size")],
)
def test_other_errors_are_errors(error: str, message: str) -> None:
    assert not is_gone(error, message)
