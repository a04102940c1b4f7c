"""What a run's identity rests on: names that are taken, tags, the Environment, lists, clocks."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any

from airflow_spot.verify.experiment import Experiment, Setup
from airflow_spot.verify.pace import Length
from airflow_spot.verify.scratch import NotReached, Scratch
from airflow_spot.verify.verdicts import between, equals, matches

_TAGS = {"verify:dag": "a", "verify:run": "manual__2026-11-28T10:00:00+00:00"}
_SIGNS = {"verify:signs": "a/b=c+d-e_f.g@h i", "verify:utf-8": "é", "verify:empty": "", "verify:long": "x" * 256}
_ENVIRONMENT = {"VERIFY_LONG": "x" * 512, "VERIFY_SIGNS": 'a=b; c "d" \n é', "VERIFY_EMPTY": ""}


def _identity(scratch: Scratch) -> None:
    service, facts = scratch.service, scratch.facts
    request = scratch.request(tags=_TAGS)
    name = scratch.create(request)
    created = time.monotonic()
    first = scratch.attempt(lambda: service.sagemaker.describe_training_job(TrainingJobName=name))
    facts["first_describe_code"] = first[0] if first else None
    described = scratch.describe(name)
    arn = described["TrainingJobArn"]
    facts["tags_at_first_read"] = _has(_tags(service.sagemaker, arn), _TAGS)
    facts["tags_in_describe"] = "Tags" in described
    facts["training_start_time_while_starting"] = (
        described.get("TrainingStartTime") is not None if described["SecondaryStatus"] == "Starting" else False
    )
    _clock(scratch, described)
    facts["list_lag_seconds"] = _listed_after(scratch, name, created)

    service.sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "verify:later", "Value": "2"}])
    facts["added_tag_at_first_read"] = _has(_tags(service.sagemaker, arn), {"verify:later": "2"})
    service.sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "verify:later", "Value": "3"}])
    facts["changed_tag_at_first_read"] = _has(_tags(service.sagemaker, arn), {"verify:later": "3"})

    twice = scratch.attempt(lambda: service.sagemaker.create_training_job(**request))
    facts["second_create_code"], facts["second_create_message"] = twice or (None, None)
    other = scratch.refused({**request, "TrainingJobName": name.replace("-identity-", "-IDENTITY-")})
    facts["other_case_code"], facts["other_case_message"] = other or (None, None)
    scratch.stop(name)
    scratch.end(name)
    service.sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "verify:ended", "Value": "4"}])
    facts["tag_on_ended_job_at_first_read"] = _has(_tags(service.sagemaker, arn), {"verify:ended": "4"})


def _tags(sagemaker: Any, arn: str) -> dict[str, str]:
    pages = sagemaker.get_paginator("list_tags").paginate(ResourceArn=arn)
    return {tag["Key"]: tag["Value"] for page in pages for tag in page["Tags"]}


def _has(tags: dict[str, str], wanted: dict[str, str]) -> bool:
    return tags.items() >= wanted.items()


def _clock(scratch: Scratch, described: Any) -> None:
    headers = described["ResponseMetadata"]["HTTPHeaders"]
    scratch.facts["date_header"] = "date" in headers
    if "date" not in headers:
        return
    theirs = parsedate_to_datetime(headers["date"])
    scratch.facts["clock_difference_seconds"] = round(theirs.timestamp() - time.time(), 1)
    scratch.facts["date_after_creation_seconds"] = round((theirs - described["CreationTime"]).total_seconds(), 1)


def _listed_after(scratch: Scratch, name: str, created: float) -> float:
    """Return after how many seconds a job was in ListTrainingJobs: read twice a second at most, as the quota has it."""
    while True:
        page = scratch.service.sagemaker.list_training_jobs(
            NameContains=name, SortBy="CreationTime", SortOrder="Descending", MaxResults=100
        )
        if any(line["TrainingJobName"] == name for line in page["TrainingJobSummaries"]):
            return round(time.monotonic() - created, 1)
        scratch.pause(1.0)
        if time.monotonic() - created > scratch.service.pace.patience:
            return round(time.monotonic() - created, 1)


IDENTITY = Setup("identity", (Length.BRIEF,) * 3, _identity)


def _values(scratch: Scratch) -> None:
    """Send values that a service could refuse or change: apart from the other facts, which must not wait for them."""
    request = scratch.request(environment=_ENVIRONMENT, tags=_SIGNS)
    name = scratch.create(request)
    described = scratch.describe(name)
    scratch.facts["environment_at_first_read"] = described.get("Environment") == request["Environment"]
    scratch.facts["signs_in_tags"] = _has(_tags(scratch.service.sagemaker, described["TrainingJobArn"]), _SIGNS)
    scratch.stop(name)
    scratch.facts["environment_at_the_end"] = scratch.end(name).get("Environment") == request["Environment"]


VALUES = Setup("values", (Length.BRIEF,), _values)


def _unknown(scratch: Scratch) -> None:
    service, facts = scratch.service, scratch.facts
    name = scratch.request()["TrainingJobName"]
    for what, call in (
        ("describe", service.sagemaker.describe_training_job),
        ("stop", service.sagemaker.stop_training_job),
    ):
        answer = scratch.attempt(partial(call, TrainingJobName=name))
        facts[f"{what}_unknown_code"], facts[f"{what}_unknown_message"] = answer or (None, None)


UNKNOWN = Setup("unknown", (), _unknown)


def _ended(scratch: Scratch) -> None:
    """Follow jobs that are stopped at once through lists, further stops and their deletion."""
    service, facts = scratch.service, scratch.facts
    older = scratch.create(scratch.request())
    scratch.stop(older)
    request = scratch.request()
    name = scratch.create(request)
    deletes = hasattr(service.sagemaker, "delete_training_job")
    if deletes and scratch.describe(name)["TrainingJobStatus"] == "InProgress":
        with suppress(NotReached):  # who may not delete is told so below
            answer = scratch.attempt(lambda: service.sagemaker.delete_training_job(TrainingJobName=name))
            facts["delete_live_code"], facts["delete_live_message"] = answer or (None, None)
    scratch.stop(name)
    scratch.why |= {
        "delete_live_code": "the job had ended, or DeleteTrainingJob is not allowed",
        "second_stop_code": "the job was not Stopping after its stop",
    }
    if scratch.describe(name)["TrainingJobStatus"] == "Stopping":
        answer = scratch.attempt(lambda: service.sagemaker.stop_training_job(TrainingJobName=name))
        facts["second_stop_code"], facts["second_stop_message"] = answer or (None, None)
    scratch.end(older)
    ended = scratch.end(name)
    answer = scratch.attempt(lambda: service.sagemaker.stop_training_job(TrainingJobName=name))
    facts["stop_ended_code"], facts["stop_ended_message"] = answer or (None, None)
    _filters(scratch, name, ended)
    _name_filter(scratch, name)
    _page_token(scratch)
    if not deletes:
        raise NotReached("the installed boto3 has no DeleteTrainingJob")
    service.sagemaker.delete_training_job(TrainingJobName=name)
    facts["statuses_while_deleted"], code, message = _until_gone(scratch, name)
    facts["deleted_code"], facts["deleted_message"] = code, message
    again = scratch.attempt(lambda: service.sagemaker.create_training_job(**request))
    facts["create_after_delete_code"] = again[0] if again else None
    if again is None:
        scratch.stop(name)


def _filters(scratch: Scratch, name: str, ended: Any) -> None:
    """Whether LastModifiedTimeAfter keeps and leaves out, and comes to an end."""
    modified = ended["LastModifiedTime"]
    scratch.facts["listed_when_modified_after"] = _listed(scratch, name, modified - timedelta(seconds=2))
    scratch.facts["listed_when_not_modified_after"] = _listed(scratch, name, modified + timedelta(seconds=2))


def _listed(scratch: Scratch, name: str, since: Any) -> bool:
    token: dict[str, str] = {}
    for _ in range(20):
        page = scratch.service.sagemaker.list_training_jobs(
            NameContains=name, LastModifiedTimeAfter=since, MaxResults=100, **token
        )
        if any(line["TrainingJobName"] == name for line in page["TrainingJobSummaries"]):
            return True
        if not page.get("NextToken"):
            return False
        token = {"NextToken": page["NextToken"]}
        scratch.pause(1.0)
    scratch.facts["pages_without_end"] = True
    return False


def _name_filter(scratch: Scratch, name: str) -> None:
    """Whether a page is cut before or after NameContains; only an account with an older job can tell."""
    order: dict[str, Any] = {"SortBy": "CreationTime", "SortOrder": "Ascending", "MaxResults": 1}
    oldest = scratch.service.sagemaker.list_training_jobs(**order)["TrainingJobSummaries"]
    scratch.why["in_first_filtered_page"] = "no older job in this account and region"
    if oldest and oldest[0]["TrainingJobName"] != name:
        page = scratch.service.sagemaker.list_training_jobs(**order, NameContains=name)
        scratch.facts["in_first_filtered_page"] = bool(page["TrainingJobSummaries"])


def _page_token(scratch: Scratch) -> None:
    """Whether the token of a page is good for a request with other filters; needs two jobs in the account."""
    look = scratch.service.sagemaker.list_training_jobs
    token = look(MaxResults=1).get("NextToken")
    scratch.why["foreign_page_code"] = "ListTrainingJobs gave no NextToken"
    if token:
        answer = scratch.attempt(partial(look, MaxResults=1, StatusEquals="Failed", NextToken=token))
        scratch.facts["foreign_page_code"], scratch.facts["foreign_page_message"] = answer or (None, None)


def _until_gone(scratch: Scratch, name: str) -> tuple[list[str], str | None, str | None]:
    """Return the statuses of a job that is being deleted, and the error that Describe answers at last."""
    seen: list[str] = []
    look, begun = scratch.service.sagemaker.describe_training_job, time.monotonic()
    while True:
        answer = scratch.attempt(lambda: seen.append(look(TrainingJobName=name)["TrainingJobStatus"]))
        if answer is not None:
            return list(dict.fromkeys(seen)), answer[0], answer[1]
        if time.monotonic() - begun > scratch.service.pace.patience:
            return list(dict.fromkeys(seen)), None, None
        scratch.pause(scratch.service.pace.poll)


ENDED = Setup("ended", (Length.BRIEF,) * 3, _ended)

_LOCAL = "docs/local-sagemaker.md"

EXPERIMENTS = (
    Experiment(
        "describe-unknown",
        "DescribeTrainingJob of a job that never was",
        "An unknown name is a ValidationException that says that it was not found.",
        f"[T] {_LOCAL}",
        UNKNOWN,
        (equals("describe_unknown_code", "ValidationException"), matches("describe_unknown_message", "not found")),
        ("stop_unknown_code", "stop_unknown_message"),
    ),
    Experiment(
        "describe-after-create",
        "DescribeTrainingJob right after the create",
        "The job is known as soon as its create has answered.",
        "[A] docs/decisions/0001-identity.md",
        IDENTITY,
        (equals("first_describe_code", None),),
    ),
    Experiment(
        "name-twice",
        "two creates with the same name",
        "The second is refused with ResourceInUse, so that a lost answer is never a second job.",
        f"[D] {_LOCAL}",
        IDENTITY,
        (equals("second_create_code", "ResourceInUse"),),
        ("second_create_message",),
    ),
    Experiment(
        "name-case",
        "two creates whose names differ in case only",
        "The second is refused with ResourceInUse.",
        f"[A] {_LOCAL}",
        IDENTITY,
        (equals("other_case_code", "ResourceInUse"),),
        ("other_case_message",),
    ),
    Experiment(
        "tags-after-create",
        "ListTags right after the create",
        "A job's tags can be read as soon as it is created; DescribeTrainingJob does not return them.",
        "[A] docs/decisions/0001-identity.md",
        IDENTITY,
        (equals("tags_at_first_read", True), equals("tags_in_describe", False)),
    ),
    Experiment(
        "tags-added",
        "AddTags, then ListTags at once",
        "A tag that was added or changed is read at once, on live and on ended jobs.",
        "[A] docs/decisions/0001-identity.md",
        IDENTITY,
        (
            equals("added_tag_at_first_read", True),
            equals("changed_tag_at_first_read", True),
            equals("tag_on_ended_job_at_first_read", True),
        ),
    ),
    Experiment(
        "environment",
        "the Environment that DescribeTrainingJob returns",
        "It is returned in full, character by character, at once and after the end.",
        "[A] docs/decisions/0001-identity.md",
        VALUES,
        (equals("environment_at_first_read", True), equals("environment_at_the_end", True)),
    ),
    Experiment(
        "tag-values",
        "tags with signs, with letters beyond ASCII, empty and of 256 characters",
        "They are returned character by character.",
        "[A] docs/decisions/0001-identity.md",
        VALUES,
        (equals("signs_in_tags", True),),
    ),
    Experiment(
        "list-lag",
        "how late a new job is in ListTrainingJobs",
        "Within ten seconds; a run looks for the next number by DescribeTrainingJob, whatever the list says.",
        "[A] docs/decisions/0012-calls.md",
        IDENTITY,
        (between("list_lag_seconds", 0, 10),),
    ),
    Experiment(
        "clock",
        "the Date of an answer beside a job's CreationTime",
        "Answers have a Date, of the clock that writes a job's times.",
        "[A] docs/decisions/0013-what-is-believed.md",
        IDENTITY,
        (equals("date_header", True), between("date_after_creation_seconds", -2, 30)),
        ("clock_difference_seconds", "training_start_time_while_starting"),
    ),
    Experiment(
        "stop-twice",
        "StopTrainingJob of a job that is Stopping",
        "It is no error, so that a stop whose answer was lost can be repeated.",
        f"[A] {_LOCAL}",
        ENDED,
        (equals("second_stop_code", None),),
        ("second_stop_message",),
    ),
    Experiment(
        "stop-ended",
        "StopTrainingJob of a job that has ended",
        "It is refused with a ValidationException that names the status.",
        f"[T] {_LOCAL}",
        ENDED,
        (equals("stop_ended_code", "ValidationException"), matches("stop_ended_message", "in status Stopped")),
    ),
    Experiment(
        "last-modified-after",
        "ListTrainingJobs with LastModifiedTimeAfter",
        "It leaves out jobs that were modified before, and keeps those that were modified after.",
        "[T] docs/decisions/0005-one-watcher.md",
        ENDED,
        (equals("listed_when_modified_after", True), equals("listed_when_not_modified_after", False)),
        ("pages_without_end",),
    ),
    Experiment(
        "name-filter",
        "ListTrainingJobs with NameContains, one line a page",
        "The page is cut after the filter: the first page has the job.",
        "[T] docs/decisions/0012-calls.md",
        ENDED,
        (equals("in_first_filtered_page", True),),
    ),
    Experiment(
        "page-token",
        "ListTrainingJobs with the NextToken of a request with other filters",
        "It is refused with a ValidationException.",
        f"[A] {_LOCAL}",
        ENDED,
        (equals("foreign_page_code", "ValidationException"),),
        ("foreign_page_message",),
    ),
    Experiment(
        "delete-live",
        "DeleteTrainingJob of a job that has not ended",
        "It is refused with ResourceInUse.",
        f"[A] {_LOCAL}",
        ENDED,
        (equals("delete_live_code", "ResourceInUse"),),
        ("delete_live_message",),
    ),
    Experiment(
        "describe-deleted",
        "DescribeTrainingJob after DeleteTrainingJob, and the name again",
        "A deleted job is as one that never was, and its name is free.",
        f"[D] {_LOCAL}",
        ENDED,
        (
            equals("deleted_code", "ValidationException"),
            matches("deleted_message", "not found"),
            equals("create_after_delete_code", None),
        ),
        ("statuses_while_deleted",),
    ),
)
