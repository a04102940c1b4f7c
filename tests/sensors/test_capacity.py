"""The sensor of spot capacity: real probes on a market of Local SageMaker, in its three ways of waiting."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime, timezone
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred
from airflow.sdk.exceptions import AirflowRescheduleException, AirflowSensorTimeout, AirflowSkipException

from airflow_spot.core.identity import JobName
from airflow_spot.core.marks import ENV_ROLE, TAG_OWNER
from airflow_spot.core.money.figures import Figure
from airflow_spot.core.parameter_errors import InvalidParameterError
from airflow_spot.core.roles import Role
from airflow_spot.errors import QuotaError, StoppedExternallyError
from airflow_spot.local import LocalSageMaker
from airflow_spot.sensors import capacity
from airflow_spot.sensors.capacity import SageMakerSpotCapacitySensor
from tests.local.jobs import until
from tests.support.requests import stock_config
from tests.support.task import TaskInstance, fire, run_task

#: A type that never has capacity, one that has it after two seconds, and one that has it.
NEVER, LATE, NOW, NO_QUOTA = "ml.c5.9xlarge", "ml.c5.4xlarge", "ml.m5.large", "ml.p3.2xlarge"

pytestmark = pytest.mark.local_sagemaker(market=f"{NEVER}=never;{LATE}=script:down=2,up=inf;*=always")


@pytest.fixture
def ti() -> TaskInstance:
    return TaskInstance("wait", run_id=f"manual__{uuid.uuid4()}", max_tries=1)


@pytest.fixture
def sensor(bucket: str) -> Callable[..., SageMakerSpotCapacitySensor]:
    def make(*types: str, **parameters: Any) -> SageMakerSpotCapacitySensor:
        given = {"poke_interval": 0.5, "timeout": 60, "config": stock_config(bucket, password="hunter2"), **parameters}
        return SageMakerSpotCapacitySensor(task_id="wait", instance_types=list(types), **given)

    return make


def jobs_of(local: LocalSageMaker, run_id: str) -> list[dict[str, Any]]:
    """The jobs of a run, oldest first; other tests' jobs are there, too."""
    client = local.client("sagemaker")
    newest = client.list_training_jobs(NameContains="-afspot-", MaxResults=100, SortOrder="Descending")
    found = []
    for summary in reversed(newest["TrainingJobSummaries"]):
        job = client.describe_training_job(TrainingJobName=summary["TrainingJobName"])
        tags = client.list_tags(ResourceArn=job["TrainingJobArn"])["Tags"]
        if any(run_id in tag["Value"] for tag in tags):
            found.append(job)
    return found


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_probe_that_gets_its_instances_is_the_answer(
    local: LocalSageMaker, sensor: Callable[..., SageMakerSpotCapacitySensor], ti: TaskInstance, deferrable: bool
) -> None:
    found = run_task(sensor(NOW, deferrable=deferrable), ti)
    assert (found["instance_type"], found["by"], found["probes"]) == (NOW, "probe", 1)
    assert found["billable_seconds"] < 60
    (probe,) = jobs_of(local, ti.run_id)
    name = JobName.parse(probe["TrainingJobName"])
    assert name is not None and name.role is Role.PROBE
    assert probe["TrainingJobStatus"] == "Completed"
    assert probe["EnableManagedSpotTraining"] is True
    assert probe["Environment"][ENV_ROLE] == "probe"
    assert not probe.get("InputDataConfig") and not probe.get("CheckpointConfig") and not probe.get("HyperParameters")
    assert probe["TrainingJobName"] in found["why"]


@pytest.mark.parametrize("deferrable", [pytest.param(False, marks=pytest.mark.slow), True])
def test_types_are_asked_for_one_after_the_other(
    local: LocalSageMaker, sensor: Callable[..., SageMakerSpotCapacitySensor], ti: TaskInstance, deferrable: bool
) -> None:
    found = run_task(sensor(NEVER, NO_QUOTA, NOW, probe_wait=1, deferrable=deferrable), ti)
    assert found["instance_type"] == NOW
    jobs = jobs_of(local, ti.run_id)
    *asked, last = [(job["ResourceConfig"]["InstanceType"], job["TrainingJobStatus"]) for job in jobs]
    # Where a busy service has not answered within the second, it was asked again; the type between has no quota.
    assert asked == [((NEVER, NOW)[number % 2], "Stopped") for number in range(len(asked))]
    # It got its instance; where that came just after the second, it was told to stop by then.
    assert len(asked) in (1, 3) and last in ((NOW, "Completed"), (NOW, "Stopped"))
    assert "Downloading" in [each["Status"] for each in jobs[-1]["SecondaryStatusTransitions"]]
    ends = [job["SecondaryStatusTransitions"][-1]["StartTime"] for job in jobs]
    assert all(end <= later["CreationTime"] for (end, _), (_, later) in pairwise(zip(ends, jobs, strict=True)))


@pytest.mark.parametrize("deferrable", [pytest.param(False, marks=pytest.mark.slow), True])
def test_one_type_is_waited_for_by_one_probe(
    local: LocalSageMaker, sensor: Callable[..., SageMakerSpotCapacitySensor], ti: TaskInstance, deferrable: bool
) -> None:
    assert run_task(sensor(LATE, deferrable=deferrable), ti)["probes"] == 1
    assert len(jobs_of(local, ti.run_id)) == 1


def test_a_reschedule_finds_its_probe_again(
    local: LocalSageMaker, sensor: Callable[..., SageMakerSpotCapacitySensor], ti: TaskInstance
) -> None:
    ti.get_first_reschedule_date = lambda context: None  # type: ignore[attr-defined]
    context: Any = {"ti": ti}
    looks = 0
    while True:
        try:
            # The state of the worker is gone each time.
            found = sensor(LATE, mode="reschedule").execute(context)
        except AirflowRescheduleException:
            looks += 1
            continue
        break
    assert looks >= 1
    assert (found["probes"], len(jobs_of(local, ti.run_id))) == (1, 1)


@pytest.mark.parametrize("deferrable", [pytest.param(False, marks=pytest.mark.slow), True])
def test_a_timeout_leaves_no_probe(
    local: LocalSageMaker, sensor: Callable[..., SageMakerSpotCapacitySensor], ti: TaskInstance, deferrable: bool
) -> None:
    assert not sensor(NEVER).poke({"ti": ti}).is_done  # type: ignore[typeddict-item]
    with pytest.raises(AirflowSensorTimeout):
        run_task(sensor(NEVER, timeout=1, deferrable=deferrable), ti)
    until(lambda: [job["TrainingJobStatus"] for job in jobs_of(local, ti.run_id)] == ["Stopped"], "it is stopped")
    with pytest.raises(AirflowSkipException):
        run_task(sensor(NEVER, timeout=1, soft_fail=True, deferrable=deferrable), ti.retried())


def test_a_kill_stops_the_probe_and_the_next_try_asks_again(
    local: LocalSageMaker, sensor: Callable[..., SageMakerSpotCapacitySensor], ti: TaskInstance
) -> None:
    waiting = sensor(NEVER)
    assert not waiting.poke({"ti": ti}).is_done  # type: ignore[typeddict-item]
    waiting.on_kill()
    until(lambda: [job["TrainingJobStatus"] for job in jobs_of(local, ti.run_id)] == ["Stopped"], "it is stopped")
    # Of the try before, and so of another day, though it had its instances.
    first = run_task(sensor(NOW), ti.retried())
    second = run_task(sensor(NOW), ti.retried().retried())
    assert (first["probes"], second["probes"]) == (2, 3)


def test_a_retry_takes_over_a_probe_that_waits(
    local: LocalSageMaker, sensor: Callable[..., SageMakerSpotCapacitySensor], ti: TaskInstance
) -> None:
    assert not sensor(NEVER).poke({"ti": ti}).is_done  # type: ignore[typeddict-item]  # and its worker is lost
    again = sensor(NEVER)
    assert not again.poke({"ti": ti.retried()}).is_done  # type: ignore[typeddict-item]
    (probe,) = jobs_of(local, ti.run_id)
    tags = local.client("sagemaker").list_tags(ResourceArn=probe["TrainingJobArn"])["Tags"]
    assert {"Key": TAG_OWNER, "Value": "2"} in tags, "it is the retry's to stop"
    again.on_kill()
    until(lambda: jobs_of(local, ti.run_id)[0]["TrainingJobStatus"] == "Stopped", "it is stopped")


def test_a_person_who_stops_a_probe_is_believed(
    local: LocalSageMaker, sensor: Callable[..., SageMakerSpotCapacitySensor], ti: TaskInstance
) -> None:
    waiting = sensor(NEVER)
    waiting.poke({"ti": ti})  # type: ignore[typeddict-item]
    (probe,) = jobs_of(local, ti.run_id)
    local.client("sagemaker").stop_training_job(TrainingJobName=probe["TrainingJobName"])
    until(lambda: jobs_of(local, ti.run_id)[0]["TrainingJobStatus"] == "Stopped", "it is stopped")
    with pytest.raises(StoppedExternallyError, match="stopped outside Airflow"):
        waiting.poke({"ti": ti})  # type: ignore[typeddict-item]


def test_without_a_quota_for_any_it_fails_at_once(
    sensor: Callable[..., SageMakerSpotCapacitySensor], ti: TaskInstance
) -> None:
    with pytest.raises(QuotaError, match=r"No quota for any of ml\.p3\.2xlarge: .*spot training job usage"):
        run_task(sensor(NO_QUOTA), ti)


# ---- by what EC2 says


class Market:
    """Figures that change from look to look."""

    def __init__(self, *scores: dict[str, int]) -> None:
        self.scores = list(scores)

    def placement_scores(self, types: list[str], count: int) -> dict[str, Figure[int]]:
        said = self.scores.pop(0)
        return {kind: Figure(said[kind], "ec2:GetSpotPlacementScores", datetime.now(timezone.utc)) for kind in types}


@pytest.mark.parametrize("deferrable", [False, True])
def test_by_score_it_waits_until_one_is_high(
    sensor: Callable[..., SageMakerSpotCapacitySensor],
    ti: TaskInstance,
    deferrable: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    market = Market({"ml.a": 2, "ml.b": 1}, {"ml.a": 3, "ml.b": 6})
    monkeypatch.setattr(capacity, "market_of", lambda hook: market)
    monkeypatch.setattr(capacity, "_FIGURES_INTERVAL", 0.2)
    found = run_task(sensor("ml.a", "ml.b", by="score", min_score=5, config=None, deferrable=deferrable), ti)
    assert (found["instance_type"], market.scores) == ("ml.b", [])
    assert found["why"] == "placement score 6 of 10 (ml.a 3, ml.b 6)"
    assert found["figures"]["ml.a"]["value"] == 3
    assert (found["probes"], found["cost"]) == (0, None)


def test_outside_its_window_nothing_is_asked_for(
    local: LocalSageMaker, sensor: Callable[..., SageMakerSpotCapacitySensor], ti: TaskInstance
) -> None:
    hour = (datetime.now(timezone.utc).hour + 12) % 24
    closed = f"{hour:02}:00-{(hour + 1) % 24:02}:00"
    assert not sensor(NOW, window=closed).poke({"ti": ti}).is_done  # type: ignore[typeddict-item]
    assert jobs_of(local, ti.run_id) == []
    with pytest.raises(TaskDeferred) as deferred:
        sensor(NOW, window=closed, by="window", timeout=90_000, deferrable=True).execute({"ti": ti})  # type: ignore[typeddict-item]
    opens = datetime.fromtimestamp(deferred.value.trigger.until, timezone.utc)  # type: ignore[attr-defined]
    assert (opens.hour, opens.minute) == (hour, 0)
    around = f"{(hour + 1) % 24:02}:00-{hour:02}:00"
    assert sensor(NOW, window=around, by="window").poke({"ti": ti}).xcom_value["instance_type"] == NOW  # type: ignore[typeddict-item,index]


def test_another_trys_event_begins_again(sensor: Callable[..., SageMakerSpotCapacitySensor], ti: TaskInstance) -> None:
    """Airflow 3.0 hands a retry the event of the try before."""
    with pytest.raises(TaskDeferred) as deferred:
        sensor(NOW, deferrable=True).execute({"ti": ti})  # type: ignore[typeddict-item]
    event = fire(deferred.value.trigger, ti)
    with pytest.raises(TaskDeferred):
        sensor(NOW, deferrable=True).execute_complete({"ti": ti.retried()}, event)  # type: ignore[typeddict-item]


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"by": "luck"}, "by"),
        ({"config": None}, "config"),
        ({"config": {"AlgorithmSpecification": {"AlgorithmName": "a"}}}, "config"),
        ({"by": "window"}, "window"),
        ({"window": "always"}, "window"),
        ({"window": "1:00-2:00", "window_timezone": "Nowhere"}, "window_timezone"),
        ({"instance_types": []}, "instance_types"),
        ({"instance_types": "g5.xlarge"}, "instance_types"),
        ({"instance_count": 0}, "instance_count"),
        ({"min_score": 11}, "min_score"),
        ({"max_price_share": 0}, "max_price_share"),
        ({"max_price_share": Decimal("1.1")}, "max_price_share"),
        ({"probe_wait": "soon"}, "probe_wait"),
        ({"price_for": "-1h"}, "price_for"),
    ],
)
def test_what_cannot_be_right_is_told_when_the_dag_is_parsed(given: dict[str, Any], field: str) -> None:
    config = {"AlgorithmSpecification": {"TrainingImage": "i"}, "RoleArn": "r"}
    with pytest.raises(InvalidParameterError) as caught:
        SageMakerSpotCapacitySensor(**{"task_id": "wait", "instance_types": ["ml.a"], "config": config, **given})
    assert caught.value.name == field


def test_templates_are_read_when_it_runs() -> None:
    SageMakerSpotCapacitySensor(
        task_id="wait",
        instance_types="{{ params.types }}",
        config={"AlgorithmSpecification": "{{ params.algorithm }}"},
        probe_wait="{{ params.wait }}",
        window="{{ params.window }}",
    )
