"""SageMaker for a watcher: a hook of its own, and what its errors mean."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from airflow_spot.aws.checkpoint_store import look_at
from airflow_spot.aws.retrying import is_expired, is_transient
from airflow_spot.aws.script_progress import read_report
from airflow_spot.core.folder_look import FolderLook
from airflow_spot.core.identity import MARKER
from airflow_spot.core.outcomes import DENIED_CODES
from airflow_spot.core.script_progress import ScriptProgress
from airflow_spot.watch.service import ErrorKind
from airflow_spot.watch.sweep import PAGE_SIZE

if TYPE_CHECKING:
    from airflow_spot.hooks.training import SageMakerSpotTrainingHook

#: The watcher itself repeats what failed, and slows down for it: botocore must not do so behind its back. And a call
#: that hangs holds up all jobs.
_CONFIG: dict[str, Any] = {
    "retries": {"mode": "standard", "total_max_attempts": 1},
    "connect_timeout": 10,
    "read_timeout": 20,
}


#: Where an ARN has the account; the region is before it.
_ARN_ACCOUNT = 4
_BATCH = 10  # what SQS gives and takes at a time


class SageMakerSource:
    """
    What a watcher calls. The hook and its client are made by the first call, in a thread.

    :param settings: arguments of the hook: ``aws_conn_id``, ``region_name``, ``verify``, ``config``.
    """

    def __init__(self, **settings: Any) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._hook: SageMakerSpotTrainingHook | None = None
        #: Region and account, from the ARN of any job, with the endpoint: two services have a quota each.
        self.account: str | None = None

    @property
    def clock_offset(self) -> float:
        """Seconds by which AWS's clock is ahead of this machine's."""
        return 0.0 if self._hook is None else self._hook.clock.offset

    def describe(self, job_name: str) -> Mapping[str, Any] | None:
        """Describe a training job; None where there is none of that name."""
        found = self._connect().find(job_name)
        if found is not None:
            self._learn(found)
        return found

    def page(self, token: str | None, after: datetime | None) -> Mapping[str, Any]:
        """List a page of our jobs, newest first."""
        asked: dict[str, Any] = {"NextToken": token} if token else {}
        if after is not None:
            asked["LastModifiedTimeAfter"] = after
        page: Mapping[str, Any] = self._connect().client.list_training_jobs(
            NameContains=f"{MARKER}-", SortBy="CreationTime", SortOrder="Descending", MaxResults=PAGE_SIZE, **asked
        )
        for summary in page.get("TrainingJobSummaries", ())[:1]:
            self._learn(summary)
        return page

    def folder(self, uri: str) -> FolderLook:
        """Look at a checkpoint folder, by one list."""
        now = datetime.fromtimestamp(time.time() + self.clock_offset, timezone.utc)
        return look_at(self._connect_s3, uri, now, renew=self.renew)

    def report(self, uri: str) -> ScriptProgress | None:
        """Read what a script reported in a checkpoint folder."""
        return read_report(self._connect_s3, uri)

    def _learn(self, job: Mapping[str, Any]) -> None:
        arn, hook = str(job.get("TrainingJobArn") or "").split(":"), self._hook
        if hook is not None and len(arn) > _ARN_ACCOUNT:
            self.account = " ".join((*arn[_ARN_ACCOUNT - 1 : _ARN_ACCOUNT + 1], hook.client.meta.endpoint_url))

    def renew(self) -> None:
        """Read the connection again for the next call."""
        self._hook = None

    def classify_error(self, error: Exception) -> ErrorKind:
        """Return what an error of a call means."""
        return classify_error(error)

    def _connect_s3(self) -> Any:
        hook = self._connect()
        with self._lock:  # several looks come at once, and a session makes one client at a time
            return hook.s3_hook.get_conn()

    def _connect(self) -> SageMakerSpotTrainingHook:
        with self._lock:
            if self._hook is None:
                from airflow_spot.hooks.training import SageMakerSpotTrainingHook

                theirs = self._settings.get("config") or {}
                hook = SageMakerSpotTrainingHook(**{**self._settings, "config": {**_CONFIG, **theirs}})
                hook.client  # noqa: B018 - makes it, which takes half a second, and once
                self._hook = hook
            return self._hook


class SqsEventQueue:
    """
    A queue of SQS that SageMaker's events come to.

    :param url: the queue's.
    :param settings: arguments of the hook, as above.
    """

    def __init__(self, url: str, **settings: Any) -> None:
        self._url = url
        self._settings = settings
        self._client: Any = None

    def receive(self) -> Sequence[Mapping[str, Any]]:
        """Wait for messages, for as long as a triggerer's end may be held up. What is not deleted comes again."""
        answer = self._connect().receive_message(
            QueueUrl=self._url, MaxNumberOfMessages=_BATCH, WaitTimeSeconds=10, VisibilityTimeout=5
        )
        messages: Sequence[Mapping[str, Any]] = answer.get("Messages", ())
        return messages

    def delete(self, handles: Sequence[str]) -> None:
        """Take messages out of the queue; one that stays comes again, without harm."""
        entries = [{"Id": str(number), "ReceiptHandle": handle} for number, handle in enumerate(handles)]
        self._connect().delete_message_batch(QueueUrl=self._url, Entries=entries)

    def renew(self) -> None:
        """Read the connection again for the next call."""
        self._client = None

    def classify_error(self, error: Exception) -> ErrorKind:
        """Return what an error of a call means."""
        return classify_error(error)

    def _connect(self) -> Any:
        if self._client is None:
            from airflow.providers.amazon.aws.hooks.sqs import SqsHook

            theirs = self._settings.get("config") or {}
            config = {**_CONFIG, "read_timeout": 40, **theirs}
            self._client = SqsHook(**{**self._settings, "config": config}).conn
        return self._client


def classify_error(error: Exception) -> ErrorKind:
    """Return what an error of a call means for who watches."""
    code = str(error.response["Error"].get("Code", "")) if isinstance(error, ClientError) else ""
    if code in DENIED_CODES:
        return ErrorKind.DENIED
    if is_expired(error):
        return ErrorKind.EXPIRED
    if "hrottl" in code or code in _TOO_MANY:
        return ErrorKind.THROTTLED
    return ErrorKind.TRANSIENT if is_transient(error) else ErrorKind.OTHER


_TOO_MANY = frozenset({"TooManyRequestsException", "RequestLimitExceeded", "SlowDown", "BandwidthLimitExceeded"})
