"""A stop is repeated until the job is seen to stop: an answer may come from what never reached it."""

from __future__ import annotations

import logging

import pytest

from airflow_spot.aws.marks import Marks
from airflow_spot.core.marks import StopMark
from airflow_spot.core.stop_reasons import StopReason
from tests.support.sagemaker import DictionarySageMaker

JOB = "train-afspot-abcdefghij-1-1"
MARK = StopMark(StopReason.KILLED, 1)


class Deaf(DictionarySageMaker):
    """Answers that it stops a job, and does so only at the last of several times."""

    heard_at = 1

    def stop_training_job(self, TrainingJobName: str) -> None:
        if self.calls.count("StopTrainingJob") + 1 < self.heard_at:
            self._called("StopTrainingJob")
        else:
            super().stop_training_job(TrainingJobName)


def stopped(heard_at: int, pauses: tuple[float, ...]) -> tuple[Deaf, list[float]]:
    service, slept = Deaf(), list[float]()
    service.heard_at = heard_at
    service.put(JOB)
    assert Marks(lambda: service, logging.getLogger("t"), slept.append).stop(JOB, MARK, pauses=pauses) is None
    return service, slept


@pytest.mark.parametrize(("heard_at", "pauses"), [(1, []), (2, [1.0]), (3, [1.0, 2.0])])
def test_it_is_told_until_it_stops(heard_at: int, pauses: list[float]) -> None:
    service, slept = stopped(heard_at, (1.0, 2.0, 4.0))
    assert service.jobs[JOB]["TrainingJobStatus"] == "Stopping"
    assert service.calls.count("StopTrainingJob") == heard_at
    assert slept == pauses


def test_one_that_trains_on_all_the_same_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    service, _ = stopped(9, (1.0, 2.0))
    assert service.jobs[JOB]["TrainingJobStatus"] == "InProgress"
    assert f"{JOB} was told to stop 3 times and still trains" in caplog.text


def test_without_pauses_it_is_not_looked_at() -> None:
    service, _ = stopped(2, ())
    assert service.calls.count("StopTrainingJob") == 1
    assert service.calls.count("DescribeTrainingJob") == 1
