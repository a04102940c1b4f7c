"""Where AWS's console, or Local SageMaker's page, shows what belongs to a run. Pure: places in, URLs out."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from airflow_spot.core.locations import is_loopback

#: Each partition's console. A partition that is not here gets no link rather than one that leads nowhere.
CONSOLES = {
    "aws": "console.aws.amazon.com",
    "aws-cn": "console.amazonaws.cn",
    "aws-us-gov": "console.amazonaws-us-gov.com",
    "aws-eusc": "console.amazonaws-eusc.eu",
}
#: Below it are Local SageMaker's pages; a test compares it with theirs.
LOCAL_PAGES = "/_airflow_spot/page"


@dataclass(frozen=True)
class Place:
    """
    Where a run's jobs are.

    :param endpoint_url: where SageMaker is called; on this machine it is Local SageMaker.
    """

    region: str
    partition: str = "aws"
    endpoint_url: str = ""

    @property
    def is_local(self) -> bool:
        """Whether Local SageMaker has the jobs, and its page shows them."""
        return bool(self.endpoint_url) and is_loopback(urlsplit(self.endpoint_url).hostname or "")

    @property
    def console(self) -> str | None:
        """The console's address up to the path; None where no console is known."""
        host = CONSOLES.get(self.partition)
        return None if host is None else f"https://{host}"

    def local(self, job_name: str, part: str = "") -> str:
        """Return Local SageMaker's page of a job."""
        parts = urlsplit(self.endpoint_url)
        path = f"{LOCAL_PAGES}/training/{quote(self.region, safe='')}/{quote(job_name, safe='')}"
        return f"{parts.scheme}://{parts.netloc}{path}{f'#{part}' if part else ''}"


def job_url(place: Place, job_name: str) -> str:
    """Return the page of a training job; empty where there is none."""
    if place.is_local:
        return place.local(job_name)
    return f"{place.console}/sagemaker/home?region={place.region}#/jobs/{job_name}" if place.console else ""


def logs_url(place: Place, job_name: str) -> str:
    """Return the page of a job's output in CloudWatch: the streams of all its restarts."""
    if place.is_local:
        return place.local(job_name, "logs")
    if not place.console:
        return ""
    # The console writes its fragment encoded twice, with $ for %. The slash keeps jobs out whose names begin alike.
    return (
        f"{place.console}/cloudwatch/home?region={place.region}#logsV2:log-groups/log-group/"
        f"$252Faws$252Fsagemaker$252FTrainingJobs$3FlogStreamNameFilter$3D{job_name}$252F"
    )


def folder_url(place: Place, uri: str, job_name: str) -> str:
    """
    Return the page of a folder in S3.

    :param job_name: of the job that keeps its checkpoints there.
    """
    if place.is_local:
        return place.local(job_name, "checkpoints")
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    if not place.console or not bucket:
        return ""
    return f"{place.console}/s3/buckets/{bucket}?region={place.region}&prefix={quote(prefix.strip('/'))}/"


def object_url(place: Place, uri: str, job_name: str) -> str:
    """
    Return the page of an object in S3, such as a model.

    :param job_name: of the job that made it.
    """
    if place.is_local:
        return place.local(job_name, "model")
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not place.console or not bucket or not key:
        return ""
    return f"{place.console}/s3/object/{bucket}?region={place.region}&prefix={quote(key)}"
