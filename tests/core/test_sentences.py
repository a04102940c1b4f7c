"""Sentences put together."""

from __future__ import annotations

import pytest

from airflow_spot.core.sentences import sentences


@pytest.mark.parametrize(
    ("parts", "whole"),
    [
        (("One", "Two"), "One. Two"),
        (("One.", "", "Two."), "One. Two"),
        (("did you mean X?", "Nothing was sent"), "did you mean X? Nothing was sent"),
        (("did you mean X?", ""), "did you mean X?"),
        (("It is cut...", "Two"), "It is cut... Two"),
        (("It is cut...",), "It is cut..."),
        ((), ""),
    ],
)
def test_sentences(parts: tuple[str, ...], whole: str) -> None:
    assert sentences(*parts) == whole
