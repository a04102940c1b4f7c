"""Discounts: assumed, but within what was recorded."""

from __future__ import annotations

import pytest

from airflow_spot.local.market.prices import billable_seconds, spot_discount


@pytest.mark.parametrize(
    "instance_type", ["ml.c5.xlarge", "ml.m5.large", "ml.t3.medium", "ml.p3.2xlarge", "ml.p4d.24xlarge", "ml.new.big"]
)
def test_a_discount_is_one_that_was_seen(instance_type: str) -> None:
    assert 0.31 <= spot_discount(instance_type) <= 0.79


def test_the_recorded_families() -> None:
    # ml.g5.2xlarge in 2026: 9,527 seconds of training, 6,386 billed.
    assert billable_seconds(9527, "ml.g5.2xlarge", spot=True) == pytest.approx(6386, rel=0.02)
    assert spot_discount("ml.p5.48xlarge") == 0.62
    assert billable_seconds(100, "ml.g5.2xlarge", spot=False) == 100
