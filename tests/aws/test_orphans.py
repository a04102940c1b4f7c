"""The live jobs of a deployment: one list, whatever the account has had, and a look at each that is live."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta, timezone

from airflow_spot.aws.orphans import Orphans
from airflow_spot.core.identity import JobName, RunIdentity
from airflow_spot.core.marks import run_tags
from airflow_spot.core.orphans import TaskState
from tests.support.sagemaker import ARN, DictionarySageMaker

NOW = datetime(2026, 11, 1, tzinfo=timezone.utc)
RUN = RunIdentity("ns", "dag", "run", "task")


def test_a_thousand_old_jobs_cost_no_call() -> None:
    service = DictionarySageMaker()
    for number in range(1, 1_001):
        name = str(JobName("train", "zzzzzzzzzz", 1, number))
        service.put(name, "Completed", "Completed", CreationTime=NOW - timedelta(days=100))
    old = str(JobName("train", RUN.key, 1, 1))
    for number, (status, age) in enumerate([("InProgress", 80), ("Stopping", 1), ("Failed", 1), ("InProgress", 1)], 1):
        name = str(JobName("train", RUN.key, 1, number))
        service.put(name, status, status, CreationTime=NOW - timedelta(days=age))
        service.marks[f"{ARN}{name}"] = {tag["Key"]: tag["Value"] for tag in run_tags(RUN, 1)}
    found = list(Orphans(service, "ns", lambda run: TaskState(True, "failed"), lambda: NOW).find())
    assert [(one.job, one.orphan) for one in found] == [(old, True), (str(JobName("train", RUN.key, 1, 4)), True)]
    assert Counter(service.calls) == {"ListTrainingJobs": 1, "DescribeTrainingJob": 2, "ListTags": 2}
