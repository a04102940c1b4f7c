"""The list of jobs: as few calls as what was created since may take, however SageMaker cuts its pages."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from botocore.exceptions import PaginationError

from airflow_spot.aws import jobs
from airflow_spot.core.identity import JobName
from airflow_spot.core.job_window import LONGEST_LIFE
from tests.support.sagemaker import DictionarySageMaker

NOW = datetime(2026, 11, 1, tzinfo=timezone.utc)
KEY = "abcdefghij"


def name(number: int, key: str = KEY) -> str:
    return str(JobName("train", key, 1, number))


def account(old: int, recent: int = 0) -> DictionarySageMaker:
    """Have so many jobs of other runs that are years old, and so many of the last hours; all have ended."""
    service = DictionarySageMaker()
    for number in range(1, old + recent + 1):
        age = timedelta(days=400) if number <= old else timedelta(hours=3)
        created = NOW - age + timedelta(seconds=number)
        service.put(name(number, "zzzzzzzzzz"), "Completed", "Completed", CreationTime=created)
    return service


def asked(service: DictionarySageMaker) -> int:
    return service.calls.count("ListTrainingJobs")


@pytest.mark.parametrize("late", [False, True], ids=["filters first", "pages cut first"])
@pytest.mark.parametrize("old", [0, 1_000, 20_000])
def test_live_jobs_cost_as_many_calls_whatever_the_account_has_had(old: int, late: bool) -> None:
    service = account(old)
    service.filters_late = late
    service.put(name(1), CreationTime=NOW - LONGEST_LIFE + timedelta(hours=1))
    service.put(name(2), "Stopping", "Stopping", CreationTime=NOW - timedelta(days=1))
    service.put(name(3), "Failed", "Failed", CreationTime=NOW)
    assert jobs.live(service, NOW) == [name(1), name(2)]
    assert asked(service) <= 2


@pytest.mark.parametrize("late", [False, True], ids=["filters first", "pages cut first"])
def test_all_that_was_created_since_is_read_a_hundred_at_a_time(late: bool) -> None:
    service = account(5_000, recent=950)
    service.filters_late = late
    service.put(name(1), CreationTime=NOW - timedelta(hours=4))
    assert jobs.live(service, NOW) == [name(1)]
    # Where the pages are cut first, the tenth comes short, and is the first to say so.
    assert asked(service) == (20 if late else 10)


@pytest.mark.parametrize("late", [False, True], ids=["filters first", "pages cut first"])
def test_one_runs_jobs_are_found_among_thousands(late: bool) -> None:
    service = account(5_000, recent=950)
    service.filters_late = late
    service.put(name(1), CreationTime=NOW - timedelta(hours=4))
    service.put(name(2), "Failed", "Failed", CreationTime=NOW)
    assert jobs.listed(service, f"afspot-{KEY}-", NOW - timedelta(hours=5)) == [name(1), name(2)]
    assert asked(service) == (11 if late else 1)
    assert jobs.listed(service, f"afspot-{KEY}-") == [name(1), name(2)]


@pytest.mark.parametrize("page_size", [1, 2, 3])
@pytest.mark.parametrize("late", [False, True])
def test_no_page_is_overlooked_and_no_job_comes_twice(page_size: int, late: bool) -> None:
    service = account(5, recent=3)
    service.page_size, service.filters_late = page_size, late
    service.put("a-strangers-job", CreationTime=NOW)
    service.put(f"mine-afspot-{KEY}-test", CreationTime=NOW)
    for number in (1, 2, 3):
        service.put(name(number), CreationTime=NOW - timedelta(hours=9 - number))
    assert jobs.live(service, NOW) == [name(1), name(2), name(3)]
    assert jobs.listed(service, f"afspot-{KEY}-") == [name(1), name(2), name(3)]
    found = [line["TrainingJobName"] for line in jobs.summaries(service, since=NOW - timedelta(days=1))]
    assert len(found) == len(set(found)) == 6


def test_a_filter_that_is_ignored_ends_the_list_at_the_moment_all_the_same() -> None:
    service = account(1_000)
    service.put(name(1), CreationTime=NOW)
    listed, calls = service.list_training_jobs, []

    def ignores(**request: Any) -> Any:
        calls.append(request)
        return listed(**{field: value for field, value in request.items() if field != "CreationTimeAfter"})

    service.list_training_jobs = ignores  # type: ignore[method-assign]
    assert jobs.live(service, NOW) == [name(1)]
    assert len(calls) == 1


def test_no_status_is_asked_for_and_every_page_is_as_large_as_it_may_be() -> None:
    service = account(0, recent=250)
    listed, calls = service.list_training_jobs, []
    service.list_training_jobs = lambda **request: calls.append(request) or listed(**request)  # type: ignore
    jobs.live(service, NOW)
    assert len(calls) == 3
    assert all(request["MaxResults"] == 100 and "StatusEquals" not in request for request in calls)


def test_pages_without_end_are_an_error() -> None:
    class Endless:
        def list_training_jobs(self, **_: Any) -> dict[str, Any]:
            return {"TrainingJobSummaries": [], "NextToken": "again"}

    with pytest.raises(PaginationError, match="twice"):
        jobs.listed(Endless())
    with pytest.raises(PaginationError, match="twice"):
        jobs.live(Endless(), NOW)
