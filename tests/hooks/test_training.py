"""The hook finds what a run has, creates a job once, and tells no secret that SageMaker repeats."""

from __future__ import annotations

import traceback
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from airflow_spot.core.identity import JobName
from airflow_spot.core.marks import StopMark
from airflow_spot.core.plan import Plan
from airflow_spot.errors import RequestError
from airflow_spot.hooks.training import CreateRefusedError
from tests.core.cases import RUN, SPOT, tried
from tests.support.sagemaker import DictionaryHook, DictionarySageMaker, error

PLAN = Plan(
    run=RUN,
    request={"HyperParameters": {"depth": "6", "password": "hunter2"}, "Environment": {"TOKEN": "s3cr3t"}},
    prefix="train",
    ladder=(SPOT,),
    checkpoint_base="s3://bucket/checkpoints",
    checkpoint_scope="run",
)


@pytest.fixture
def service() -> DictionarySageMaker:
    """A SageMaker without a job."""
    return DictionarySageMaker()


@pytest.fixture
def hook(service: DictionarySageMaker) -> DictionaryHook:
    """The hook on it."""
    return DictionaryHook(service)


def create(hook: DictionaryHook, generation: int, number: int, plan: Plan = PLAN) -> str:
    """Create an attempt; it ends at once, so that there may be a next one."""
    request = plan.request_for(generation, number, SPOT, tried(1, 0))
    hook.submit(request, RUN.key)
    name: str = request["TrainingJobName"]
    hook.service.put(name, "Completed", "Completed")
    return name


def found(hook: DictionaryHook, plan: Plan = PLAN, **more: Any) -> list[tuple[int, int]]:
    """What the hook finds of a run: generation and number."""
    return [(attempt.name.generation, attempt.number) for attempt in hook.jobs_of(plan, **more)]


def test_a_run_without_a_past(hook: DictionaryHook) -> None:
    assert found(hook) == []


@pytest.mark.parametrize("unlisted", [0, 1, 2, 6])
def test_the_newest_generation_is_found_however_the_list_lags(
    hook: DictionaryHook, service: DictionarySageMaker, unlisted: int
) -> None:
    for generation, number in ((1, 1), (1, 2), (2, 1), (2, 2), (3, 1), (3, 2)):
        create(hook, generation, number)
    service.unlisted = unlisted
    assert found(hook) == [(3, 1), (3, 2)]


def test_without_permission_to_list_all_is_found_too(hook: DictionaryHook, service: DictionarySageMaker) -> None:
    for generation, number in ((1, 1), (2, 1), (2, 2), (2, 3)):
        name = create(hook, generation, number)
    service.denied.add("ListTrainingJobs")
    assert found(hook) == [(2, 1), (2, 2), (2, 3)]
    assert found(hook, known=[name]) == [(2, 1), (2, 2), (2, 3)]


def test_other_runs_and_other_peoples_jobs_are_not_found(hook: DictionaryHook, service: DictionarySageMaker) -> None:
    create(hook, 1, 1)
    service.put(str(JobName("train", "abcdefghij", 1, 2)))
    service.put(f"mine-afspot-{RUN.key}-test")
    assert found(hook) == [(1, 1)]


def test_a_name_that_changed_between_two_tries_is_found_by_the_list(hook: DictionaryHook) -> None:
    create(hook, 1, 1, replace(PLAN, prefix="before"))
    create(hook, 1, 2)
    assert found(hook) == [(1, 1), (1, 2)]
    assert found(hook, replace(PLAN, prefix="later")) == [(1, 1), (1, 2)]


def test_two_jobs_of_one_number_are_both_seen(hook: DictionaryHook, service: DictionarySageMaker) -> None:
    """A changed name and a list that lagged can make them: neither may be overlooked while it trains."""
    for prefix, status in (("before", "InProgress"), ("train", "Failed"), ("zzz", "Failed")):
        service.put(create(hook, 1, 1, replace(PLAN, prefix=prefix)), status, status)
    attempts = hook.jobs_of(PLAN)
    assert sorted(attempt.name.prefix for attempt in attempts) == ["before", "train", "zzz"]
    assert [attempt.name.prefix for attempt in attempts if attempt.live] == ["before"]


def test_the_marks_come_with_the_attempts(hook: DictionaryHook, service: DictionarySageMaker) -> None:
    service.put(create(hook, 1, 1), "Stopped", "Stopped")
    service.add_tags(
        service.jobs[PLAN.job_name(1, 1)]["TrainingJobArn"], [{"Key": "airflow-spot:stop", "Value": "killed 2"}]
    )
    (attempt,) = hook.jobs_of(PLAN)
    assert attempt.stop == StopMark("killed", 2)
    assert attempt.created_by == tried(1, 0)


def test_a_job_is_created_once_and_attached_to_afterwards(hook: DictionaryHook, service: DictionarySageMaker) -> None:
    request = PLAN.request_for(1, 1, SPOT, tried(1, 0))
    first, attached = hook.submit(request, RUN.key)
    again, attached_again = hook.submit(request, RUN.key)
    assert (attached, attached_again) == (False, True)
    assert first["TrainingJobArn"] == again["TrainingJobArn"]
    assert len(service.jobs) == 1


def test_without_permission_to_tag_a_job_is_created_without_our_tags(
    hook: DictionaryHook, service: DictionarySageMaker
) -> None:
    """A create with tags is refused as a whole: that would be no training, for the want of a mark."""
    service.denied |= {"AddTags", "ListTags"}
    description, attached = hook.submit(PLAN.request_for(1, 1, SPOT, tried(1, 0)), RUN.key)
    assert not attached
    assert description["Environment"]["AIRFLOW_SPOT_RUN"] == RUN.key
    assert service.live() == [PLAN.job_name(1, 1)]
    assert service.tags_of(PLAN.job_name(1, 1)) == {}


def test_a_users_own_tags_are_not_dropped_in_silence(hook: DictionaryHook, service: DictionarySageMaker) -> None:
    service.denied |= {"AddTags"}
    plan = replace(PLAN, request={**PLAN.request, "Tags": [{"Key": "team", "Value": "ml"}]})
    with pytest.raises(RequestError, match="AddTags"):
        hook.submit(plan.request_for(1, 1, SPOT, tried(1, 0)), RUN.key)
    assert service.jobs == {}


def test_a_strangers_job_of_our_name_is_left_alone(hook: DictionaryHook, service: DictionarySageMaker) -> None:
    service.put(PLAN.job_name(1, 1))
    with pytest.raises(RequestError, match="already used outside this run"):
        hook.submit(PLAN.request_for(1, 1, SPOT, tried(1, 0)), RUN.key)
    assert service.calls == ["CreateTrainingJob", "DescribeTrainingJob"]


ECHO = (
    "1 validation error detected: Value '{depth=6, password=hunter2}' at 'hyperParameters' failed to satisfy constraint"
    "; Value 's3cr3t' at 'environment.TOKEN.member' failed to satisfy constraint"
)


@pytest.mark.parametrize(
    ("code", "raised"),
    [
        ("ValidationException", RequestError),
        ("AccessDeniedException", RequestError),
        ("ResourceLimitExceeded", CreateRefusedError),
        ("ThrottlingException", ClientError),
    ],
)
def test_what_sagemaker_repeats_of_the_request_is_not_told(
    hook: DictionaryHook, service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch, code: str, raised: type
) -> None:
    """AWS's messages hold the value that they refuse; a traceback holds the error that was the cause."""

    def refuse(**_: Any) -> None:
        raise error(code, ECHO, "CreateTrainingJob")

    monkeypatch.setattr(service, "create_training_job", refuse)
    with pytest.raises(raised) as refused:
        hook.submit(PLAN.request_for(1, 1, SPOT, tried(1, 0)), RUN.key)
    told = "".join(traceback.format_exception(refused.value))
    assert "hunter2" not in told
    assert "s3cr3t" not in told
    assert "hyperParameters" in str(refused.value)
    assert "1 validation error" in str(refused.value)
    assert PLAN.job_name(1, 1) in str(refused.value) or raised is ClientError


@pytest.mark.parametrize(
    ("status", "writes"), [("InProgress", True), ("Stopping", True), ("Stopped", False), ("Completed", False)]
)
def test_another_runs_writer_is_seen_until_it_has_ended(
    hook: DictionaryHook, service: DictionarySageMaker, status: str, writes: bool
) -> None:
    """A job that is stopping trains for two minutes, and uploads what it wrote."""
    other = str(JobName("train", "abcdefghij", 1, 1))
    service.put(other, status, status, CheckpointConfig={"S3Uri": "s3://bucket/mine/"})
    assert hook.live_writers("s3://bucket/mine", RUN.key) == ([other] if writes else [])
    assert hook.live_writers("s3://bucket/mine2", RUN.key) == []
    assert hook.live_writers("s3://bucket/mine", "abcdefghij") == []


@pytest.mark.parametrize(
    ("theirs", "meets"),
    [
        ("s3://bucket/a/b", True),
        ("s3://bucket/a/b/dag/task/key/g0001", True),
        ("s3://bucket/a/", True),
        ("s3://bucket", True),
        ("s3://bucket/a/bc", False),
        ("s3://bucket/a/b-2/c", False),
        ("s3://buck", False),
        ("s3://other/a/b", False),
        (None, False),
    ],
)
def test_a_writer_in_a_folder_inside_or_around_is_seen(
    hook: DictionaryHook, service: DictionarySageMaker, theirs: str | None, meets: bool
) -> None:
    """SageMaker restores all that lies below a job's folder, and deletes there what the script deletes."""
    other = str(JobName("train", "abcdefghij", 1, 1))
    service.put(other, **({} if theirs is None else {"CheckpointConfig": {"S3Uri": theirs}}))
    for mine in ("s3://bucket/a/b", "s3://bucket/a/b/"):
        assert hook.live_writers(mine, RUN.key) == ([other] if meets else [])


def test_an_ended_job_is_described_once_in_a_worker_and_never_kept_in_a_triggerer() -> None:
    """A triggerer's hook lives for days: a description is kilobytes."""
    service = DictionarySageMaker()
    service.put("j", "Completed", "Completed")
    hook = DictionaryHook(service)
    for _ in range(2):
        assert hook.find("j")
    assert service.calls.count("DescribeTrainingJob") == 2
    assert hook._ended is None
    hook.remember_ended()
    for _ in range(3):
        assert hook.find("j")
    assert service.calls.count("DescribeTrainingJob") == 3
