"""A mapped index that is another member does not take the other's checkpoint."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from airflow_spot.core.outcomes import Outcome
from airflow_spot.core.plan import Plan
from airflow_spot.errors import RequestError
from airflow_spot.runs.config_change import should_resume
from airflow_spot.runs.state import RunOptions
from tests.core.cases import RUN, SPOT, attempt, tried
from tests.support.sagemaker import DictionaryHook, DictionarySageMaker

MAPPED = replace(RUN, map_index=1)


def plan(rate: str = "1", member: str = "", mapped: bool = True) -> Plan:
    run = MAPPED if mapped else RUN
    request = {"AlgorithmSpecification": {"TrainingImage": "i"}, "HyperParameters": {"rate": rate}}
    return Plan(run, request, "train", (SPOT,), "s3://bucket/c", "run", member=member)


def resumes(now: Plan, before: Plan, option: str | None = None, retry: bool = False) -> bool:
    last = attempt(
        1,
        Outcome.SCRIPT_ERROR,
        created_by=tried(1, 0),
        fingerprint=before.fingerprint,
        member=before.member,
    )
    this_try = tried(2, 0) if retry else tried(2, 1)
    options, log = RunOptions(on_config_change=option), logging.getLogger("test")
    return should_resume(DictionaryHook(DictionarySageMaker()), [last], now, this_try, options, log)


@pytest.mark.parametrize(
    ("now", "before", "option", "resumed"),
    [
        (plan(), plan(), None, True),
        (plan("2"), plan("1"), None, False),  # nothing tells the members apart: it may be another
        (plan("2"), plan("1"), "resume", True),
        (plan("2"), plan("1"), "restart", False),
        (plan("1", "a"), plan("1", "b"), None, False),
        (plan("1", "a"), plan("1", "b"), "resume", False),  # another member is no change of the configuration
        (plan("2", "a"), plan("1", "a"), None, True),  # the same member, with an edited configuration
        (plan("2", "a"), plan("1"), None, False),
        (plan("2", mapped=False), plan("1", mapped=False), None, True),
    ],
)
def test_a_cleared_member_resumes_its_own_checkpoint_only(
    now: Plan, before: Plan, option: str | None, resumed: bool
) -> None:
    assert resumes(now, before, option) is resumed


def test_a_retry_resumes_whatever_the_map() -> None:
    assert resumes(plan("2", "a"), plan("1", "b"), retry=True)


def test_a_change_may_be_a_failure() -> None:
    with pytest.raises(RequestError, match="hyperparameters changed"):
        resumes(plan("2"), plan("1"), "fail")
