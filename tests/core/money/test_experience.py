"""What this account got of a type: summed over spot attempts of one type, by SageMaker's own figures."""

from __future__ import annotations

from datetime import datetime

import pytest

from airflow_spot.core.ladder import Rung
from airflow_spot.core.money.advice import TypeFigures, expected_interruptions
from airflow_spot.core.money.experience import Experience, experiences
from airflow_spot.core.outcomes import Outcome
from airflow_spot.core.placement import Placement
from airflow_spot.core.starts import Start
from tests.core.cases import NOW, attempt, later

KIND = "ml.g5.xlarge"
DONE = Outcome.COMPLETED


def start(asked: int, granted: int | None, training: int | None, ended: int | None = None) -> Start:
    def at(minutes: int | None) -> datetime | None:
        return None if minutes is None else later(minutes=minutes)

    return Start(at(asked), at(granted), at(training), None, at(ended))


def of(*attempts: object) -> dict[str, Experience]:
    return experiences(attempts, NOW)  # type: ignore[arg-type]


def test_it_is_summed_by_type() -> None:
    found = of(
        attempt(1, DONE, interruptions=2, training_seconds=7200, billable_seconds=3600),
        attempt(2, DONE, interruptions=1, training_seconds=3600, billable_seconds=1800),
        attempt(1, DONE, rung=Rung("ml.g6.xlarge"), training_seconds=60, billable_seconds=60),
    )
    assert set(found) == {KIND, "ml.g6.xlarge"}
    assert (str(found[KIND]), found[KIND].discount) == ("3 interruptions in 3 h", 0.5)
    assert (found[KIND].enough, found["ml.g6.xlarge"].enough) == (True, False)


def test_on_demand_and_clusters_of_several_types_say_nothing_of_spot() -> None:
    groups = Placement("ml.g5.xlarge, ml.m5.large", 2, True, (("ml.g5.xlarge", 1), ("ml.m5.large", 1)))
    mixed = attempt(2, DONE, training_seconds=7200)
    assert of(attempt(1, DONE, rung=Rung(KIND, spot=False), training_seconds=7200)) == {}
    assert of(mixed.__class__(**{**vars(mixed), "placement": groups})) == {}


def test_what_was_billed_is_that_of_the_jobs_that_have_ended() -> None:
    found = of(
        attempt(1, DONE, training_seconds=7200, billable_seconds=3600),
        attempt(2, None, training_seconds=3600, billable_seconds=0, interruptions=1),
    )[KIND]
    assert (found.discount, found.trained_hours, found.totals.interruptions) == (0.5, 3.0, 1)


def test_nothing_billed_is_no_discount() -> None:
    assert of(attempt(1, None))[KIND].discount is None
    assert of(attempt(1, Outcome.NO_CAPACITY))[KIND].discount is None


def test_waits_and_changeovers_are_those_of_starts_that_had_instances() -> None:
    starts = (start(0, 4, 10, 60), start(60, 62, 66, 90), start(90, None, None))
    found = of(attempt(1, DONE, starts=starts, training_seconds=4440))[KIND]
    assert found.waits == (240.0, 120.0)
    assert found.changeover_minutes == pytest.approx((10 + 6) / 2)
    assert of(attempt(1, DONE))[KIND].changeover_minutes is None


def test_a_job_of_many_instances_is_interrupted_as_often_as_any_of_them() -> None:
    """Four interruptions in two hours of eight instances: one in four hours of an instance."""
    mine = of(attempt(1, DONE, rung=Rung(KIND, instance_count=8), training_seconds=7200, interruptions=4))[KIND]
    assert (mine.trained_hours, mine.instance_hours) == (2, 16)
    alone, _ = expected_interruptions(TypeFigures(KIND, experience=mine), 4, 1)
    eight, _ = expected_interruptions(TypeFigures(KIND, experience=mine), 4, 8)
    assert alone == (0.5, 1.75)
    assert eight == (4.0, 14.0)
