"""The skeleton of a job's thread: whatever happens in it, the job gets an end, once, unless the service ends."""

from __future__ import annotations

import threading

import pytest

from airflow_spot.local.errors import JobError, JobStopped
from airflow_spot.local.job_threads import JobThreads, Runner

SECONDS = 20


class Recorded(Runner):
    """A runner that raises what it is given, and writes down what it is asked for."""

    def __init__(self, error: Exception | None = None, clean_up_error: Exception | None = None) -> None:
        super().__init__("job a")
        self.calls: list[str] = []
        self.failure: str | None = "not recorded"
        self.ended = threading.Event()
        self._errors = {"run": error, "clean_up": clean_up_error}

    def run(self) -> None:
        self._called("run")

    def clean_up(self) -> None:
        self._called("clean_up")

    def _called(self, name: str) -> None:
        self.calls.append(name)
        error = self._errors[name]
        if error is not None:
            raise error

    def record_end(self, failure: str | None) -> None:
        self.calls.append("record_end")
        self.failure = failure
        self.ended.set()

    def wake(self) -> None:
        self.calls.append("wake")


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (None, None),
        (JobStopped(), None),
        (JobError("ClientError: no data"), "ClientError: no data"),
        (ZeroDivisionError("by zero"), "InternalServerError: Local SageMaker: ZeroDivisionError: by zero"),
    ],
)
def test_a_job_has_one_end_however_it_comes(error: Exception | None, failure: str | None) -> None:
    runner = Recorded(error)
    JobThreads().start(runner)
    assert runner.ended.wait(SECONDS)
    assert runner.calls == ["run", "clean_up", "record_end"]
    assert runner.failure == failure


def test_the_first_failure_is_the_jobs() -> None:
    runner = Recorded(JobError("first"), JobError("second"))
    JobThreads().start(runner)
    assert runner.ended.wait(SECONDS)
    assert runner.failure == "first"


def test_what_cannot_be_cleaned_up_fails_the_job() -> None:
    runner = Recorded(None, OSError("disk"))
    JobThreads().start(runner)
    assert runner.ended.wait(SECONDS)
    assert runner.failure == "InternalServerError: Local SageMaker: OSError: disk"


class Waiting(Recorded):
    """Runs until it is woken."""

    def __init__(self) -> None:
        super().__init__()
        self.running = threading.Event()
        self.woken = threading.Event()

    def run(self) -> None:
        super().run()
        self.running.set()
        assert self.woken.wait(SECONDS)

    def wake(self) -> None:
        super().wake()
        self.woken.set()


def test_the_end_of_the_service_waits_for_every_thread_and_records_nothing() -> None:
    threads, runners = JobThreads(), [Waiting(), Waiting()]
    for runner in runners:
        threads.start(runner)
    for runner in runners:
        assert runner.running.wait(SECONDS)
    threads.close()
    assert [runner.calls for runner in runners] == [["run", "wake", "clean_up"]] * 2
    late = Recorded()
    threads.start(late)
    assert late.calls == []
