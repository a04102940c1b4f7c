"""A create without an answer, a stop without effect, a kill while AWS throttles: nothing lives on for nobody."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_spot.compat.sdk import AirflowTaskTimeout
from airflow_spot.errors import (
    RunKilledError,
)
from airflow_spot.runs import stopping
from tests.operators.scene import deferred, operator, ti
from tests.support.sagemaker import DictionarySageMaker, error

pytestmark = pytest.mark.usefixtures("short_pauses")

# ---- a create without an answer, and a stop without effect


class LateBirth(DictionarySageMaker):
    """Carries out a create only some looks after its answer should have come."""

    looks, request = 3, dict[str, Any]()

    def create_training_job(self, **request: Any) -> dict[str, str]:
        self.request = request
        raise self.end

    def describe_training_job(self, TrainingJobName: str) -> dict[str, Any]:
        if self.request and TrainingJobName == self.request["TrainingJobName"]:
            self.looks -= 1
            if self.looks == 0:
                super().create_training_job(**self.request)
        return super().describe_training_job(TrainingJobName)

    end: BaseException = AirflowTaskTimeout("Timeout")


class Terminated(BaseException):
    """What Airflow 2 raises from its signal handler, once on_kill has returned."""


@pytest.mark.parametrize("end", [AirflowTaskTimeout("Timeout"), Terminated(), KeyboardInterrupt()])
def test_a_job_that_comes_to_life_after_the_tasks_end_is_stopped(end: BaseException) -> None:
    service = LateBirth()
    service.end = end
    context: Any = {"ti": ti()}
    with pytest.raises(type(end)):
        operator(service).execute(context)
    (job,) = service.jobs.values()
    assert job["TrainingJobStatus"] == "Stopping"


def test_a_create_that_never_comes_to_life_is_not_waited_for_for_ever(service: DictionarySageMaker) -> None:
    late = LateBirth()
    late.looks = 1_000
    context: Any = {"ti": ti()}
    with pytest.raises(AirflowTaskTimeout):
        operator(late).execute(context)
    assert not late.jobs


def test_a_kill_does_not_wait_for_the_create_that_it_interrupts(
    service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signal handler returns, and the call that it came in continues."""
    made = operator(service)
    create = service.create_training_job
    looks: list[int] = []

    def interrupted(**request: Any) -> Any:
        before = service.calls.count("DescribeTrainingJob")
        made.on_kill()
        looks.append(service.calls.count("DescribeTrainingJob") - before)
        return create(**request)

    monkeypatch.setattr(service, "create_training_job", interrupted)
    context: Any = {"ti": ti()}
    with pytest.raises(RunKilledError):
        made.execute(context)
    assert looks == [1]
    (job,) = service.jobs.values()
    assert job["TrainingJobStatus"] == "Stopping"


class Throttled(DictionarySageMaker):
    """Answers no call for the first so many."""

    refuses = 0

    def _called(self, operation: str) -> None:
        super()._called(operation)
        if self.refuses > 0:
            self.refuses -= 1
            raise error("ThrottlingException", "Rate exceeded", operation)


def test_a_kill_is_repeated_within_the_seconds_that_it_has(said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    service = Throttled()
    made = operator(service, deferrable=False)

    def killed(*_: Any) -> None:
        service.refuses = 20
        made.on_kill()
        raise Terminated

    monkeypatch.setattr("airflow_spot.runs.controller.interruptible_sleep", killed)
    context: Any = {"ti": ti()}
    with pytest.raises(Terminated):
        made.execute(context)
    (job,) = service.jobs.values()
    assert job["TrainingJobStatus"] == "Stopping"
    assert not any("could not be stopped" in line for line in said)


def test_a_kill_that_cannot_stop_in_its_seconds_says_who_will(said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    service = Throttled()
    made = operator(service, deferrable=False)
    monkeypatch.setattr(stopping, "ON_KILL_SECONDS", 0.05)

    def killed(*_: Any) -> None:
        service.refuses = 10_000
        made.on_kill()
        service.refuses = 0
        raise Terminated

    monkeypatch.setattr("airflow_spot.runs.controller.interruptible_sleep", killed)
    context: Any = {"ti": ti()}
    with pytest.raises(Terminated):
        made.execute(context)
    assert any("could not be stopped" in line and "airflow-spot orphans --stop" in line for line in said)
    (job,) = service.jobs.values()
    assert job["TrainingJobStatus"] == "Stopping"  # by the task itself, which was left to continue


def test_a_create_whose_answer_was_lost_and_whose_repetition_is_refused_has_its_job(
    service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first took the last of the quota, and the second is told that there is none."""
    create = service.create_training_job

    def lost(**request: Any) -> Any:
        if request["TrainingJobName"] in service.jobs:
            raise error("ResourceLimitExceeded", "The account-level service limit is reached", "CreateTrainingJob")
        create(**request)
        raise error("InternalFailure", "", "CreateTrainingJob")

    monkeypatch.setattr(service, "create_training_job", lost)
    trigger = deferred(service, ti())
    assert service.live() == [trigger.job_name]
