"""Jobs of other roles in a worker: found though no list shows them, taken over, and stopped with the run."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_spot.core.events import Event, JobStopped
from airflow_spot.core.identity import JobName
from airflow_spot.core.roles import Role
from airflow_spot.core.run_state import RunState
from airflow_spot.core.try_marks import TryMark
from airflow_spot.errors import RunKilledError, ScriptError
from airflow_spot.runs.controller import TrainingRun
from tests.core.cases import RUN
from tests.runs.test_conflicts import FIRST, worker
from tests.support.sagemaker import DictionarySageMaker

PROBE = str(JobName("train", RUN.key, 1, 1, Role.PROBE))


@pytest.fixture
def service() -> DictionarySageMaker:
    """A run whose first try's attempt and probe are live."""
    made = DictionarySageMaker()
    for name in (FIRST, PROBE):
        made.put(name, Environment={"AIRFLOW_SPOT_RUN": RUN.key}, CheckpointConfig={"S3Uri": "s3://bucket/c"})
        made.add_tags(made.jobs[name]["TrainingJobArn"], [{"Key": "airflow-spot:owner", "Value": "1"}])
    return made


def started(service: DictionarySageMaker, number: int = 2) -> tuple[TrainingRun, list[Event]]:
    run = worker(service, TryMark(number, 5))
    heard: list[Event] = []
    run._observers = (heard.append,)
    run.begin()
    return run, heard


@pytest.mark.parametrize("denied", [set(), {"ListTrainingJobs"}])
def test_a_retry_takes_over_the_probe_and_stops_it_with_the_run(service: DictionarySageMaker, denied: set[str]) -> None:
    service.denied = denied
    service.put(FIRST, "Completed", "Completed")
    run, heard = started(service)
    assert service.tags_of(PROBE)["airflow-spot:owner"] == "2"
    description, _ = run.run()
    assert description["TrainingJobName"] == FIRST
    assert service.jobs[PROBE]["TrainingJobStatus"] == "Stopping"
    assert [event.job_name for event in heard if isinstance(event, JobStopped)] == [PROBE]


def test_a_failure_stops_it_too(service: DictionarySageMaker) -> None:
    run, _ = started(service)
    run.hook.job_log = lambda name: type("Log", (), {"tail": lambda self, limit: []})()  # type: ignore
    service.put(FIRST, "Failed", "Failed", FailureReason="AlgorithmError: why")
    run._refresh(FIRST)
    with pytest.raises(ScriptError):
        run.run()
    assert service.jobs[PROBE]["TrainingJobStatus"] == "Stopping"


def test_a_kill_stops_every_job(service: DictionarySageMaker) -> None:
    run, _ = started(service)
    run.kill()
    assert [service.jobs[name]["TrainingJobStatus"] for name in (FIRST, PROBE)] == ["Stopping"] * 2
    assert {service.tags_of(name)["airflow-spot:stop"] for name in (FIRST, PROBE)} == {"killed 2"}


def test_one_that_cannot_be_stopped_keeps_no_other_from_it(service: DictionarySageMaker) -> None:
    run, _ = started(service)
    stop = service.stop_training_job

    def refuses(TrainingJobName: str) -> None:
        if TrainingJobName == FIRST:
            raise ConnectionError("no route")
        stop(TrainingJobName)

    service.stop_training_job = refuses  # type: ignore[method-assign]
    with pytest.raises(ConnectionError):
        run.kill()
    assert service.jobs[PROBE]["TrainingJobStatus"] == "Stopping"


def test_a_superseded_try_takes_no_probe_from_its_successor(service: DictionarySageMaker) -> None:
    old = worker(service, TryMark(1, 5))
    started(service, number=2)
    old.resume(RunState(generation=1, first_of_try=1, jobs=(FIRST,)))
    assert service.tags_of(PROBE)["airflow-spot:owner"] == "2"


# ---- a kill outside of the wait


@pytest.mark.parametrize("status", ["Stopping", "Stopped"])
@pytest.mark.parametrize("look", [1, 2])
def test_a_task_that_does_not_wait_and_is_killed_after_its_create_is_no_success(look: int, status: str) -> None:
    """Whichever look it is at, and also where the job has ended by then."""
    service = DictionarySageMaker()
    run = worker(service, TryMark(1, 0))
    run.begin()
    find, looks = run.hook.find, []

    def killed_then(name: str) -> Any:
        looks.extend(live for live in service.live() if live == name)
        if len(looks) == look and not run._killed:
            run.kill()
            service.jobs[name]["TrainingJobStatus"] = status
        return find(name)

    run.hook.find = killed_then  # type: ignore[method-assign]
    with pytest.raises(RunKilledError):
        run.mark_delivered(run.submit_only())
    assert run._killed
    assert [job["TrainingJobStatus"] for job in service.jobs.values()] == [status]
    assert "airflow-spot:delivered" not in service.tags_of(FIRST)


def test_a_kill_while_the_inputs_are_staged_creates_nothing() -> None:
    service = DictionarySageMaker()
    run = worker(service, TryMark(1, 0))
    run.begin()
    run._prepare = lambda folder, first: run.kill()
    with pytest.raises(RunKilledError):
        run.run()
    assert service.jobs == {}
