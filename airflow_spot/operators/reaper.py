"""Stop live training jobs whose Airflow task is over."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.operators.base_aws import AwsBaseOperator
from airflow.providers.amazon.aws.utils.mixins import aws_template_fields
from botocore.exceptions import ClientError

from airflow_spot.core.durations import seconds
from airflow_spot.core.log_messages import task_line
from airflow_spot.core.request_schema import Shape, coerce
from airflow_spot.core.templates import is_template
from airflow_spot.errors import RequestError, SpotTrainingError
from airflow_spot.hooks.training import SageMakerSpotTrainingHook
from airflow_spot.runs.reaper_notice import note_run

if TYPE_CHECKING:
    from airflow_spot.compat.sdk import Context


class SageMakerSpotReaperOperator(AwsBaseOperator[SageMakerSpotTrainingHook]):
    """
    Find live training jobs of this Airflow whose task instance is finished or gone, and stop them.

    A task stops its own job when it ends; this is for what escapes, such as a task that is marked failed between two
    tries. Schedule it every half hour: :mod:`airflow_spot.reaper_dag` is such a DAG. A run costs a list of the live
    jobs and two calls for each; after it, the Variable ``airflow_spot_reaper_ran`` says when it was. Whose a job is, is
    proved by its tags and the key in its name: a job of another namespace, and one of a DAG that this Airflow has no
    run of, is left alone. The checkpoints stay.

    It needs sagemaker:ListTrainingJobs, DescribeTrainingJob, ListTags, AddTags and StopTrainingJob.

    :param stop: False only reports (templated).
    :param grace: how long a new job is left alone, as "10m" or in seconds (templated).
    :param aws_conn_id: and ``region_name``, ``verify``, ``botocore_config``: as for every Amazon operator.
    :return: ``{"live": <how many jobs>, "orphans": [...]}``, each orphan with its job, task instance, reason and
        whether it was stopped.
    :raises InvalidParameterError: an argument cannot be understood.
    :raises RequestError: nothing tells this deployment's jobs from another's.
    :raises SpotTrainingError: some could not be stopped; the others were.
    """

    aws_hook_class = SageMakerSpotTrainingHook
    template_fields: Sequence[str] = aws_template_fields("stop", "grace")
    ui_color: str = "#d6ecd2"

    def __init__(self, *, stop: bool | str = True, grace: str | float | timedelta = "10m", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stop = stop
        self.grace = grace
        if not any(is_template(each) for each in (stop, grace)):
            self._options()

    def _options(self) -> tuple[timedelta, bool]:
        return timedelta(seconds=seconds("grace", self.grace)), coerce(self.stop, Shape("boolean"), "stop")

    def execute(self, context: Context) -> dict[str, Any]:
        """Find, tell and stop."""
        from airflow_spot.aws.orphans import Orphans
        from airflow_spot.compat.task_states import in_task
        from airflow_spot.config import deployment_namespace

        grace, stop = self._options()
        namespace = deployment_namespace()
        if namespace is None:
            raise RequestError(
                "[airflow_spot] namespace is not set, and the base URL does not tell this Airflow from others: jobs of "
                "another deployment could be taken for its own. Set AIRFLOW__AIRFLOW_SPOT__NAMESPACE"
            )
        orphans = Orphans(self.hook.client, namespace, in_task, _now, grace)
        found = list(orphans.find())
        for one in found:
            if one.orphan is None:
                self.log.warning("Cannot tell whether %s (%s) is used: %s", one.job, task_line(one.task), one.reason)
        theirs, failures = [one for one in found if one.orphan], []
        for number, one in enumerate(theirs):
            self.log.warning("%s is an orphan of %s: %s", one.job, task_line(one.task), one.reason)
            if not stop:
                continue
            try:
                theirs[number] = again = orphans.stop(one)
            except ClientError as error:
                failures.append(f"{one.job}: {error}")
            else:
                self.log.info("%s: %s", one.job, "stopped" if again.stopped else f"left alone, {again.reason}")
        self.log.info("%d of %d live jobs are orphans", len(theirs), len(found))
        if stop:
            note_run(_now(), self.log)
        if failures:
            raise SpotTrainingError(f"{len(failures)} of {len(theirs)} orphans still run: " + "; ".join(failures))
        return {"live": len(found), "orphans": [one.to_json() for one in theirs]}


def _now() -> datetime:
    return datetime.now(timezone.utc)
