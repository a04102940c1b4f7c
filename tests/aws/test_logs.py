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
    log = JobLog(logs.client, "job", dict)
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
    assert list(JobLog(logs.client, "job", dict).new_lines()) == ["mine"]
    assert JobLog(logs.client, "job", dict).tail(10) == ["mine"]


def test_more_than_a_page_comes_whole_and_in_order(logs: CloudWatch) -> None:
    lines = [f"line {number} {'x' * 200}" for number in range(6_000)]
    for start in range(0, len(lines), 3_000):
        logs.write("job/algo-1-100", *lines[start : start + 3_000])
    # As fast as it is asked: what one look did not bring, the next does.
    log, read = JobLog(logs.client, "job", dict), []
    for _ in range(10):
        read += list(log.new_lines())
    assert read == lines


def test_the_tail_is_the_newest_over_all_streams(logs: CloudWatch) -> None:
    logs.write("job/algo-1-100", "a", "b", "c")
    logs.write("job/algo-1-200", "d", "e\n")
    logs.write("job/algo-1-300")
    log = JobLog(logs.client, "job", dict)
    assert log.tail(4) == ["b", "c", "d", "e"]
    assert log.tail(100) == ["a", "b", "c", "d", "e"]
    assert list(log.new_lines()) == ["a", "b", "c", "d", "e"]  # a tail takes nothing away


def test_the_tail_of_many_restarts_is_of_the_last_ones(logs: CloudWatch) -> None:
    for number in range(12):
        logs.write(f"job/algo-1-{number:03d}", f"life {number}")
    assert JobLog(logs.client, "job", dict).tail(2) == ["life 10", "life 11"]


def test_a_missing_group_or_job_is_no_error(client: Any) -> None:
    assert JobLog(client, "job", dict).tail(5) == []
    assert list(JobLog(client, "job", dict).new_lines()) == []
    client.create_log_group(logGroupName=LOG_GROUP)
    assert JobLog(client, "job", dict).tail(5) == []
    assert list(JobLog(client, "job", dict).new_lines()) == []


def test_what_cannot_be_read_is_said_and_ends_nothing(client: Any) -> None:
    """The log is there for people: not to be permitted to read it must not end a training."""

    def deny(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "DescribeLogStreams")

    client.meta.events.register("before-call.cloudwatch-logs.DescribeLogStreams", deny)
    log = JobLog(client, "job", dict)
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
    assert list(JobLog(logs.client, "job", dict).new_lines()) == ["one", "two"]


JOB = {"HyperParameters": {"password": "hunter2", "epochs": "10", "token": "abcdefghijklmnopqrst"}}


def test_no_line_is_told_with_a_value_of_the_job(logs: CloudWatch) -> None:
    """Neither as it comes nor at the end; also where lines were split, each stream by itself."""
    described = []

    def describe() -> dict[str, Any]:
        described.append(1)
        return JOB

    log = JobLog(logs.client, "job", describe)
    assert list(log.new_lines()) == [] == log.tail(5)
    assert not described
    logs.write("job/algo-1-100", "SM_HP_PASSWORD=hunter2", "train.py --epochs 10", "the token abcdefghij")
    logs.write("job/algo-2-100", "klmnopqrst", "step 3 of 10")
    assert list(log.new_lines()) == [
        "SM_HP_PASSWORD=***",
        "train.py --epochs ***",
        "the token ***",
        "klmnopqrst",
        "step 3 of 10",
    ]
    logs.write("job/algo-1-100", "klmnopqrst", "step 4 of 10")
    assert list(log.new_lines()) == ["***", "step 4 of 10"]
    assert log.tail(2) == ["***", "step 4 of 10"]
    assert log.tail(1) == ["step 4 of 10"]
    assert described == [1]


def test_what_cannot_be_masked_is_not_shown(logs: CloudWatch) -> None:
    logs.write("job/algo-1-100", "hunter2")
    gone = JobLog(logs.client, "job", lambda: None)
    for told in (list(gone.new_lines()), gone.tail(5)):
        assert told == ["(the job's log is not shown: job no longer exists, so its secrets cannot be masked)"]


def test_a_job_that_cannot_be_described_now_is_shown_the_next_time(logs: CloudWatch) -> None:
    answers: list[Any] = [ClientError({"Error": {"Code": "Throttling", "Message": "slower"}}, "Describe"), JOB]

    def describe() -> dict[str, Any]:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[no-any-return]

    logs.write("job/algo-1-100", "one", "hunter2")
    log = JobLog(logs.client, "job", describe)
    (line,) = log.new_lines()
    assert "cannot be read now" in line
    assert list(log.new_lines()) == ["one", "***"]
