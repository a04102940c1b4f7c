"""What a laptop cannot do is refused when a job is created, by both engines, with one clear error."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.jobs import Jobs

GROUPS = [
    {"InstanceGroupName": "data", "InstanceType": "ml.c5.18xlarge", "InstanceCount": 2},
    {"InstanceGroupName": "train", "InstanceType": "ml.p3.2xlarge", "InstanceCount": 1},
]


def channel(**source: Any) -> list[dict[str, Any]]:
    return [{"ChannelName": "train", "DataSource": source}]


def file_system(kind: str) -> list[dict[str, Any]]:
    return channel(
        FileSystemDataSource={
            "FileSystemId": "fs-0123456789abcdef0",
            "FileSystemAccessMode": "ro",
            "FileSystemType": kind,
            "DirectoryPath": "/data",
        }
    )


S3 = channel(S3DataSource={"S3DataType": "S3Prefix", "S3Uri": "s3://bucket/data"})


@pytest.fixture(params=["jobs", "simulated_jobs"], ids=["process", "simulated"])
def either(request: pytest.FixtureRequest) -> Jobs:
    jobs: Jobs = request.getfixturevalue(request.param)
    jobs.put("data/a", "1")
    return jobs


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            {"ResourceConfig": {"InstanceGroups": GROUPS, "VolumeSizeInGB": 10}},
            "InstanceGroups (heterogeneous clusters) are not implemented by Local SageMaker",
        ),
        (
            {
                "AlgorithmSpecification": {"TrainingImage": "image", "TrainingInputMode": "Pipe"},
                "InputDataConfig": S3,
            },
            "TrainingInputMode Pipe is not implemented by Local SageMaker; use File or FastFile",
        ),
        (
            {"InputDataConfig": [{**S3[0], "InputMode": "Pipe"}]},
            "TrainingInputMode Pipe is not implemented by Local SageMaker; use File or FastFile",
        ),
        (
            {"InputDataConfig": file_system("FSxLustre")},
            "Channel train: FileSystemDataSource (Amazon EFS, FSx for Lustre) is not implemented by Local SageMaker; "
            "use S3DataSource",
        ),
        (
            {"InputDataConfig": file_system("EFS")},
            "Channel train: FileSystemDataSource (Amazon EFS, FSx for Lustre) is not implemented by Local SageMaker; "
            "use S3DataSource",
        ),
    ],
    ids=["groups", "pipe", "pipe-of-a-channel", "fsx", "efs"],
)
def test_what_is_not_there_is_refused_at_once(either: Jobs, change: dict[str, Any], says: str) -> None:
    request = {**either.request(), **change}
    with pytest.raises(ClientError) as refused:
        either.sagemaker.create_training_job(**request)
    assert refused.value.response["Error"] == {"Code": "ValidationException", "Message": says}
    named = request["TrainingJobName"]
    assert either.sagemaker.list_training_jobs(NameContains=named)["TrainingJobSummaries"] == []
