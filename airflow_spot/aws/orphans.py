"""Live jobs whose Airflow task is over: found and stopped, for the command and for the reaper. Needs no Airflow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from airflow_spot.aws import jobs, marks
from airflow_spot.aws.marks import Marks
from airflow_spot.core.identity import RunIdentity
from airflow_spot.core.job_window import live_since
from airflow_spot.core.marks import StopMark, task_of
from airflow_spot.core.orphans import GRACE, LiveJob, TaskState, judge, run_of
from airflow_spot.core.outcomes import ENDED_STATUSES
from airflow_spot.core.stop_reasons import StopReason

#: In the stop mark.


@dataclass(frozen=True)
class Finding:
    """
    A live job, and what was found of its task instance.

    :param task: its DAG, DAG run, task and map index, as its tags say.
    :param orphan: None where that cannot be told.
    :param owner: the number of the try that waits for it.
    """

    job: str
    arn: str
    task: dict[str, Any]
    orphan: bool | None
    reason: str
    owner: int | None
    stopped: bool = False

    def to_json(self) -> dict[str, Any]:
        """Write it for machines."""
        return {
            "job": self.job,
            "arn": self.arn,
            **self.task,
            "orphan": self.orphan,
            "reason": self.reason,
            "owner": self.owner,
            "stopped": self.stopped,
        }


class Orphans:
    """
    The live jobs of a deployment.

    :param sagemaker: boto3's client.
    :param namespace: the deployment's.
    :param ask: says how a task instance is.
    :param now: the clock.
    :param grace: for so long after a job's creation, or its task's end, somebody may still be dealing with it.
    """

    def __init__(
        self,
        sagemaker: Any,
        namespace: str,
        ask: Callable[[RunIdentity], TaskState],
        now: Callable[[], datetime],
        grace: timedelta = GRACE,
    ) -> None:
        self._sagemaker = sagemaker
        self._marks = Marks(lambda: sagemaker)
        self._namespace = namespace
        self._ask = ask
        self._now = now
        self._grace = grace

    def find(self) -> Iterator[Finding]:
        """Judge every live job of ours; one that stops already is seen to."""
        lines = list(jobs.summaries(self._sagemaker, since=live_since(self._now())))
        for line in reversed(lines):
            if line["TrainingJobStatus"] not in (*ENDED_STATUSES, "Stopping"):
                yield self._judged(str(line["TrainingJobName"]))

    def stop(self, found: Finding) -> Finding:
        """Stop an orphan, unless it has become none: its task may have been cleared since it was found."""
        again = self._judged(found.job)
        if not again.orphan:
            return again
        # The mark first: a task that is cleared right now resumes from the checkpoint instead of failing.
        if not self._marks.set_stop(again.arn, StopMark(StopReason.ORPHAN, again.owner or 0)):
            return replace(again, reason="it cannot be marked: sagemaker:AddTags is denied")
        jobs.stop(self._sagemaker, again.job)
        return replace(again, stopped=True)

    def _judged(self, name: str) -> Finding:
        attempt, description, tags = marks.read(self._sagemaker, name)
        run = run_of(name, tags, self._namespace)
        left = attempt.delivered_by is not None
        job = LiveJob(name, attempt.arn, description["CreationTime"], run, attempt.owner, left)
        if not attempt.live:
            return Finding(name, job.arn, task_of(tags), False, f"it has ended: {attempt.label}", job.owner)
        task = self._ask(job.run) if job.run else None
        verdict = judge(job, task, self._now(), grace=self._grace)
        return Finding(name, job.arn, task_of(tags), verdict.orphan, verdict.reason, job.owner)
