"""
What the real SageMaker has said, and what the package makes of it.

``cases.json`` has the inputs, each with its source; its ``expected`` is in the words of the first round, which
``WORDS`` puts into today's. Where today's expectation is another one, ``CHANGED`` says so, and why. The differences
between Local SageMaker and recordings (``local_difference``) are in tests/local.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from airflow_spot.aws import jobs
from airflow_spot.aws.retrying import is_expired, is_transient
from airflow_spot.core.attempt import Attempt
from airflow_spot.core.backoff import Backoff
from airflow_spot.core.decide import Fail, Limits, Pause, Submit, decide
from airflow_spot.core.history import History, Refusal
from airflow_spot.core.ladder import Rung
from airflow_spot.core.outcomes import Outcome, classify, classify_refusal, exit_code, waiting_since, working_spans
from airflow_spot.core.secrets.redaction import redact
from airflow_spot.errors import RequestError
from airflow_spot.hooks.training import CreateRefusedError, _create_error
from airflow_spot.policies.ladder import LadderPolicy
from airflow_spot.watch.push import read_event
from tests.support.sagemaker import error

CASES = json.loads((Path(__file__).parent / "cases.json").read_text())

#: The words of the first round, and today's.
WORDS = {
    "completed": "completed",
    "in progress": None,
    "no capacity in time": "capacity_timeout",
    "no capacity": "no_capacity",
    "interrupted": "interrupted",
    "service fault": "service_error",
    "out of run time": "max_runtime_exceeded",
    "script error": "script_error",
    "request error": "invalid_request",
    "stopped by a person": "stopped_externally",
}

#: Expectations that are others today, and why.
CHANGED: dict[str, tuple[str, str]] = {
    "D07": ("max_wait_exceeded", "it trained to the very end: X05 wants the same rung, so it has a name"),
    "D19": ("max_wait_exceeded", "it trained when max_wait was over, as D07"),
    "F17": ("out_of_memory", "a script's end that a rung with more memory may be there for, so it has a name"),
    "R03": ("CreateRefused quota too small", "a limit of 0 is told from one that is used up: X02 ends at once by it"),
    "R04": ("CreateRefused quota too small", "a type that the region has not closes its rung, and the next is tried"),
}


def of(kind: str) -> list[Any]:
    """The cases of a kind, as pytest's parameters."""
    return [pytest.param(case, id=case["id"]) for case in CASES if case["kind"] == kind]


def description(value: Any) -> Any:
    """Give times their type, as boto3 does."""
    if isinstance(value, Mapping):
        return {key: description(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [description(inner) for inner in value]
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(value) if value[:2] == "20" and "T" in value else value
        except ValueError:
            return value
    return value


def by_id(name: str) -> Any:
    return next(case for case in CASES if case["id"] == name)


@pytest.mark.parametrize("case", of("describe"))
def test_a_description(case: dict[str, Any]) -> None:
    job, expected = description(case["input"]), case["expected"]
    attempt = Attempt.from_description(job, {})
    found = {
        "outcome": attempt.outcome.value if attempt.outcome else None,
        "interruptions": attempt.interruptions,
        "worked": round(working_spans(job)[0], 1),
        "trained": attempt.trained,
        "waiting_since": waiting_since(job),
        "billable_seconds": attempt.billable_seconds,
        "training_seconds": attempt.training_seconds,
        "savings_percent": discount(job),
    }
    outcome = CHANGED[case["id"]][0] if case["id"] in CHANGED else WORDS[expected["outcome"]]
    wanted = {**expected, "outcome": outcome}
    if "waiting_since" in wanted:
        wanted["waiting_since"] = description(wanted["waiting_since"])
    assert {name: found[name] for name in wanted} == wanted


def discount(job: Mapping[str, Any]) -> float | None:
    """AWS's figure, as the console shows it."""
    trained, billed = job.get("TrainingTimeInSeconds"), job.get("BillableTimeInSeconds")
    return None if not trained or billed is None else round(100 * (1 - billed / trained), 1)


@pytest.mark.parametrize("case", of("savings"))
def test_a_discount(case: dict[str, Any]) -> None:
    times = {"TrainingJobName": "real-afspot-abcdefghij-1-1", **case["input"]}
    attempt = Attempt.from_description({**times, "TrainingJobStatus": "Completed"}, {})
    assert attempt.training_seconds == case["input"]["TrainingTimeInSeconds"]
    assert round(100 * (1 - attempt.billable_seconds / attempt.training_seconds), 1) == case["expected"]


@pytest.mark.parametrize("case", of("failure_reason"))
def test_a_failure_reason(case: dict[str, Any]) -> None:
    job = {"TrainingJobStatus": "Failed", "SecondaryStatus": "Failed", "FailureReason": case["input"]}
    outcome = CHANGED[case["id"]][0] if case["id"] in CHANGED else WORDS[case["expected"]["outcome"]]
    assert classify(job, stop_reason=None) == outcome
    attempt = Attempt.from_description({"TrainingJobName": "real-afspot-abcdefghij-1-1", **job}, {})
    assert attempt.exit_code == case["expected"]["exit_code"]


@pytest.mark.parametrize("case", of("refusal"))
def test_a_refusal(case: dict[str, Any]) -> None:
    given = case["input"]
    raised = ClientError(
        {
            "Error": {"Code": given["code"], "Message": given["message"]},
            "ResponseMetadata": {"HTTPStatusCode": given["status"]},
        },
        given["operation"],
    )
    expected = CHANGED[case["id"]][0] if case["id"] in CHANGED else case["expected"]
    assert told(raised) == expected


def told(raised: ClientError) -> str:
    """Say in the words of the cases what becomes of an error."""
    if is_expired(raised):
        return "renew credentials and repeat"
    if is_transient(raised):
        return "repeat"
    made = _create_error(raised, {"TrainingJobName": "j"})
    if isinstance(made, CreateRefusedError):
        return "CreateRefused quota too small" if made.outcome is Outcome.QUOTA_TOO_SMALL else "CreateRefused quota"
    return type(made).__name__


def test_an_error_of_a_refusal_is_no_other() -> None:
    assert issubclass(RequestError, Exception)
    assert told(error("ValidationException", "x", "CreateTrainingJob")) == "RequestError"


@pytest.mark.parametrize("case", of("describe_error"))
def test_a_job_that_is_not_there(case: dict[str, Any]) -> None:
    class Service:
        def describe_training_job(self, TrainingJobName: str) -> Any:
            raise error(case["input"]["code"], case["input"]["message"], "DescribeTrainingJob")

    assert jobs.find(Service(), "j") is case["expected"]


@pytest.mark.parametrize("case", of("stop_error"))
def test_a_stop_of_a_job_that_has_ended(case: dict[str, Any]) -> None:
    class Service:
        def stop_training_job(self, TrainingJobName: str) -> Any:
            raise error(case["input"]["code"], case["input"]["message"], "StopTrainingJob")

        def describe_training_job(self, TrainingJobName: str) -> Any:
            return {"TrainingJobStatus": "Completed"}

    jobs.stop(Service(), "j")  # raises nothing


@pytest.mark.parametrize("case", of("event"))
def test_an_event(case: dict[str, Any]) -> None:
    found = read_event(json.dumps(case["input"]))
    assert found is not None
    assert found.job_name == case["expected"]["job_name"]
    assert found.at == datetime.fromisoformat(case["expected"]["at"])


@pytest.mark.parametrize("case", of("hiding"))
def test_what_is_hidden(case: dict[str, Any]) -> None:
    assert redact(case["input"]["text"], {"HyperParameters": case["input"]["HyperParameters"]}) == case["note"]


# ---- whole runs

NOW = datetime(2026, 9, 17, tzinfo=timezone.utc)
BACKOFF = Backoff("key")


def test_x02_a_limit_of_zero_ends_a_run_after_one_create() -> None:
    message = by_id("X02")["input"]["every create"]
    outcome = classify_refusal("ResourceLimitExceeded", 400, message)
    assert outcome is Outcome.QUOTA_TOO_SMALL
    rung = Rung("ml.p3.2xlarge")
    refused = History(1, refusals=(Refusal(1, str(rung), outcome, NOW, message),))
    assert isinstance(decide(Limits(), refused, NOW, LadderPolicy((rung,), BACKOFF)), Fail)
    # Unless somebody has it wait for a larger one.
    patient = LadderPolicy((rung,), BACKOFF, waits_for_quota=True)
    assert isinstance(decide(Limits(max_total_wait=3600.0), refused, NOW, patient), Pause)
    # And another rung may be served.
    other = decide(Limits(), refused, NOW, LadderPolicy((rung, Rung("ml.g5.xlarge")), BACKOFF))
    assert isinstance(other, Submit)
    assert other.rung.instance_type == "ml.g5.xlarge"


def test_x03_the_scripts_own_exit_code_is_tried_again() -> None:
    given = by_id("X03")["input"]
    assert exit_code(given["FailureReason"]) == 42
    job = {
        "TrainingJobName": "real-afspot-abcdefghij-1-1",
        "TrainingJobStatus": "Failed",
        "SecondaryStatus": "Failed",
        "FailureReason": given["FailureReason"],
        "CreationTime": NOW,
        "TrainingEndTime": NOW,
    }
    failed = History(1, (Attempt.from_description(job, {}),))
    policy = LadderPolicy((Rung("ml.g5.xlarge"),), BACKOFF)
    assert isinstance(decide(Limits(retry_exit_codes=frozenset({1})), failed, NOW, policy), Fail)
    again = decide(Limits(retry_exit_codes=frozenset(given["retry_exit_codes"])), failed, NOW, policy)
    assert isinstance(again, (Submit, Pause))


def test_x05_a_job_that_trained_to_its_last_second_goes_on_where_it_was() -> None:
    spot, on_demand = Rung("ml.g5.2xlarge"), Rung("ml.g5.2xlarge", spot=False)
    job = {**description(by_id("D07")["input"]), "Environment": {"AIRFLOW_SPOT_RUNG": str(spot)}}
    history = History(1, (Attempt.from_description(job, {}),))
    action = decide(Limits(), history, NOW, LadderPolicy((spot, on_demand), BACKOFF))
    assert isinstance(action, Submit)
    assert action.rung == spot


def test_every_case_is_tested_here_or_with_local_sagemaker() -> None:
    kinds = {"describe", "savings", "failure_reason", "refusal", "describe_error", "stop_error", "event", "hiding"}
    assert {case["kind"] for case in CASES} == kinds | {"run", "log", "local_difference"}
    assert {case["id"] for case in CASES if case["kind"] == "run"} == {"X02", "X03", "X05"}
    assert set(CHANGED) <= {case["id"] for case in CASES}
