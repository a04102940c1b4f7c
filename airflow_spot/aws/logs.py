"""A training job's output in CloudWatch, over all its restarts, without the values that may be secrets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from airflow_spot.core.secrets.masking import Mask, MaskedLines

LOG_GROUP = "/aws/sagemaker/TrainingJobs"
#: CloudWatch may answer with pages without a line in them before those that have some.
_EMPTY_PAGES = 20


class JobLog:
    """
    Follows the log of one training job.

    Every restart writes a stream of its own, so the streams are listed again at each poll. AWS's containers print all
    hyperparameters and the command line there, so nothing is told of it before the job's description has said what to
    hide.

    :param client: a boto3 client for ``logs``.
    :param job_name: whose log.
    :param describe: returns the job's description; None where it is gone. Called once, when there is something to tell.
    """

    def __init__(self, client: Any, job_name: str, describe: Callable[[], Mapping[str, Any] | None]) -> None:
        self._client = client
        self._job_name = job_name
        self._describe = describe
        self._mask: Mask | None = None
        self._masked: dict[str, MaskedLines] = {}
        self._tokens: dict[str, str] = {}

    def new_lines(self) -> Iterator[str]:
        """Yield what came since the last call. What cannot be read now is read the next time."""
        try:
            for stream in self._streams():
                yield from self._read_on(stream)
        except _NotDescribedError as error:
            yield f"(the job's log is not shown: {error})"
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
                events = page["events"]
                if events:
                    masked = self._mask_of_job().lines(_messages(events), begun=len(events) < limit)
                    lines += zip((event["timestamp"] for event in events), masked, strict=True)
        except _NotDescribedError as error:
            return [f"(the job's log is not shown: {error})"]
        except (ClientError, BotoCoreError) as error:
            if not _absent(error):
                return [f"(the job's log cannot be read: {error})"]
        return [message for _, message in sorted(lines, key=lambda line: line[0])][-limit:]

    def _mask_of_job(self) -> Mask:
        if self._mask is None:
            description = self._describe()
            if description is None:
                raise _NotDescribedError(f"{self._job_name} no longer exists, so its secrets cannot be masked")
            self._mask = Mask.of(description)
        return self._mask

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
            if page["events"]:
                if stream not in self._masked:
                    self._masked[stream] = MaskedLines(self._mask_of_job())
                yield from self._masked[stream].hide(_messages(page["events"]))
            empty = 0 if page["events"] else empty + 1
            self._tokens[stream] = page["nextForwardToken"]
            # The same token twice is how CloudWatch says that the stream's end is reached.
            if page["nextForwardToken"] == token:
                return


class _NotDescribedError(Exception):
    """The job is gone, and with it what says which values are secrets."""


def _messages(events: list[Any]) -> list[str]:
    return [event["message"].rstrip("\n") for event in events]


def _absent(error: Exception) -> bool:
    return isinstance(error, ClientError) and error.response["Error"]["Code"] == "ResourceNotFoundException"
