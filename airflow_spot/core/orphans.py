"""Which live jobs are orphans: their Airflow task instance is over, so nobody will take their result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from airflow_spot.core.identity import JobName, RunIdentity
from airflow_spot.core.marks import TAG_DAG, TAG_MAP_INDEX, TAG_RUN, TAG_TASK, decode_tag

#: States in which nobody comes for the job any more. A task that is deferred still waits, in another triggerer or after
#: a restart; one that is scheduled, queued, running or to be retried has a worker coming that attaches to the job, or
#: creates the next attempt; and one that is newer than this list may be any of these.
OVER = frozenset({"success", "failed", "skipped", "removed", "upstream_failed"})
GRACE = timedelta(minutes=10)


@dataclass(frozen=True)
class LiveJob:
    """
    A job that may still train.

    :param run: whose it is, proved by its key; None where the tags do not prove it.
    :param owner: the number of the try that waits for it; None where no tag says.
    :param left: whether its task handed it over while it trained: ``wait_for_completion=False``.
    """

    name: str
    arn: str
    created: datetime
    run: RunIdentity | None
    owner: int | None = None
    left: bool = False


@dataclass(frozen=True)
class TaskState:
    """
    What Airflow says of a task instance.

    :param exists: False where Airflow has no such task instance.
    :param dag_known: whether it has the DAG; if not, this may be another Airflow, or an empty database.
    :param state: None for one that was cleared and is not scheduled yet.
    :param ended: when it ended; None where it has not, or nobody knows.
    """

    exists: bool
    state: str | None = None
    ended: datetime | None = None
    try_number: int = 0
    dag_known: bool = True


@dataclass(frozen=True)
class Verdict:
    """
    Whether a job is an orphan.

    :param orphan: None where that cannot be told; such a job is never stopped.
    :param reason: why, for people.
    """

    orphan: bool | None
    reason: str


def run_of(job_name: str, tags: Mapping[str, str], namespace: str) -> RunIdentity | None:
    """
    Prove whose a job is: the key in its name is the hash of the namespace and of what its tags say.

    :return: None where it is another deployment's, or its tags are missing or were cut.
    """
    name, index = JobName.parse(job_name), tags.get(TAG_MAP_INDEX, "-1")
    ids = [decode_tag(tags.get(tag, "")) for tag in (TAG_DAG, TAG_RUN, TAG_TASK)]
    if name is None or not all(ids) or not index.removeprefix("-").isdecimal():
        return None
    run = RunIdentity(namespace, ids[0], ids[1], ids[2], int(index))
    return run if run.key == name.key else None


def judge(job: LiveJob, task: TaskState | None, now: datetime, *, grace: timedelta = GRACE) -> Verdict:
    """
    Decide whether a job is an orphan.

    :param task: None where Airflow could not be asked.
    :param grace: for so long after a job was created, or its task ended, somebody may still be dealing with it.
    """
    if job.run is None:
        return Verdict(None, "its tags do not prove that it is of this namespace")
    if task is None:
        return Verdict(None, "Airflow did not report its task's state")
    if not task.exists and not task.dag_known:
        return Verdict(None, "this Airflow does not know its DAG: is it the one that started the job?")
    if job.left or (task.exists and task.state not in OVER):
        why = "does not wait for it" if job.left else f"instance is {task.state or 'cleared'}"
        return Verdict(False, f"its task {why}")
    what = f"its task instance is {task.state}" if task.exists else "there is no such task instance"
    since = max(job.created, task.ended) if task.ended else job.created
    if now - since < grace:
        return Verdict(False, f"{what}, but only since {since:%H:%M:%S}")
    return Verdict(True, what)
