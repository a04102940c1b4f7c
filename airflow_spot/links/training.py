"""Links from a task in Airflow to its job in AWS's console."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from airflow.providers.amazon.aws.links.base_aws import BASE_AWS_CONSOLE_LINK, BaseAwsLink


class SageMakerTrainingJobLink(BaseAwsLink):
    """The training job of the newest attempt."""

    name = "SageMaker Training Job"
    key = "sagemaker_spot_training_job"
    format_str = BASE_AWS_CONSOLE_LINK + "/sagemaker/home?region={region_name}#/jobs/{job_name}"


class SageMakerTrainingLogsLink(BaseAwsLink):
    """The newest attempt's output in CloudWatch, the streams of all its restarts."""

    name = "SageMaker Training Logs"
    key = "sagemaker_spot_training_logs"
    format_str = (
        BASE_AWS_CONSOLE_LINK + "/cloudwatch/home?region={region_name}#logsV2:log-groups/log-group/"
        "$252Faws$252Fsagemaker$252FTrainingJobs$3FlogStreamNameFilter$3D{job_name}$252F"
    )


class SageMakerCheckpointsLink(BaseAwsLink):
    """The folder in S3 where the run keeps its checkpoints."""

    name = "SageMaker Checkpoints"
    key = "sagemaker_spot_checkpoints"
    format_str = BASE_AWS_CONSOLE_LINK + "/s3/buckets/{bucket}?region={region_name}&prefix={prefix}/"

    def format_link(self, **kwargs: Any) -> str:
        """Format the link; a prefix may hold characters that a URL may not."""
        if "prefix" in kwargs:
            kwargs["prefix"] = quote(str(kwargs["prefix"]))
        return str(super().format_link(**kwargs))
