"""Search."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.jobs import Jobs


class Found:
    """Three jobs of different kinds, and who of them an expression finds."""

    def __init__(self, jobs: Jobs) -> None:
        self.jobs = jobs
        self.mark = f"find{time.time_ns()}"
        channel = {
            "ChannelName": "train",
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://bucket/in/a"}},
        }
        other = {
            "ChannelName": "test",
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://bucket/in/b"}},
        }
        jobs.put("in/a/x", "1")
        jobs.put("in/b/x", "1")
        jobs.start(
            "print('loss=0.5;')",
            TrainingJobName=f"{self.mark}-A",
            HyperParameters={"rate": "0.5"},
            Tags=[{"Key": "owner", "Value": "ann"}],
            InputDataConfig=[channel],
        )
        jobs.start(
            "import sys; sys.exit(1)",
            TrainingJobName=f"{self.mark}-B",
            HyperParameters={"rate": "10"},
            Tags=[{"Key": "owner", "Value": "bob"}, {"Key": "x", "Value": ""}],
        )
        jobs.start(
            "pass",
            spot=False,
            TrainingJobName=f"{self.mark}-C",
            HyperParameters={"rate.x": "2"},
            InputDataConfig=[other],
        )
        for letter in "ABC":
            jobs.end(f"{self.mark}-{letter}")

    def __call__(self, *filters: tuple[str, ...], **expression: Any) -> str:
        entries = [dict(zip(("Name", "Operator", "Value"), entry, strict=False)) for entry in filters]
        mine = {"Filters": [{"Name": "TrainingJobName", "Operator": "Contains", "Value": self.mark}]}
        rest = {**({"Filters": entries} if entries else {}), **expression}
        both = {"SubExpressions": [mine, *([rest] if rest else [])]}
        results = self.search(SearchExpression=both)
        return "".join(sorted(name[-1] for name in results))

    def search(self, **query: Any) -> list[str]:
        pages = self.jobs.sagemaker.get_paginator("search").paginate(Resource="TrainingJob", **query)
        return [result["TrainingJob"]["TrainingJobName"] for page in pages for result in page["Results"]]


@pytest.fixture(scope="module")
def found(jobs: Jobs) -> Iterator[Found]:
    yield Found(jobs)


@pytest.mark.parametrize(
    ("filters", "who"),
    [
        ([], "ABC"),
        ([("TrainingJobStatus", "Equals", "Completed")], "AC"),
        ([("TrainingJobStatus", "NotEquals", "Completed")], "B"),
        ([("TrainingJobStatus", "In", "Failed, Stopped")], "B"),
        ([("Tags.owner", "Equals", "ann")], "A"),
        ([("Tags.owner", "Equals", "Ann")], ""),
        ([("Tags.owner", "In", "ann,bob")], "AB"),
        ([("Tags.owner", "Contains", "OB")], "B"),
        ([("Tags.owner", "Exists")], "AB"),
        ([("Tags.owner", "NotExists")], "C"),
        ([("Tags.owner", "NotEquals", "ann")], "BC"),
        ([("Tags.x", "Exists")], "B"),
        ([("HyperParameters.rate", "LessThan", "1")], "A"),
        ([("HyperParameters.rate", "GreaterThanOrEqualTo", "9")], "B"),
        ([("HyperParameters.rate.x", "Equals", "2")], "C"),
        ([("EnableManagedSpotTraining", "Equals", "true")], "AB"),
        ([("ResourceConfig.InstanceType", "Equals", "ml.m5.large")], "ABC"),
        ([("InputDataConfig.ChannelName", "Equals", "train")], "A"),
        ([("FailureReason", "Contains", "exit code")], "B"),
        ([("CreationTime", "GreaterThan", "2020-01-01T00:00:00Z")], "ABC"),
        ([("CreationTime", "LessThan", "2020-01-01T00:00:00")], ""),
        ([("TrainingJobStatus", "Equals", "Completed"), ("Tags.owner", "Equals", "ann")], "A"),
        ([("NoSuchProperty", "Equals", "x")], ""),
    ],
)
def test_filters(found: Found, filters: list[tuple[str, ...]], who: str) -> None:
    assert found(*filters) == who


def test_or_nested_and_subexpressions(found: Found) -> None:
    ann, failed = ("Tags.owner", "Equals", "ann"), ("TrainingJobStatus", "Equals", "Failed")
    assert found(ann, failed, Operator="Or") == "AB"
    assert found(ann, failed, Operator="And") == ""
    uri = "InputDataConfig.DataSource.S3DataSource.S3Uri"

    def nested(channel: str, text: str) -> list[dict[str, Any]]:
        filters = [
            {"Name": "InputDataConfig.ChannelName", "Operator": "Equals", "Value": channel},
            {"Name": uri, "Operator": "Contains", "Value": text},
        ]
        return [{"NestedPropertyName": "InputDataConfig", "Filters": filters}]

    assert found(NestedFilters=nested("train", "in/a")) == "A"
    assert found(NestedFilters=nested("train", "in/b")) == ""
    inner = {"Filters": [{"Name": "Tags.owner", "Operator": "Exists"}]}
    assert found(SubExpressions=[inner, {"NestedFilters": nested("test", "in/b")}], Operator="Or") == "ABC"


def test_results_are_descriptions_with_tags_sorted_and_paged(found: Found) -> None:
    expression = {"Filters": [{"Name": "TrainingJobName", "Operator": "Contains", "Value": found.mark}]}
    query = {"Resource": "TrainingJob", "SearchExpression": expression, "MaxResults": 2}
    first = found.jobs.sagemaker.search(SortBy="TrainingJobName", SortOrder="Ascending", **query)
    assert first["TotalHits"] == {"Value": 3, "Relation": "EqualTo"}
    record = first["Results"][0]["TrainingJob"]
    assert record["Tags"] == [{"Key": "owner", "Value": "ann"}]
    described = found.jobs.describe(record["TrainingJobName"])
    # The time of the last change continues for a moment after a job's end.
    del described["ResponseMetadata"], described["LastModifiedTime"]
    assert {key: record[key] for key in described} == described
    second = found.jobs.sagemaker.search(
        SortBy="TrainingJobName", SortOrder="Ascending", NextToken=first["NextToken"], **query
    )
    names = [result["TrainingJob"]["TrainingJobName"][-1] for page in (first, second) for result in page["Results"]]
    assert names == ["A", "B", "C"]
    assert [name[-1] for name in found.search(SearchExpression=expression, SortBy="CreationTime")] == ["C", "B", "A"]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"Resource": "Pipeline"}, "Search for Pipeline is not implemented"),
        ({"SearchExpression": {"Filters": [{"Name": "TrainingJobName", "Operator": "Equals"}]}}, "needs a Value"),
        ({"SearchExpression": {"Filters": [{"Name": "X", "Operator": "Exists", "Value": "x"}]}}, "takes no Value"),
        (
            {"SearchExpression": {"NestedFilters": [{"NestedPropertyName": "A", "Filters": [{"Name": "B.C"}]}]}},
            "not below it",
        ),
        (
            {"SearchExpression": {"SubExpressions": [{"Filters": [{"Name": "A"}] * 20}, {"Filters": [{"Name": "A"}]}]}},
            "more than 20",
        ),
    ],
)
def test_expressions_that_are_wrong(found: Found, query: dict[str, Any], message: str) -> None:
    with pytest.raises(ClientError, match=message):
        found.jobs.sagemaker.search(**{"Resource": "TrainingJob", **query})
