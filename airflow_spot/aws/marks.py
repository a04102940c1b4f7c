"""The tags on our jobs: read, set, and taken back. Needs no Airflow: hook, commands and reaper share it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from airflow_spot.aws import jobs
from airflow_spot.aws.retrying import is_denied, summarize_error
from airflow_spot.core.attempt import Attempt
from airflow_spot.core.marks import TAG_DELIVERED, TAG_OWNER, TAG_STOP, StopMark, tag_map
from airflow_spot.core.secrets.redaction import redact_description
from airflow_spot.core.stop_reasons import StopReason
from airflow_spot.core.try_marks import TryMark

#: Why a job was left alone that may still be about to be created.
NO_SUCH_JOB = "there is no such job"
#: How it begins, why a job was left alone that a later try has taken over.
OF_ANOTHER_TRY = "it is owned by try"
#: Seconds between looks at a job that was told to stop; at each that still shows it training, it is told again.
STOP_PAUSES = (1.0, 2.0, 4.0)


class Marks:
    """
    Reads and sets the tags of jobs.

    :param client: returns the SageMaker client to use, for each call: credentials expire.
    :param log: where it is said, once, that tags are not permitted.
    :param sleep: waits so many seconds.
    """

    def __init__(self, client: Callable[[], Any], log: Any = None, sleep: Callable[[float], None] = time.sleep) -> None:
        self._client = client
        self._sleep = sleep
        self._log = log or logging.getLogger(__name__)
        self._denial_logged = False

    def tags(self, arn: str, client: Any = None) -> dict[str, str]:
        """Return a job's tags; empty, said once, where they may not be read."""
        return self.read(arn, client) or {}

    def read(self, arn: str, client: Any = None) -> dict[str, str] | None:
        """Return a job's tags; None, said once, where they may not be read."""
        try:
            pages = (client or self._client()).get_paginator("list_tags").paginate(ResourceArn=arn)
            return tag_map(tag for page in pages for tag in page["Tags"])
        except ClientError as error:
            if not is_denied(error):
                raise
            self.log_denial("sagemaker:ListTags")
            return None

    def set(self, arn: str, tags: Mapping[str, str], client: Any = None) -> bool:
        """Set tags on a job; False, said once, where that is not permitted."""
        try:
            (client or self._client()).add_tags(
                ResourceArn=arn, Tags=[{"Key": key, "Value": value} for key, value in tags.items()]
            )
        except ClientError as error:
            if not is_denied(error):
                raise
            self.log_denial("sagemaker:AddTags")
            return False
        return True

    def set_owner(self, arn: str, this_try: TryMark) -> None:
        """Note which try waits for the job now: an older one that is killed late leaves it alone."""
        self.set(arn, {TAG_OWNER: str(this_try.number)})

    def set_delivered(self, arn: str, this_try: TryMark) -> None:
        """Note that the result was handed over: only then does a clear train again from scratch."""
        self.set(arn, {TAG_DELIVERED: str(this_try)})

    def set_stop(self, arn: str, mark: StopMark, client: Any = None) -> bool:
        """Note why a job is about to be stopped; False where that is not permitted."""
        return self.set(arn, {TAG_STOP: str(mark)}, client)

    def withdraw_stop(self, arn: str, try_number: int, client: Any = None) -> None:
        """Take back a stop mark whose stop never came: what stops the job later is not our stop."""
        self.set_stop(arn, StopMark(StopReason.WITHDRAWN, try_number), client)

    def revoke_stop(self, job_name: str, arn: str, mark: StopMark, try_number: int, client: Any = None) -> bool:
        """Withdraw the stop mark of a job that still trains, unless its stop comes all the same: True."""
        self.withdraw_stop(arn, try_number, client)
        found = jobs.find(client or self._client(), job_name) or {}
        came = found.get("TrainingJobStatus") in ("Stopping", "Stopped")
        if came:
            self.set_stop(arn, mark, client)
        return came

    def stop(
        self,
        job_name: str,
        mark: StopMark,
        *,
        owner: int | None = None,
        client: Any = None,
        pauses: Sequence[float] = (),
    ) -> str | None:
        """
        Stop a job, marked as ours. The mark comes first: after a crash in between, it must not read as a person's stop.

        Where the stop fails the mark is withdrawn again: a person's later stop must not read as ours either.

        :param owner: stop it only while it belongs to this try, if to any.
        :param client: the one to use; a signal handler has its own.
        :param pauses: seconds between looks whether it stops; it is told again as long as it does not. None: no look.
        :return: None, or why it was left alone.
        :raises ClientError: the job could not be stopped.
        :raises BotoCoreError: likewise.
        """
        client = client or self._client()
        description = jobs.find(client, job_name)
        if description is None:
            return NO_SUCH_JOB
        arn, status = description["TrainingJobArn"], description["TrainingJobStatus"]
        if status != "InProgress":
            return f"it is {status} already"
        theirs = self.tags(arn, client).get(TAG_OWNER) if owner is not None else None
        if theirs not in (None, str(owner)):
            return f"{OF_ANOTHER_TRY} {theirs}"
        self.set_stop(arn, mark, client)
        if owner is not None:
            tags = self.tags(arn, client)
            if (theirs := tags.get(TAG_OWNER)) not in (None, str(owner)):
                # It was taken over in between: the mark must not make a person's stop read as ours. The new owner may
                # be stopping it by now, and its mark stays.
                if tags.get(TAG_STOP) == str(mark):
                    self.withdraw_stop(arn, mark.try_number, client)
                return f"{OF_ANOTHER_TRY} {theirs}"
        try:
            client.stop_training_job(TrainingJobName=job_name)
        except (ClientError, BotoCoreError):
            if not self._stops_all_the_same(job_name, arn, mark, client):
                raise
        if owner is not None:
            # Once more: a successor that took the job over in between has taken the mark back.
            self.set_stop(arn, mark, client)
        self._repeat_stop(job_name, client, pauses)
        return None

    def _repeat_stop(self, job_name: str, client: Any, pauses: Sequence[float]) -> None:
        """Repeat a stop until the job is seen to stop: an answer may come from what never reached it."""
        for pause in pauses:
            found = jobs.find(client, job_name)
            if found is None or found["TrainingJobStatus"] != "InProgress":
                return
            self._sleep(pause)
            jobs.stop(client, job_name)
        if pauses and (jobs.find(client, job_name) or {}).get("TrainingJobStatus") == "InProgress":
            self._log.warning("Training job %s was told to stop %d times and still trains", job_name, len(pauses) + 1)

    def log_denial(self, action: str) -> None:
        """Log once that an action on tags is not permitted, and what that costs."""
        if not self._denial_logged:
            self._denial_logged = True
            self._log.warning(
                "Without %s, stops made by Airflow cannot be distinguished from manual stops, and clearing a succeeded "
                "task returns its previous result. Grant it on training jobs",
                action,
            )

    def _stops_all_the_same(self, job_name: str, arn: str, mark: StopMark, client: Any) -> bool:
        """Look after a stop that failed: a job that ended meanwhile is what was wanted."""
        try:
            if client.describe_training_job(TrainingJobName=job_name)["TrainingJobStatus"] != "InProgress":
                return True
            return self.revoke_stop(job_name, arn, mark, mark.try_number, client)
        except (ClientError, BotoCoreError) as error:
            self._log.warning(
                "Stopping training job %s failed and its stop tag could not be removed (%s); a later manual stop may "
                "be attributed to Airflow",
                job_name,
                summarize_error(error),
            )
            return False


def read(sagemaker: Any, job_name: str) -> tuple[Attempt, dict[str, Any], dict[str, str]]:
    """Read a job: as an attempt, as SageMaker describes it, without secrets, and its tags."""
    description = sagemaker.describe_training_job(TrainingJobName=job_name)
    tags = Marks(lambda: sagemaker).tags(description["TrainingJobArn"])
    return Attempt.from_description(description, tags), redact_description(description), tags
