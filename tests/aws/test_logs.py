"""A job's output over all its restarts, from CloudWatch as moto has it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from airflow_spot.aws.logs import LOG_GROUP, JobLog

MILLISECONDS = 1_000


class CloudWatch:
    """Where containers write."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.clock = (int(time.time()) - 3_600) * MILLISECONDS  # CloudWatch refuses what is old

    def write(self, stream: str, *lines: str) -> None:
        """Write lines, each a second after the one before."""
        try:
            self.client.create_log_stream(logGroupName=LOG_GROUP, logStreamName=stream)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceAlreadyExistsException":
                raise
        events = []
        for line in lines:
            self.clock += MILLISECONDS
            events.append({"timestamp": self.clock, "message": line})
        if events:
            self.client.put_log_events(logGroupName=LOG_GROUP, logStreamName=stream, logEvents=events)


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client for logs."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        yield boto3.client("logs", region_name="us-east-1")


@pytest.fixture
def logs(client: Any) -> CloudWatch:
    """The group, empty."""
    client.create_log_group(logGroupName=LOG_GROUP)
    return CloudWatch(client)


def test_lines_come_once_and_restarts_are_followed(logs: CloudWatch) -> None:
    log = JobLog(logs.client, "job")
    assert list(log.new_lines()) == []
    logs.write("job/algo-1-100", "one", "two\n")
    assert list(log.new_lines()) == ["one", "two"]
    assert list(log.new_lines()) == []
    logs.write("job/algo-1-100", "three")
    logs.write("job/algo-1-200", "again", "four")
    assert list(log.new_lines()) == ["three", "again", "four"]
    logs.write("job/algo-1-200", "five")
    assert list(log.new_lines()) == ["five"]
    assert list(log.new_lines()) == []


def test_another_jobs_lines_are_not_this_ones(logs: CloudWatch) -> None:
    logs.write("job-10/algo-1-100", "not mine")
    logs.write("a-job/algo-1-100", "not mine")
    logs.write("job/algo-1-100", "mine")
    assert list(JobLog(logs.client, "job").new_lines()) == ["mine"]
    assert JobLog(logs.client, "job").tail(10) == ["mine"]


def test_more_than_a_page_comes_whole_and_in_order(logs: CloudWatch) -> None:
    lines = [f"line {number} {'x' * 200}" for number in range(6_000)]
    for start in range(0, len(lines), 3_000):
        logs.write("job/algo-1-100", *lines[start : start + 3_000])
    # As fast as it is asked: what one look did not bring, the next does.
    log, read = JobLog(logs.client, "job"), []
    for _ in range(10):
        read += list(log.new_lines())
    assert read == lines


def test_the_tail_is_the_newest_over_all_streams(logs: CloudWatch) -> None:
    logs.write("job/algo-1-100", "a", "b", "c")
    logs.write("job/algo-1-200", "d", "e\n")
    logs.write("job/algo-1-300")
    log = JobLog(logs.client, "job")
    assert log.tail(4) == ["b", "c", "d", "e"]
    assert log.tail(100) == ["a", "b", "c", "d", "e"]
    assert list(log.new_lines()) == ["a", "b", "c", "d", "e"]  # a tail takes nothing away


def test_the_tail_of_many_restarts_is_of_the_last_ones(logs: CloudWatch) -> None:
    for number in range(12):
        logs.write(f"job/algo-1-{number:03d}", f"life {number}")
    assert JobLog(logs.client, "job").tail(2) == ["life 10", "life 11"]


def test_a_missing_group_or_job_is_no_error(client: Any) -> None:
    assert JobLog(client, "job").tail(5) == []
    assert list(JobLog(client, "job").new_lines()) == []
    client.create_log_group(logGroupName=LOG_GROUP)
    assert JobLog(client, "job").tail(5) == []
    assert list(JobLog(client, "job").new_lines()) == []


def test_what_cannot_be_read_is_said_and_ends_nothing(client: Any) -> None:
    """The log is there for people: not to be permitted to read it must not end a training."""

    def deny(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "DescribeLogStreams")

    client.meta.events.register("before-call.cloudwatch-logs.DescribeLogStreams", deny)
    log = JobLog(client, "job")
    (line,) = log.new_lines()
    assert "cannot be read" in line and "AccessDenied" in line
    (line,) = log.tail(5)
    assert "cannot be read" in line and "AccessDenied" in line


def test_pages_without_a_line_hide_none(logs: CloudWatch, monkeypatch: pytest.MonkeyPatch) -> None:
    """CloudWatch may answer so; moto never does, so that its answers come after three such pages."""
    logs.write("job/algo-1-1", "one", "two")
    get = logs.client.get_log_events

    def sparse(**arguments: Any) -> Any:
        token = str(arguments.get("nextToken", ""))
        if token.startswith("empty-") or not token:
            seen = int(token.removeprefix("empty-") or 0)
            if seen < 3:
                return {"events": [], "nextForwardToken": f"empty-{seen + 1}"}
            arguments.pop("nextToken", None)
        return get(**arguments)

    monkeypatch.setattr(logs.client, "get_log_events", sparse)
    assert list(JobLog(logs.client, "job").new_lines()) == ["one", "two"]
