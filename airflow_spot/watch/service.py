"""What a watcher asks of SageMaker, and how it takes an error."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

from airflow_spot.core.folder_look import FolderLook
from airflow_spot.core.script_progress import ScriptProgress


class ErrorKind(enum.Enum):
    """
    What a call that failed means for the watcher.

    - ``THROTTLED``: too many calls: all of them become fewer.
    - ``TRANSIENT``: the same call is worth repeating.
    - ``EXPIRED``: a fresh client mends it.
    - ``DENIED``: not permitted; time does not mend it.
    - ``OTHER``: this call's own trouble, such as an answer that cannot be read.
    """

    THROTTLED = "throttled"
    TRANSIENT = "transient"
    EXPIRED = "expired"
    DENIED = "denied"
    OTHER = "other"


class Service(Protocol):
    """SageMaker in one account and region. The calls block; they come from several threads."""

    @property
    def clock_offset(self) -> float:
        """Seconds by which the service's clock is ahead of this machine's."""

    @property
    def account(self) -> str | None:
        """Names the account and region that quotas are of; None until an answer has told."""

    def describe(self, job_name: str) -> Mapping[str, Any] | None:
        """Describe a training job; None where there is none of that name."""

    def page(self, token: str | None, after: datetime | None) -> Mapping[str, Any]:
        """
        List a page of our jobs, newest first.

        :param token: of the page before; None for the first page.
        :param after: only those modified after it, for a service that keeps to that.
        """

    def folder(self, uri: str) -> FolderLook:
        """Look at a checkpoint folder, by one list. It raises nothing: what could not be seen says so."""

    def report(self, uri: str) -> ScriptProgress | None:
        """Read what a script reported in a checkpoint folder. It raises nothing."""

    def renew(self) -> None:
        """Make the next call with a client of a new session, with credentials read again."""

    def classify_error(self, error: Exception) -> ErrorKind:
        """Return what an error of a call means."""
