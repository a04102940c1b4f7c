"""The links lead to the attempt's page in the console of its region and partition."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from unittest.mock import patch
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from airflow.providers.amazon.aws.links import base_aws
from airflow.providers.amazon.aws.links.base_aws import BaseAwsLink

from airflow_spot.links.training import (
    SageMakerCheckpointsLink,
    SageMakerTrainingJobLink,
    SageMakerTrainingLogsLink,
)
from tests.support.task import TaskInstance

JOB = "train-afspot-abcdefghij-1-1"
LINKS = [SageMakerTrainingJobLink, SageMakerTrainingLogsLink, SageMakerCheckpointsLink]


def persisted(kind: type[BaseAwsLink], partition: str = "aws", **values: str) -> str:
    """Persist a link as a worker does, and open it as the UI does."""
    ti: Any = TaskInstance("train")
    operator: Any = SimpleNamespace(do_xcom_push=True)
    kind.persist(context={"ti": ti}, operator=operator, region_name="eu-west-1", aws_partition=partition, **values)
    # The one thing that is not real here: where Airflow keeps an XCom.
    with patch.object(base_aws.XCom, "get_value", lambda key, ti_key: ti.xcoms.get(key)):
        return kind().get_link(operator, ti_key=None)  # type: ignore[arg-type]


def test_the_job() -> None:
    link = urlsplit(persisted(SageMakerTrainingJobLink, job_name=JOB))
    assert (link.scheme, link.netloc, link.path) == ("https", "console.aws.amazon.com", "/sagemaker/home")
    assert parse_qs(link.query)["region"] == ["eu-west-1"]
    assert link.fragment == f"/jobs/{JOB}"


def test_the_logs_are_of_all_restarts_and_of_no_other_job() -> None:
    link = urlsplit(persisted(SageMakerTrainingLogsLink, job_name=JOB))
    assert parse_qs(link.query)["region"] == ["eu-west-1"]
    # The console writes its fragment encoded twice, with $ for %.
    plain = unquote(unquote(link.fragment.replace("$", "%")))
    assert plain == (f"logsV2:log-groups/log-group//aws/sagemaker/TrainingJobs?logStreamNameFilter={JOB}/")


def test_the_checkpoints_whatever_the_prefix_holds() -> None:
    link = urlsplit(persisted(SageMakerCheckpointsLink, bucket="a-bucket", prefix="a b/ü&x=1#y/g0001"))
    assert link.path == "/s3/buckets/a-bucket"
    assert not link.fragment
    assert parse_qs(link.query) == {"region": ["eu-west-1"], "prefix": ["a b/ü&x=1#y/g0001/"]}


@pytest.mark.parametrize(
    ("partition", "domain"),
    [("aws", "aws.amazon.com"), ("aws-cn", "amazonaws.cn"), ("aws-us-gov", "amazonaws-us-gov.com")],
)
def test_every_partition_has_its_console(partition: str, domain: str) -> None:
    assert urlsplit(persisted(SageMakerTrainingJobLink, partition, job_name=JOB)).netloc == f"console.{domain}"


@pytest.mark.parametrize("kind", LINKS)
def test_a_task_without_a_job_has_no_link_and_no_error(kind: type[BaseAwsLink]) -> None:
    """On Airflow 3.0 a link that raises breaks the task."""
    assert persisted(kind) == ""
    with patch.object(base_aws.XCom, "get_value", lambda key, ti_key: None):
        assert kind().get_link(None, ti_key=None) == ""  # type: ignore[arg-type]


def test_names_and_keys_are_distinct() -> None:
    assert len({kind.name for kind in LINKS}) == len({kind.key for kind in LINKS}) == 3
