"""A training job's output in CloudWatch, over all its restarts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

LOG_GROUP = "/aws/sagemaker/TrainingJobs"
#: CloudWatch may answer with pages without a line in them before those that have some.
_EMPTY_PAGES = 20


class JobLog:
    """
    Follows the log of one training job.

    Every restart writes a stream of its own, so the streams are listed again at each poll.

    :param client: a boto3 client for ``logs``.
    :param job_name: whose log.
    """

    def __init__(self, client: Any, job_name: str) -> None:
        self._client = client
        self._job_name = job_name
        self._tokens: dict[str, str] = {}

    def new_lines(self) -> Iterator[str]:
        """Yield what came since the last call. What cannot be read now is read the next time."""
        try:
            for stream in self._streams():
                yield from self._read_on(stream)
        except (ClientError, BotoCoreError) as error:
            if not _absent(error):
                yield f"(the job's log cannot be read now: {error})"

    def tail(self, limit: int) -> list[str]:
        """Return the last lines of the newest streams; empty where nothing was written or it cannot be read."""
        lines: list[tuple[int, str]] = []
        try:
            for stream in self._streams()[-8:]:
                page = self._client.get_log_events(
                    logGroupName=LOG_GROUP, logStreamName=stream, limit=limit, startFromHead=False
                )
                lines += [(event["timestamp"], event["message"]) for event in page["events"]]
        except (ClientError, BotoCoreError) as error:
            if not _absent(error):
                return [f"(the job's log cannot be read: {error})"]
        return [message.rstrip("\n") for _, message in sorted(lines, key=lambda line: line[0])][-limit:]

    def _streams(self) -> list[str]:
        pages = self._client.get_paginator("describe_log_streams").paginate(
            logGroupName=LOG_GROUP, logStreamNamePrefix=f"{self._job_name}/"
        )
        streams = [stream for page in pages for stream in page["logStreams"]]
        return [
            stream["logStreamName"] for stream in sorted(streams, key=lambda s: (s["creationTime"], s["logStreamName"]))
        ]

    def _read_on(self, stream: str) -> Iterator[str]:
        empty = 0
        while empty <= _EMPTY_PAGES:
            token = self._tokens.get(stream)
            page = self._client.get_log_events(
                logGroupName=LOG_GROUP,
                logStreamName=stream,
                startFromHead=True,
                **({"nextToken": token} if token else {}),
            )
            for event in page["events"]:
                yield event["message"].rstrip("\n")
            empty = 0 if page["events"] else empty + 1
            self._tokens[stream] = page["nextForwardToken"]
            # The same token twice is how CloudWatch says that the stream's end is reached.
            if page["nextForwardToken"] == token:
                return


def _absent(error: Exception) -> bool:
    return isinstance(error, ClientError) and error.response["Error"]["Code"] == "ResourceNotFoundException"
