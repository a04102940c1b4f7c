"""A task's links to its job, which are of no weight beside the job."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from airflow_spot.links.training import (
    SageMakerCheckpointsLink,
    SageMakerTrainingJobLink,
    SageMakerTrainingLogsLink,
)

if TYPE_CHECKING:
    from airflow_spot.compat.sdk import Context


def make_link_updater(operator: Any, context: Context) -> Callable[[str, str], None]:
    """
    Give what makes a task's links point to an attempt.

    It is called with the job's name and its checkpoint folder, once the job exists: so it never raises. The stock links
    bear with an XCom that cannot be pushed; what is asked of the connection for them may fail as well.
    """

    def link(job_name: str, checkpoint_s3_uri: str) -> None:
        try:
            place = {"region_name": operator.hook.conn_region_name, "aws_partition": operator.hook.conn_partition}
            bucket, _, prefix = checkpoint_s3_uri.removeprefix("s3://").partition("/")
            for kind in (SageMakerTrainingJobLink, SageMakerTrainingLogsLink):
                kind.persist(context=context, operator=operator, job_name=job_name, **place)
            SageMakerCheckpointsLink.persist(context=context, operator=operator, bucket=bucket, prefix=prefix, **place)
        except Exception as error:
            operator.log.warning(
                "The task's links do not point to training job %s, which trains all the same: %s", job_name, error
            )

    return link
