"""A task's links to its job, which are of no weight beside the job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_spot.core.events import AttemptAttached, AttemptCreated, Event, Observer
from airflow_spot.links.training import (
    SageMakerCheckpointsLink,
    SageMakerTrainingJobLink,
    SageMakerTrainingLogsLink,
)

if TYPE_CHECKING:
    from airflow_spot.compat.sdk import Context


def make_link_updater(operator: Any, context: Context) -> Observer:
    """
    Return an observer that makes a task's links point to its newest attempt.

    It never raises: the job exists by then. The stock links bear with an XCom that cannot be pushed; what is asked of
    the connection for them may fail as well.
    """

    def observe(event: Event) -> None:
        if not isinstance(event, (AttemptCreated, AttemptAttached)):
            return
        job_name, uri = event.attempt.job_name, event.attempt.checkpoint_s3_uri
        try:
            place = {"region_name": operator.hook.conn_region_name, "aws_partition": operator.hook.conn_partition}
            bucket, _, prefix = uri.removeprefix("s3://").partition("/")
            for kind in (SageMakerTrainingJobLink, SageMakerTrainingLogsLink):
                kind.persist(context=context, operator=operator, job_name=job_name, **place)
            if uri:
                SageMakerCheckpointsLink.persist(
                    context=context, operator=operator, bucket=bucket, prefix=prefix, **place
                )
        except Exception as error:
            operator.log.warning("Could not set the task's links to training job %s: %s", job_name, error)

    return observe
