"""State changes reach a queue as EventBridge's events do."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from airflow_spot.local import LocalSageMaker
from airflow_spot.watch.push import read_event
from tests.local.jobs import Jobs

TEMPLATE = (Path(__file__).parents[3] / "docs" / "events.yaml").read_text()


def deploy(local: LocalSageMaker, name: str) -> str:
    """Make the documented stack; returns its queue."""
    cloudformation = local.client("cloudformation")
    parameters = [{"ParameterKey": "QueueName", "ParameterValue": name}]
    cloudformation.create_stack(StackName=name, TemplateBody=TEMPLATE, Parameters=parameters)
    (stack,) = cloudformation.describe_stacks(StackName=name)["Stacks"]
    (output,) = stack["Outputs"]
    return str(output["OutputValue"])


def messages(local: LocalSageMaker, queue: str, job: str, until: str) -> list[dict[str, Any]]:
    """The events of a job up to one with this secondary status."""
    sqs, found = local.client("sqs"), []
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for message in sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", ()):
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
            event = json.loads(message["Body"])
            if event["detail"]["TrainingJobName"] == job:
                assert read_event(message["Body"]) is not None
                found.append(event)
        if found and found[-1]["detail"]["SecondaryStatus"] == until:
            return found
        time.sleep(0.1)
    raise AssertionError(f"no event of {until} for {job}: {[e['detail']['SecondaryStatus'] for e in found]}")


@pytest.fixture
def queue(jobs: Jobs) -> str:
    return deploy(jobs.sm, f"queue-{time.monotonic_ns()}")


@pytest.mark.slow
def test_each_change_of_our_jobs_comes_to_the_documented_stack(jobs: Jobs, queue: str) -> None:
    script = "print('trained')"
    name = jobs.start(script, TrainingJobName=f"x-afspot-abcdefghij-1-{time.monotonic_ns() % 10_000}")
    other = jobs.start(script)
    jobs.end(name)
    jobs.end(other)
    events = messages(jobs.sm, queue, name, "Completed")
    secondary = [event["detail"]["SecondaryStatus"] for event in events]
    assert secondary == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    last = events[-1]
    assert (last["source"], last["detail-type"]) == ("aws.sagemaker", "SageMaker Training Job State Change")
    assert last["resources"] == [jobs.describe(name)["TrainingJobArn"]]
    detail = last["detail"]
    assert detail["TrainingJobStatus"] == "Completed"
    created = jobs.describe(name)["CreationTime"].timestamp()
    assert abs(int(detail["CreationTime"]) / 1000 - created) < 1
    assert [each["Status"] for each in detail["SecondaryStatusTransitions"]] == secondary
    assert detail["Tags"] == {}
    # The stack's rule leaves other people's jobs alone.
    left = jobs.sm.client("sqs").receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", ())
    assert not [message for message in left if other in message["Body"]]
