"""The buttons of a task: its job, logs, checkpoints and model, and the page that shows the run's timeline."""

from __future__ import annotations

from typing import Any

from airflow.providers.amazon.aws.links.base_aws import BaseAwsLink

from airflow_spot.compat.link_rows import LINKS_ARE_MADE_WHEN_SHOWN, read_link, write_link
from airflow_spot.config import pages_base
from airflow_spot.render import routes


class _KeptLink(BaseAwsLink):
    """
    A link whose URL is one XCom of the task, under :attr:`key`.

    Airflow 3 pushes what :meth:`get_link` returns under :attr:`xcom_key` whenever a task ends or defers. These are the
    same key here, so that there is one row, which is there from the first moment on.
    """

    format_str = "{url}"

    @property
    def xcom_key(self) -> str:
        """Where Airflow 3 keeps and reads the URL."""
        return self.key

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Return the URL that was kept; empty where there is none. It never raises."""
        return read_link(ti_key, self.key)

    @classmethod
    def keep(cls, ti: Any, url: str) -> None:
        """
        Have the link lead somewhere.

        :param ti: the task instance of a task's context.
        """
        write_link(ti, cls.key, url)


class SageMakerTrainingJobLink(_KeptLink):
    """The training job of the newest attempt."""

    name = "SageMaker Training Job"
    key = "sagemaker_spot_training_job"


class SageMakerTrainingLogsLink(_KeptLink):
    """The newest attempt's output in CloudWatch, the streams of all its restarts."""

    name = "SageMaker Training Logs"
    key = "sagemaker_spot_training_logs"


class SageMakerCheckpointsLink(_KeptLink):
    """The folder in S3 where the run keeps its checkpoints."""

    name = "SageMaker Checkpoints"
    key = "sagemaker_spot_checkpoints"


class SageMakerModelLink(_KeptLink):
    """The model in S3, once the run has succeeded."""

    name = "SageMaker Model"
    key = "sagemaker_spot_model"


class SpotTimelineLink(_KeptLink):
    """The page of this package that shows the run: its attempts, interruptions, costs, and decisions."""

    name = "Spot timeline"
    key = "sagemaker_spot_timeline_page"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Return the page's address below Airflow's own: its task instance names it."""
        try:
            index = getattr(ti_key, "map_index", None)
            place = (ti_key.dag_id, ti_key.run_id, ti_key.task_id, -1 if index is None else int(index))
            return routes.task(pages_base(), *place)
        except Exception:
            return ""  # on Airflow 3.0 a link that raises ends the task

    @classmethod
    def keep_own(cls, ti: Any) -> None:
        """Push the link as the task begins, on an Airflow that reads links from XComs."""
        if not LINKS_ARE_MADE_WHEN_SHOWN:
            cls.keep(ti, cls().get_link(None, ti_key=ti))


#: What the pages show of a task's links, in this order.
KEPT_LINKS: tuple[type[_KeptLink], ...] = (
    SageMakerTrainingJobLink,
    SageMakerTrainingLogsLink,
    SageMakerCheckpointsLink,
    SageMakerModelLink,
)
LINKS: tuple[type[_KeptLink], ...] = (*KEPT_LINKS, SpotTimelineLink)
