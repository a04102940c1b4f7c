"""Times are AWS's, and what a run has stopped itself it knows without tags."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_spot.runs import controller
from tests.operators.scene import WorkerLost, deferred, operator, resume, ti
from tests.support.sagemaker import DictionarySageMaker

pytestmark = pytest.mark.usefixtures("short_pauses")

# ---- clocks


@pytest.mark.parametrize("ahead", [-600.0, 0.0, 600.0])
@pytest.mark.parametrize("deferrable", [True, False])
def test_a_worker_whose_clock_is_wrong_makes_one_job_and_keeps_its_limits(
    service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch, ahead: float, deferrable: bool
) -> None:
    """Its rung waits for a minute: a clock that is ahead by ten would take each job for one that waits too long."""
    real = controller._now
    monkeypatch.setattr(controller, "_now", lambda: real() + timedelta(seconds=ahead))
    create = service.create_training_job

    def created(**request: Any) -> dict[str, str]:
        answer = create(**request)
        service.passes(request["TrainingJobName"], "Starting")
        return answer

    monkeypatch.setattr(service, "create_training_job", created)
    ladder = [{"instance_type": "ml.m5.large", "wait": "60s"}, {"instance_type": "ml.m5.xlarge"}]
    made = operator(service, deferrable=deferrable, check_interval=1, ladder=ladder)
    made.hook.clock.offset = -ahead
    context: Any = {"ti": ti(1, 3)}
    if deferrable:
        with pytest.raises(TaskDeferred):
            made.execute(context)
    else:
        looks = iter(range(3))

        def sleep(*_: Any) -> None:
            if next(looks, None) is None:
                raise WorkerLost

        monkeypatch.setattr("airflow_spot.runs.controller.interruptible_sleep", sleep)
        with pytest.raises(WorkerLost):
            made.execute(context)
    assert service.calls.count("CreateTrainingJob") == 1
    assert service.calls.count("StopTrainingJob") == 0


def test_the_limits_of_a_try_are_of_awss_time(service: DictionarySageMaker) -> None:
    made = operator(service, max_ingestion_time="1h")
    made.hook.clock.offset = 600.0
    context: Any = {"ti": ti()}
    before = time.time()
    with pytest.raises(TaskDeferred) as wait:
        made.execute(context)
    trigger: Any = wait.value.trigger
    assert before + 4200 <= trigger.until <= time.time() + 4200


@pytest.mark.parametrize("deferrable", [True, False])
@pytest.mark.parametrize("denied", [{"AddTags"}, {"ListTags"}, {"AddTags", "ListTags"}])
def test_without_tags_a_run_knows_which_job_it_has_stopped_itself(
    service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch, denied: set[str], deferrable: bool
) -> None:
    """A rung's wait is over: its job is stopped, and the next rung is tried; it is no person's stop."""
    create = service.create_training_job

    def created(**request: Any) -> dict[str, str]:
        answer = create(**request)
        service.passes(request["TrainingJobName"], "Starting")
        return answer

    def ends(name: str) -> None:
        if service.jobs[name]["TrainingJobStatus"] == "Stopping":
            service.put(name, "Stopped", "Stopped")

    monkeypatch.setattr(service, "create_training_job", created)
    service.denied = denied
    ladder = [{"instance_type": "ml.m5.large", "wait": "60s"}, {"instance_type": "ml.m5.xlarge"}]
    first = operator(service, deferrable=deferrable, check_interval=1, ladder=ladder)
    context: Any = {"ti": ti(1, 3)}
    if deferrable:
        trigger = deferred(service, ti(1, 3), ladder=ladder)
        service.jobs[trigger.job_name]["SecondaryStatusTransitions"][0]["StartTime"] -= timedelta(minutes=5)
        with pytest.raises(TaskDeferred) as wait:
            resume(first, ti(1, 3), trigger)
        stopping_: Any = wait.value.trigger
        ends(trigger.job_name)
        with pytest.raises(TaskDeferred) as wait:
            resume(operator(service, ladder=ladder), ti(1, 3), stopping_, "terminal")
        again: Any = wait.value.trigger
        assert again.job_name.endswith("-1-2")
    else:

        def sleep(*_: Any) -> None:
            (name, *more) = service.jobs
            if more:
                raise WorkerLost
            ends(name)
            for transition in service.jobs[name]["SecondaryStatusTransitions"]:
                transition["StartTime"] -= timedelta(minutes=5)

        monkeypatch.setattr("airflow_spot.runs.controller.interruptible_sleep", sleep)
        with pytest.raises(WorkerLost):
            first.execute(context)
    assert len(service.jobs) == 2
