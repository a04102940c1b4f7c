"""How many ListTrainingJobs are answered."""

from __future__ import annotations

import pytest

from airflow_spot.local.api.call_rate import CallRate
from airflow_spot.local.errors import ServiceError


class Watch:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time


def answered(rate: CallRate, calls: int, region: str = "us-east-1") -> int:
    count = 0
    for _ in range(calls):
        try:
            rate.check("ListTrainingJobs", region)
        except ServiceError as error:
            assert (error.code, error.message) == ("ThrottlingException", "Rate exceeded")
        else:
            count += 1
    return count


def test_two_a_second_in_each_region_whoever_asks() -> None:
    watch = Watch()
    rate = CallRate(watch, 2)  # type: ignore[arg-type]
    assert answered(rate, 5) == 2
    assert answered(rate, 5, "eu-west-1") == 2
    watch.time = 0.5
    assert answered(rate, 5) == 1
    watch.time = 60.0
    assert answered(rate, 50) == 2


def test_other_operations_and_a_service_without_a_rate_are_not_limited() -> None:
    for _ in range(100):
        CallRate(Watch(), 2).check("DescribeTrainingJob", "us-east-1")  # type: ignore[arg-type]
    assert answered(CallRate(Watch(), None), 100) == 100  # type: ignore[arg-type]


@pytest.mark.parametrize("per_second", [0.01, 0.5])
def test_a_rate_below_one_lets_the_first_call_through(per_second: float) -> None:
    assert answered(CallRate(Watch(), per_second), 3) == 1  # type: ignore[arg-type]
