"""AWS's time by its answers' Date: of a machine whose clock is wrong, and of one whose clock is right."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest

from airflow_spot.aws.clock import TOLERANCE_SECONDS, AwsClock
from airflow_spot.hooks.training import SageMakerSpotTrainingHook
from airflow_spot.local import LocalSageMaker

NOW = 1_770_000_000.4


@pytest.mark.parametrize("ahead", [-86_400.0, -600.0, -4.0, 4.0, 600.0, 86_400.0])
def test_a_wrong_clock_is_set_right_to_a_second(ahead: float) -> None:
    clock = AwsClock(lambda: NOW + ahead)
    clock.heard(formatdate(NOW, usegmt=True))
    assert clock.now() == pytest.approx(NOW, abs=1.0)


@pytest.mark.parametrize("late", [0.0, 0.9, TOLERANCE_SECONDS - 1])
def test_a_clock_that_is_right_is_left_alone(late: float) -> None:
    clock = AwsClock(lambda: NOW + late)
    clock.heard(formatdate(NOW, usegmt=True))
    assert clock.offset == 0.0


@pytest.mark.parametrize("date", [None, "", "yesterday", "Mon, 99 Foo 2026 00:00:00 GMT"])
def test_what_is_no_date_says_nothing(date: str | None) -> None:
    clock = AwsClock(lambda: NOW)
    clock.heard(formatdate(NOW + 100, usegmt=True))
    before = clock.offset
    clock.heard(date)
    assert clock.offset == before


def test_a_clock_that_is_set_right_meanwhile_is_believed_again() -> None:
    machine = [NOW + 600]
    clock = AwsClock(lambda: machine[0])
    clock.heard(formatdate(NOW, usegmt=True))
    machine[0] = NOW
    clock.heard(formatdate(NOW, usegmt=True))
    assert clock.offset == 0.0


def test_the_hook_hears_it_from_each_answer_and_local_sagemaker_says_its_own_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with LocalSageMaker(engine="simulated", time_scale=3600.0) as service:
        for name, value in service.environ.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", "aws://")
        hook = SageMakerSpotTrainingHook()
        assert hook.clock.offset == 0.0
        time.sleep(0.1)  # six minutes there
        assert hook.find("no-such-job") is None  # a refusal has a Date too
        assert hook.clock.offset > 60.0
