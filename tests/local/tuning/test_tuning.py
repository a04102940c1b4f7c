"""Hyperparameter tuning jobs, by stock boto3: real processes where scripts matter, simulated ones elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from airflow_spot.local import LocalSageMaker
from tests.local.jobs import BUCKET, Jobs, counter, statuses, until
from tests.local.tuning.tuning_jobs import CATEGORICAL, Tuning, choice, numbers

SCALE = 60


@pytest.fixture(scope="session")
def tuning(jobs: Jobs) -> Tuning:
    """On real processes."""
    return Tuning(jobs)


@pytest.fixture(scope="module")
def simulated() -> Iterator[Tuning]:
    """Without processes; a minute of the service takes a second."""
    quotas = "ml.c5.xlarge:spot=1;ml.c5.2xlarge:spot=0"
    with LocalSageMaker(engine="simulated", time_scale=SCALE, quotas=quotas) as service:
        yield Tuning(Jobs(service))


def test_the_best_of_real_trainings(tuning: Tuning) -> None:
    script = """
        import json, os, sys
        given = json.load(open("/opt/ml/input/config/hyperparameters.json"))
        open("/opt/ml/checkpoints/mine", "w").write(given["x"])
        print("objective", given["_tuning_objective_metric"], "arguments", *sys.argv[1:])
        for epoch in (2, 1):
            print(f"epoch {epoch} loss={abs(float(os.environ['SM_HP_X']) - 3) * epoch}")
    """
    request = tuning.request(
        script,
        ParameterRanges={
            "ContinuousParameterRanges": [numbers("x", 0, 9)],
            CATEGORICAL: [choice("kind", "a", "b")],
        },
        ResourceLimits={"MaxNumberOfTrainingJobs": 4, "MaxParallelTrainingJobs": 2},
        RandomSeed=7,
        definition={"CheckpointConfig": {"S3Uri": f"s3://{BUCKET}/tuned/"}, "Environment": {"COLOUR": "green"}},
    )
    name = request["HyperParameterTuningJobName"]
    tags = [{"Key": "team", "Value": "vision"}]
    answer = tuning.sagemaker.create_hyper_parameter_tuning_job(**request, Tags=tags)
    arn = f"arn:aws:sagemaker:us-east-1:123456789012:hyper-parameter-tuning-job/{name}"
    assert answer["HyperParameterTuningJobArn"] == arn
    job = tuning.end(name)
    assert job["HyperParameterTuningJobStatus"] == "Completed", job.get("FailureReason")
    assert job["TrainingJobStatusCounters"]["Completed"] == job["ObjectiveStatusCounters"]["Succeeded"] == 4
    assert job["CreationTime"] <= job["HyperParameterTuningEndTime"]
    assert tuning.at_once(name) == 2

    children = tuning.children(name)
    assert [child["TrainingJobName"].rsplit("-", 1)[0] for child in children] == [f"{name}-00{n}" for n in (1, 2, 3, 4)]
    losses = {}
    for child in children:
        tuned = child["TunedHyperParameters"]
        assert tuned.keys() == {"x", "kind"}
        metric = child["FinalHyperParameterTuningJobObjectiveMetric"]
        assert metric["MetricName"] == "loss"
        assert metric["Value"] == pytest.approx(abs(float(tuned["x"]) - 3))
        losses[child["TrainingJobName"]] = metric["Value"]
    assert job["BestTrainingJob"]["TrainingJobName"] == min(losses, key=lambda each: losses[each])

    first = tuning.jobs.describe(children[0]["TrainingJobName"])
    assert first["TuningJobArn"] == arn
    assert first["EnableManagedSpotTraining"] is True
    assert first["Environment"] == {"COLOUR": "green"}
    assert first["CheckpointConfig"]["S3Uri"] == f"s3://{BUCKET}/tuned/{first['TrainingJobName']}"
    assert tuning.jobs.keys("tuned/") == sorted(f"tuned/{child}/mine" for child in losses)
    (line, *_), *_ = tuning.jobs.output(first["TrainingJobName"])
    tuned = children[0]["TunedHyperParameters"]
    assert line == f'objective "loss" arguments --kind {tuned["kind"]} -x {tuned["x"]}'
    assert tuning.sagemaker.list_tags(ResourceArn=first["TrainingJobArn"])["Tags"] == tags
    listed = tuning.sagemaker.list_training_jobs(NameContains=name)["TrainingJobSummaries"]
    assert {each["TrainingJobName"] for each in listed} == set(losses)


def test_a_child_on_spot_goes_on_from_its_own_checkpoint(tuning: Tuning) -> None:
    script = counter(16, hold=8) + "    print('loss=1')\n"
    name = tuning.grid(
        "a", script=script, name="kind", definition={"CheckpointConfig": {"S3Uri": f"s3://{BUCKET}/counted"}}
    )
    child = tuning.first_trains(name)
    tuning.jobs.wait_for_checkpoint(child)
    tuning.jobs.sm.interrupt(child)
    job = tuning.end(name)
    assert job["HyperParameterTuningJobStatus"] == "Completed"
    assert "Interrupted" in statuses(tuning.jobs.describe(child))
    firsts = [int(lines[0].split()[1]) for lines in tuning.jobs.output(child)]
    assert firsts[0] == 1
    assert firsts[1] > 1


def test_early_stopping_ends_what_should_stop_early(tuning: Tuning) -> None:
    script = """
        import os, time
        loss = float(os.environ["SM_HP_LOSS"])
        for epoch in range(3):
            print(f"loss={loss}", flush=True)
        if loss > 0.5:
            time.sleep(600)
    """
    name = tuning.grid("0.4", "0.9", "0.3", script=script, name="loss", TrainingJobEarlyStoppingType="Auto")
    job = tuning.end(name)
    assert job["TrainingJobStatusCounters"]["Completed"] == 2
    assert job["TrainingJobStatusCounters"]["Stopped"] == 1
    assert job["BestTrainingJob"]["TunedHyperParameters"] == {"loss": "0.3"}
    (line,) = tuning.jobs.events("tuning", job=name, action="stopped-early")
    (stopped,) = tuning.children(name, StatusEquals="Stopped")
    assert line["training_job"] == stopped["TrainingJobName"]
    assert stopped["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] == pytest.approx(0.9)


def test_scripts_that_fail_fail_the_tuning_job(tuning: Tuning) -> None:
    name = tuning.grid("1", "2", script="raise SystemExit(3)", name="x", parallel=2)
    job = tuning.end(name)
    assert job["HyperParameterTuningJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("No training job succeeded after 2 attempts.")
    assert job["TrainingJobStatusCounters"]["NonRetryableError"] == job["ObjectiveStatusCounters"]["Failed"] == 2
    assert "BestTrainingJob" not in job
    assert all("ExitCode 3\n" in child["FailureReason"] for child in tuning.children(name))


def test_scripts_that_print_no_metric_fail_it_too(tuning: Tuning) -> None:
    job = tuning.end(tuning.grid("1", script="print('loss: 3')", name="x"))
    assert job["FailureReason"].startswith("No objective metrics found after running 1 training jobs.")


def test_one_failure_of_several_does_not(simulated: Tuning) -> None:
    ranges = {CATEGORICAL: [choice("simulated_exit_code", 0, 1), choice("simulated_metric", 0.5)]}
    job = simulated.end(
        simulated.start(Strategy="Grid", ParameterRanges=ranges, ResourceLimits={"MaxNumberOfTrainingJobs": 2})
    )
    assert job["HyperParameterTuningJobStatus"] == "Completed"
    assert job["TrainingJobStatusCounters"]["NonRetryableError"] == 1
    assert job["BestTrainingJob"]["TunedHyperParameters"]["simulated_exit_code"] == "0"


def test_the_same_seed_draws_the_same_values(simulated: Tuning) -> None:
    ranges = {
        "IntegerParameterRanges": [numbers("depth", 1, 10**6, ScalingType="Logarithmic")],
        "ContinuousParameterRanges": [numbers("simulated_metric", 0.5, 0.99, ScalingType="ReverseLogarithmic")],
    }
    drawn = []
    for seed in (5, 5, 6):
        name = simulated.start(RandomSeed=seed, ParameterRanges=ranges)
        job = simulated.end(name)
        assert job["HyperParameterTuningJobConfig"]["RandomSeed"] == seed
        drawn.append([child["TunedHyperParameters"] for child in simulated.children(name)])
    assert drawn[0] == drawn[1] != drawn[2]


def test_maximize_and_a_target(simulated: Tuning) -> None:
    objective = {"Type": "Maximize", "MetricName": "loss"}
    criteria = {"TargetObjectiveMetricValue": 0.8}
    name = simulated.grid(
        0.1, 0.9, 0.95, HyperParameterTuningJobObjective=objective, TuningJobCompletionCriteria=criteria
    )
    job = simulated.end(name)
    assert job["HyperParameterTuningJobStatus"] == "Completed"
    assert job["TrainingJobStatusCounters"] == {
        "Completed": 2,
        "InProgress": 0,
        "RetryableError": 0,
        "NonRetryableError": 0,
        "Stopped": 0,
    }
    assert job["BestTrainingJob"]["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] == pytest.approx(0.9)


def test_it_ends_when_nothing_improves(simulated: Tuning) -> None:
    criteria = {"BestObjectiveNotImproving": {"MaxNumberOfTrainingJobsNotImproving": 3}}
    job = simulated.end(simulated.grid(0.5, 0.6, 0.499, 0.7, 0.1, TuningJobCompletionCriteria=criteria))
    assert job["TrainingJobStatusCounters"]["Completed"] == 4
    assert job["TuningJobCompletionDetails"]["NumberOfTrainingJobsObjectiveNotImproving"] == 3


SLOW = {
    "StaticHyperParameters": {"simulated_seconds": "90000"},
    "StoppingCondition": {"MaxRuntimeInSeconds": 1_000_000, "MaxWaitTimeInSeconds": 1_000_000},
}
"""A definition of training jobs that take 25 minutes of this machine, if nothing ends them."""


def ended_by_its_time(simulated: Tuning, seconds: int) -> dict[str, Any] | None:
    """A tuning job that may take so long; None where it has launched nothing by then."""
    name = simulated.start(definition=SLOW, ResourceLimits={"MaxRuntimeInSeconds": seconds})
    job = simulated.end(name)
    assert job["HyperParameterTuningJobStatus"] == "Completed"
    assert seconds <= job["ConsumedResources"]["RuntimeInSeconds"] < 90_000
    return job if simulated.children(name) else None


def test_its_time_ends_it_and_what_trains(simulated: Tuning) -> None:
    # On a busy machine two seconds may be over before the first training job, or before the third.
    job = ended_by_its_time(simulated, 120) or ended_by_its_time(simulated, 1800)
    assert job is not None
    children = simulated.children(job["HyperParameterTuningJobName"])
    assert {child["TrainingJobStatus"] for child in children} == {"Stopped"}
    counters = job["TrainingJobStatusCounters"]
    assert {status: count for status, count in counters.items() if count} == {"Stopped": len(children)}


def test_a_stop_stops_the_training_jobs(simulated: Tuning) -> None:
    name = simulated.start(definition=SLOW, ResourceLimits={"MaxParallelTrainingJobs": 2})
    simulated.first_trains(name)
    until(lambda: len(simulated.children(name)) == 2, "the second is launched")
    with pytest.raises(ClientError, match="ResourceInUse"):
        simulated.sagemaker.delete_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
    simulated.sagemaker.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
    job = simulated.end(name)
    assert job["HyperParameterTuningJobStatus"] == "Stopped"
    children = simulated.children(name)
    assert [child["TrainingJobStatus"] for child in children] == ["Stopped", "Stopped"]
    with pytest.raises(ClientError, match="in status Stopped"):
        simulated.sagemaker.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
    states = [line["status"] for line in simulated.jobs.events("state", job=name, kind="tuning")]
    assert states == ["InProgress", "Stopping", "Stopped"]

    simulated.sagemaker.delete_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
    with pytest.raises(ClientError, match=r"Requested resource not found\."):
        simulated.describe(name)
    assert simulated.jobs.describe(children[0]["TrainingJobName"])["TrainingJobStatus"] == "Stopped"


def test_what_a_quota_refuses_waits(simulated: Tuning) -> None:
    resources = {"InstanceType": "ml.c5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 1}
    name = simulated.start(definition={"ResourceConfig": resources})
    job = simulated.end(name)
    assert job["TrainingJobStatusCounters"]["Completed"] == 3
    assert simulated.at_once(name) == 1
    assert simulated.jobs.events("tuning", job=name, action="waits")


def test_what_a_quota_can_never_let_in_is_refused(simulated: Tuning) -> None:
    resources = {"InstanceType": "ml.c5.2xlarge", "InstanceCount": 1, "VolumeSizeInGB": 1}
    with pytest.raises(ClientError, match=r"ResourceLimitExceeded.*'ml\.c5\.2xlarge for spot training job usage' is 0"):
        simulated.start(definition={"ResourceConfig": resources})


def test_its_lists(simulated: Tuning) -> None:
    name = simulated.grid(0.3, 0.1, 0.2, parallel=3)
    simulated.end(name)
    by_value = simulated.children(name, SortBy="FinalObjectiveMetricValue", PaginationConfig={"PageSize": 2})
    assert [child["TunedHyperParameters"]["simulated_metric"] for child in by_value] == ["0.1", "0.2", "0.3"]
    newest = simulated.children(name, SortBy="CreationTime", SortOrder="Descending")
    assert newest == list(reversed(simulated.children(name)))
    assert simulated.children(name, StatusEquals="Failed") == []
    asked = {"NameContains": name, "StatusEquals": "Completed"}
    (line,) = simulated.sagemaker.list_hyper_parameter_tuning_jobs(**asked)["HyperParameterTuningJobSummaries"]
    assert line["HyperParameterTuningJobName"] == name
    assert line["Strategy"] == "Grid"
    assert line["TrainingJobStatusCounters"]["Completed"] == 3
    with pytest.raises(ClientError, match="ResourceInUse"):
        request = simulated.request()
        simulated.sagemaker.create_hyper_parameter_tuning_job(**{**request, "HyperParameterTuningJobName": name})


def test_what_has_no_effect_is_said_once(simulated: Tuning) -> None:
    name = simulated.start(Strategy="Bayesian", definition={"EnableNetworkIsolation": True})
    assert simulated.end(name)["HyperParameterTuningJobStatus"] == "Completed"
    (line,) = simulated.jobs.events("ignored", job=name)
    assert line["members"] == [
        "HyperParameterTuningJobConfig.Strategy Bayesian (drawn at random)",
        "EnableNetworkIsolation",
    ]


def test_its_tags(simulated: Tuning) -> None:
    name = simulated.start(Tags=[{"Key": "a", "Value": "1"}])
    arn = simulated.describe(name)["HyperParameterTuningJobArn"]
    simulated.sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "b", "Value": "2"}])
    tags = simulated.sagemaker.list_tags(ResourceArn=arn)["Tags"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {"a": "1", "b": "2"}


def test_its_changes_come_as_events(simulated: Tuning) -> None:
    sm = simulated.jobs.sm
    queue = sm.client("sqs").create_queue(QueueName="tuning")["QueueUrl"]
    attributes = sm.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]
    pattern = {"source": ["aws.sagemaker"], "detail-type": ["SageMaker HyperParameter Tuning Job State Change"]}
    sm.client("events").put_rule(Name="tuning", EventPattern=json.dumps(pattern))
    sm.client("events").put_targets(Rule="tuning", Targets=[{"Id": "queue", "Arn": attributes["QueueArn"]}])
    name = simulated.start(Tags=[{"Key": "a", "Value": "1"}])
    simulated.end(name)
    found: list[dict[str, Any]] = []

    def two() -> bool:
        answer = sm.client("sqs").receive_message(QueueUrl=queue, MaxNumberOfMessages=10)
        events = [json.loads(message["Body"]) for message in answer.get("Messages", ())]
        # A tuning job of another test may still run.
        found.extend(event for event in events if event["detail"]["HyperParameterTuningJobName"] == name)
        return len(found) == 2

    until(two, "two events")
    details = [event["detail"] for event in found]
    assert [detail["HyperParameterTuningJobStatus"] for detail in details] == ["InProgress", "Completed"]
    assert details[1]["TrainingJobStatusCounters"]["Completed"] == 3
    assert details[1]["Tags"] == {"a": "1"}
    assert found[0]["resources"] == [details[0]["HyperParameterTuningJobArn"]]


def test_the_flexible_way_to_name_an_instance_type(simulated: Tuning) -> None:
    flexible = {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 2}
    request = simulated.request(definition={"HyperParameterTuningResourceConfig": flexible})
    del request["TrainingJobDefinition"]["ResourceConfig"]
    simulated.sagemaker.create_hyper_parameter_tuning_job(**request)
    name = request["HyperParameterTuningJobName"]
    child = simulated.first_trains(name)
    assert simulated.jobs.describe(child)["ResourceConfig"] == flexible
