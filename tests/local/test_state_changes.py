"""Processing and transform jobs, models and endpoints tell EventBridge of their changes, as training jobs do."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from airflow_spot.local import LocalSageMaker
from tests.local.hosting.test_endpoints import COLOUR, Endpoints, adder, ended
from tests.local.jobs import ROLE, Jobs, until
from tests.local.processing.test_processing import Processing
from tests.local.transform.transforms import Transforms

Event = dict[str, Any]


class Inbox:
    """A queue that a rule sends all of SageMaker's events to."""

    def __init__(self, sm: LocalSageMaker) -> None:
        name = f"inbox-{uuid.uuid4().hex[:8]}"
        self.sqs = sm.client("sqs")
        self.queue = self.sqs.create_queue(QueueName=name)["QueueUrl"]
        attributes = self.sqs.get_queue_attributes(QueueUrl=self.queue, AttributeNames=["QueueArn"])["Attributes"]
        events = sm.client("events")
        events.put_rule(Name=name, EventPattern=json.dumps({"source": ["aws.sagemaker"]}))
        events.put_targets(Rule=name, Targets=[{"Id": "queue", "Arn": attributes["QueueArn"]}])
        self.events: list[Event] = []

    def of(self, arn: str, enough: Callable[[list[Event]], bool]) -> list[Event]:
        """The events of one resource, as soon as there are enough."""

        def received() -> list[Event] | None:
            for message in self.sqs.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10).get("Messages", ()):
                self.sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])
                self.events.append(json.loads(message["Body"]))
            found = [event for event in self.events if event["resources"] == [arn]]
            return found if enough(found) else None

        return until(received, f"events of {arn}")


@pytest.fixture
def inbox(jobs: Jobs) -> Inbox:
    return Inbox(jobs.sm)


def status(found: list[Event], member: str) -> list[str]:
    return [event["detail"][member] for event in found]


def ends_with(member: str, value: str) -> Callable[[list[Event]], bool]:
    return lambda found: bool(found) and found[-1]["detail"][member] == value


def test_processing_jobs(jobs: Jobs, inbox: Inbox) -> None:
    processing = Processing(jobs)
    job = processing.run("raise SystemExit(3)", Tags=[{"Key": "team", "Value": "blue"}])
    found = inbox.of(job["ProcessingJobArn"], ends_with("ProcessingJobStatus", "Failed"))
    assert {event["detail-type"] for event in found} == {"SageMaker Processing Job State Change"}
    assert status(found, "ProcessingJobStatus") == ["InProgress", "Failed"]
    detail = found[-1]["detail"]
    assert detail["FailureReason"] == job["FailureReason"]
    assert detail["Tags"] == {"team": "blue"}
    assert detail["AppSpecification"] == job["AppSpecification"]
    # Times are whole milliseconds.
    assert detail["ProcessingEndTime"] == pytest.approx(job["ProcessingEndTime"].timestamp() * 1000, abs=1)
    assert isinstance(detail["CreationTime"], int)


def test_transform_jobs_and_their_models(jobs: Jobs, inbox: Inbox) -> None:
    transforms = Transforms(jobs)
    transforms.put("a.csv", "1\n")
    model = transforms.model()
    job = transforms.completed(model)
    found = inbox.of(job["TransformJobArn"], ends_with("TransformJobStatus", "Completed"))
    assert {event["detail-type"] for event in found} == {"SageMaker Transform Job State Change"}
    assert status(found, "TransformJobStatus") == ["InProgress", "Completed"]
    assert found[-1]["detail"]["TransformInput"] == job["TransformInput"]
    assert found[-1]["detail"]["TransformEndTime"] >= found[-1]["detail"]["TransformStartTime"]
    arn = jobs.sagemaker.describe_model(ModelName=model)["ModelArn"]
    jobs.sagemaker.delete_model(ModelName=model)
    found = inbox.of(arn, lambda events: len(events) == 2)
    assert {event["detail-type"] for event in found} == {"SageMaker Model State Change"}
    assert status(found, "ModelName") == [model, model]


def test_endpoints_and_their_configurations(jobs: Jobs, inbox: Inbox) -> None:
    endpoints = Endpoints(jobs)
    name = endpoints.serve(adder(), environment=COLOUR)
    answer = jobs.sagemaker.describe_endpoint(EndpointName=name)
    desired = [{"VariantName": "only", "DesiredWeight": 2}]
    jobs.sagemaker.update_endpoint_weights_and_capacities(EndpointName=name, DesiredWeightsAndCapacities=desired)
    until(lambda: ended(endpoints, name), f"{name} is deleted")
    found = inbox.of(answer["EndpointArn"], ends_with("EndpointStatus", "DELETING"))
    assert {event["detail-type"] for event in found} == {"SageMaker Endpoint State Change"}
    # In capitals, other than in its description.
    assert status(found, "EndpointStatus") == ["CREATING", "IN_SERVICE", "UPDATING", "IN_SERVICE", "DELETING"]
    assert found[1]["detail"]["ProductionVariants"][0]["DesiredWeight"] == 1
    assert found[3]["detail"]["ProductionVariants"][0]["DesiredWeight"] == 2
    assert found[1]["detail"]["CreationTime"] == pytest.approx(answer["CreationTime"].timestamp() * 1000, abs=1)
    arn = jobs.sagemaker.describe_endpoint_config(EndpointConfigName=name)["EndpointConfigArn"]
    jobs.sagemaker.delete_endpoint_config(EndpointConfigName=name)
    found = inbox.of(arn, lambda events: len(events) == 2)
    assert {event["detail-type"] for event in found} == {"SageMaker Endpoint Config State Change"}


def test_a_new_model_has_not_the_tags_of_a_deleted_one(jobs: Jobs) -> None:
    name = f"tagged-{uuid.uuid4().hex[:8]}"
    container = {"Image": "image:1"}
    jobs.sagemaker.create_model(
        ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container, Tags=[{"Key": "team", "Value": "blue"}]
    )
    jobs.sagemaker.delete_model(ModelName=name)
    arn = jobs.sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container)["ModelArn"]
    assert jobs.sagemaker.list_tags(ResourceArn=arn)["Tags"] == []
