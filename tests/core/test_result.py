"""What a task returns is plain JSON, and no secret is in it."""

from __future__ import annotations

import json
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_spot.core.attempt import Attempt
from airflow_spot.core.history import History
from airflow_spot.core.outcomes import Outcome
from airflow_spot.core.result import attempt_facts, build_result, json_clean, without_secrets
from tests.core.cases import NOW, attempt, description


def _strict(value: Any) -> Any:
    """Through JSON as a database has it, which knows no NaN."""
    return json.loads(json.dumps(value, allow_nan=False))


def test_the_result_is_what_the_issue_says() -> None:
    said = description(SecondaryStatusTransitions=[{"Status": "Training", "StartTime": NOW, "EndTime": NOW}])
    past = History(
        3,
        (
            attempt(1, Outcome.CAPACITY_TIMEOUT, training_seconds=100, billable_seconds=50, interruptions=1),
            Attempt.from_description(said, {}),
        ),
    )
    result = build_result(said, past, "abcdefghij", NOW)
    assert _strict(result) == result
    assert set(result) == {"Training", "Spot"}
    assert result["Training"]["CreationTime"] == "2026-01-02T03:04:05+00:00"
    assert result["Training"]["SecondaryStatusTransitions"][0]["StartTime"] == "2026-01-02T03:04:05+00:00"
    assert not {"HyperParameters", "Environment", "ResponseMetadata"} & set(result["Training"])
    assert set(result["Training"]) == set(said) - {"HyperParameters", "Environment", "ResponseMetadata"}
    assert "hunter2" not in json.dumps(result) and "s3cr3t" not in json.dumps(result)
    assert result["Spot"] == {
        "run": "abcdefghij",
        "generation": 3,
        "attempts": [attempt_facts(each, NOW) for each in past.attempts],
        "interruptions": 1,
        "waited_seconds": 0,
        "launch_seconds": 0,
        "training_seconds": 200,
        "billable_seconds": 80,
        "trained_twice_seconds": None,
        "spot_discount_percent": 60.0,
        "savings_percent": None,
        "cost": None,
        "on_demand_cost": None,
        "saved": None,
        "prices": None,
        "checkpoint_s3_uri": "s3://bucket/checkpoints",
        "model_artifacts": "s3://bucket/output/model.tar.gz",
        "model_s3_uri": None,
        "progress": None,
    }


def test_the_result_of_a_job_that_has_nothing_yet() -> None:
    bare = {"TrainingJobName": "a", "TrainingJobStatus": "InProgress"}
    spot = build_result(bare, History(1), "abcdefghij", NOW)["Spot"]
    assert (spot["attempts"], spot["savings_percent"]) == ([], None)
    assert (spot["checkpoint_s3_uri"], spot["model_artifacts"]) == (None, None)


def test_the_description_is_left_as_it_was() -> None:
    said = description()
    without_secrets(said)
    assert said == description()


@pytest.mark.parametrize(
    ("value", "clean"),
    [
        (NOW, "2026-01-02T03:04:05+00:00"),
        (date(2026, 1, 2), "2026-01-02"),
        ((1, [2, (3,)]), [1, [2, [3]]]),
        ({1: True}, {"1": True}),
        (Decimal("1.5"), "1.5"),
        (float("nan"), None),  # a metric that diverged; a database's JSON has no NaN
        (float("-inf"), None),
        (1.5, 1.5),
        (None, None),
    ],
)
def test_values_become_json(value: Any, clean: Any) -> None:
    assert json_clean(value) == clean


BOTO = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.datetimes() | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(BOTO)
def test_whatever_boto3_returns_becomes_json(value: Any) -> None:
    clean = json_clean(value)
    assert _strict(clean) == clean
    assert not isinstance(clean, datetime)


def test_what_the_result_says_of_an_attempt() -> None:
    done = attempt(2, Outcome.COMPLETED, training_seconds=100, billable_seconds=30, why="after 1 refusal")
    assert attempt_facts(done, NOW) == {
        "job_name": done.job_name,
        "instance_type": "ml.g5.xlarge",
        "instance_count": 1,
        "spot": True,
        "outcome": "completed",
        "why": "after 1 refusal",
        "interruptions": 0,
        "waited_seconds": 0,
        "launch_seconds": 0,
        "training_seconds": 100,
        "billable_seconds": 30,
        "trained_twice_seconds": 0,
        "spot_discount_percent": 70.0,
        "savings_percent": 70.0,
        "cost": None,
        "on_demand_cost": None,
        "saved": None,
    }
    assert attempt_facts(attempt(1, None), NOW)["outcome"] == "in_progress"


def test_neither_the_command_line_nor_a_token_in_a_url_is_in_the_result() -> None:
    algorithm = {
        "TrainingImage": "image",
        "ContainerEntrypoint": ["python3", "train.py"],
        "ContainerArguments": ["--password", "hunter2"],
    }
    channel = {"DataSource": {"S3DataSource": {"S3Uri": "https://s3.amazonaws.com/bucket/x?X-Amz-Signature=s3cr3t"}}}
    rules = [{"RuleConfigurationName": "rule", "StatusDetails": "failed: train.py --password hunter2"}]
    said = description(AlgorithmSpecification=algorithm, InputDataConfig=[channel], DebugRuleEvaluationStatuses=rules)
    told = without_secrets(said)
    assert told["AlgorithmSpecification"] == {"TrainingImage": "image"}
    assert told["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3Uri"].endswith("?X-Amz-Signature=***")
    assert told["DebugRuleEvaluationStatuses"][0]["StatusDetails"] == "failed: train.py --password ***"
    assert said["AlgorithmSpecification"] == algorithm


def test_of_a_job_with_many_interruptions_the_newest_transitions_are_kept() -> None:
    transitions = [{"Status": "Interrupted", "StatusMessage": str(number)} for number in range(400)]
    told = without_secrets({"TrainingJobName": "j", "SecondaryStatusTransitions": transitions})
    assert [each["StatusMessage"] for each in told["SecondaryStatusTransitions"]] == [str(n) for n in range(350, 400)]
