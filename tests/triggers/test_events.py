"""A trigger hears of its job's end from a real queue, long before it would look."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest

from airflow_spot.core.identity import RunIdentity
from airflow_spot.core.parameter_errors import InvalidParameterError
from airflow_spot.local import LocalSageMaker
from airflow_spot.operators.training import SageMakerSpotTrainingOperator
from airflow_spot.triggers.training import SageMakerSpotTrainingTrigger
from tests.local.aws.test_events import deploy
from tests.local.jobs import Jobs
from tests.support.ours import start_ours
from tests.support.waiting import until

#: Seconds after which the event is not going to be heard of. Far below the trigger's own next poll.
LIMIT = 240.0


async def fired(trigger: SageMakerSpotTrainingTrigger) -> dict[str, Any]:
    async for event in trigger.run():
        return dict(event.payload)
    raise AssertionError("the trigger ended without an event")


def seen_training(local: LocalSageMaker, name: str) -> bool:
    """Whether the job was described after it had begun to train."""
    lines = [line for line in local.audit if name in (line.get("job"), line.get("resource"))]
    trains = next((i for i, line in enumerate(lines) if line.get("secondary") == "Training"), len(lines))
    return any(line.get("operation") == "DescribeTrainingJob" for line in lines[trains:])


def test_the_end_of_a_job_is_heard_of(local: LocalSageMaker, bucket: str) -> None:
    """The trigger has seen the job train, and polls again only after an hour: what it fires on is the event."""
    queue = deploy(local, f"queue-{uuid.uuid4().hex[:8]}")
    name = start_ours(Jobs(local), RunIdentity("n", "d", uuid.uuid4().hex, "t"))
    trigger = SageMakerSpotTrainingTrigger(jobs=[{"name": name}], poll_interval=3600, events_queue_url=queue)

    async def scene() -> dict[str, Any]:
        firing = asyncio.create_task(fired(trigger))
        await until(lambda: seen_training(local, name), pause=0.1)
        assert not firing.done()
        await asyncio.to_thread(local.client("sagemaker").stop_training_job, TrainingJobName=name)
        return await firing

    assert asyncio.run(asyncio.wait_for(scene(), LIMIT))["status"] == "terminal"


@pytest.mark.parametrize("value", ["airflow-spot-events", "arn:aws:sqs:us-east-1:123456789012:events", 7])
def test_what_is_no_url_is_met_at_once(value: Any) -> None:
    with pytest.raises(InvalidParameterError, match="events_queue_url"):
        SageMakerSpotTrainingOperator(task_id="t", config={}, events_queue_url=value)
