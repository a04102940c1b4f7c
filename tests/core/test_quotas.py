"""The texts of ResourceLimitExceeded: which limit, and whether a wait mends it."""

from __future__ import annotations

import pytest

from airflow_spot.core.quotas import read_limit

TEXT = (
    "The account-level service limit {name} is {value} Instances, with current utilization of {used} Instances and a "
    "request delta of {needed} Instances. Please contact AWS support to request an increase for this limit."
)


@pytest.mark.parametrize(
    "name", ["'ml.p2.xlarge for training job usage'", "\u2018ml.p2.xlarge for training job usage\u2019"]
)
@pytest.mark.parametrize(
    ("value", "used", "needed", "read"),
    [
        ("0", "0", "2", (0, 2, True)),
        ("1,000", "1,000", "8", (1000, 8, False)),
        ("0.0", "0.0", "1.0", (0, 1, True)),
        ("4", "4", "1", (4, 1, False)),
    ],
)
def test_a_limit(name: str, value: str, used: str, needed: str, read: tuple[int, int, bool]) -> None:
    limit = read_limit(TEXT.format(name=name, value=value, used=used, needed=needed))
    assert limit is not None
    assert limit.name == "ml.p2.xlarge for training job usage"
    assert (limit.value, limit.needed, limit.too_small) == read


def test_a_limit_of_2018_has_no_quotes() -> None:
    limit = read_limit(TEXT.format(name="for training-job/ml.p2.xlarge", value=0, used=0, needed=2))
    assert limit is not None and limit.name == "training-job/ml.p2.xlarge" and limit.too_small


@pytest.mark.parametrize("text", ["", "Rate exceeded", "the service limit was reached"])
def test_other_texts_say_none(text: str) -> None:
    assert read_limit(text) is None
