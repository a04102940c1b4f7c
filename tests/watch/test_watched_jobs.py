"""Which watched job is described next."""

from __future__ import annotations

from airflow_spot.watch.subscription import Subscription
from airflow_spot.watch.watched_jobs import WatchedJobs


def subscription(number: int) -> Subscription:
    name = f"train-afspot-{number:010d}-1-1"
    return Subscription(name, 0, 1.0, ask=lambda of: None, close=lambda of: None)


def test_of_jobs_in_a_hurry_the_first_come_before_those_that_were_there_before() -> None:
    book = WatchedJobs()
    jobs = [book.add(subscription(number), 0.0) for number in range(4)]
    book.take_urgent(9)
    for job in jobs:
        book.prioritize(job)
    book.prioritize(jobs[3], first=True)
    assert book.take_urgent(2) == [jobs[3], jobs[0]]
    book.prioritize(jobs[3])
    assert book.take_urgent(9) == [jobs[1], jobs[2], jobs[3]]
    assert book.take_urgent(9) == []
