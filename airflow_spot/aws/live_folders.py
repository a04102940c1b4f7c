"""The checkpoint folders that live jobs write to: looked for once, then only among what is new. Needs no Airflow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from airflow_spot.aws import jobs
from airflow_spot.core.identity import MARKER, JobName
from airflow_spot.core.job_window import RECENT_MARGIN, live_since
from airflow_spot.core.outcomes import ENDED_STATUSES

#: For so long a look is as good as a new one: lists lag by seconds in any case.
FRESH = timedelta(seconds=10)


def _now() -> datetime:
    return datetime.now(timezone.utc)


class LiveFolders:
    """
    The checkpoint folders of the live jobs of ours.

    The first look lists the jobs that may be live, and describes those that are; a further one lists what was created
    since, and describes what it has not seen. A job that ended meanwhile still counts: its folder is not forgotten.

    :param client: returns boto3's client for SageMaker.
    :param but_run: the key of a run whose jobs are left out.
    :param clock: gives the time.
    """

    def __init__(
        self, client: Callable[[], Any], but_run: str | None = None, clock: Callable[[], datetime] = _now
    ) -> None:
        self._client = client
        self._but_run = but_run
        self._clock = clock
        self._looked: datetime | None = None
        self._folders: dict[str, str] = {}

    def look(self) -> Mapping[str, str]:
        """
        Look, and return all that was found: by the jobs' names, their folders as S3 URIs.

        :raises ClientError: jobs may not be listed; then nothing is known to be unused.
        """
        now, client = self._clock(), self._client()
        since = live_since(now) if self._looked is None else self._looked - RECENT_MARGIN
        for line in jobs.summaries(client, f"{MARKER}-", since):
            name = str(line["TrainingJobName"])
            parsed = JobName.parse(name)
            if line["TrainingJobStatus"] in ENDED_STATUSES or name in self._folders:
                continue
            if parsed is None or parsed.key == self._but_run or (job := jobs.find(client, name)) is None:
                continue
            if job["TrainingJobStatus"] not in ENDED_STATUSES:
                self._folders[name] = jobs.checkpoint_folder(job)
        self._looked = now
        return {name: uri for name, uri in self._folders.items() if uri}

    def look_again(self) -> Mapping[str, str]:
        """Look, unless that was just done."""
        if self._looked is not None and timedelta() <= self._clock() - self._looked < FRESH:
            return {name: uri for name, uri in self._folders.items() if uri}
        return self.look()
