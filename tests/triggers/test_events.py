"""A trigger is_receiving of its job's end from a real queue, long before it would look."""

from __future__ import annotations

import asyncio
import time
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


async def fired(trigger: SageMakerSpotTrainingTrigger) -> dict[str, Any]:
    async for event in trigger.run():
        return dict(event.payload)
    raise AssertionError("the trigger ended without an event")


def test_the_end_of_a_job_is_heard_of(local: LocalSageMaker, bucket: str) -> None:
    queue = deploy(local, f"queue-{uuid.uuid4().hex[:8]}")
    jobs = Jobs(local)
    script = "import time; time.sleep(12)"
    name = start_ours(jobs, RunIdentity("n", "d", uuid.uuid4().hex, "t"), script=script)
    trigger = SageMakerSpotTrainingTrigger(jobs=[{"name": name}], poll_interval=600, events_queue_url=queue)
    begun = time.monotonic()
    assert asyncio.run(asyncio.wait_for(fired(trigger), 120))["status"] == "terminal"
    # Its first look is a few seconds after the beginning, the next one ten minutes later.
    assert time.monotonic() - begun > 8
    looks = [
        line for line in local.audit if line.get("operation") == "DescribeTrainingJob" and line["resource"] == name
    ]
    assert 2 <= len(looks) <= 10


@pytest.mark.parametrize("value", ["airflow-spot-events", "arn:aws:sqs:us-east-1:123456789012:events", 7])
def test_what_is_no_url_is_met_at_once(value: Any) -> None:
    with pytest.raises(InvalidParameterError, match="events_queue_url"):
        SageMakerSpotTrainingOperator(task_id="t", config={}, events_queue_url=value)
