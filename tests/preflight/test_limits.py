"""Whatever AWS does, a look before a run ends in time, and raises nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, cast

import pytest
from botocore.exceptions import EndpointConnectionError, ReadTimeoutError

from airflow_spot.core.identity import RunIdentity
from airflow_spot.core.plan import SpotSettings, build_plan
from airflow_spot.preflight.findings import PreflightFinding, Severity
from airflow_spot.preflight.running import inspect
from tests.operators.scene import SHAPE
from tests.support.requests import stock_config


class Answers:
    """Clients whose every call does one thing."""

    def __init__(self, act: Any) -> None:
        self._act = act
        self.configs: list[Any] = []
        self.calls: list[str] = []

    def __call__(self, service: str, region: str, config: Any) -> Any:
        self.configs.append(config)
        return _Client(self, service)

    def call(self, name: str) -> Any:
        self.calls.append(name)
        return self._act()


class _Client:
    def __init__(self, answers: Answers, service: str) -> None:
        self._answers, self._service = answers, service

    def __getattr__(self, name: str) -> Any:
        return lambda **_: self._answers.call(f"{self._service}.{name}")


def raises(error: BaseException) -> Any:
    def act() -> Any:
        raise error

    return act


@pytest.fixture
def released() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()  # no thread outlives the test


def plan(**settings: Any) -> Any:
    return build_plan(stock_config("bucket"), SpotSettings(**settings), RunIdentity("n", "d", "r", "t", -1), SHAPE)


def given_up(found: list[PreflightFinding]) -> list[PreflightFinding]:
    """What was found instead of an error that came out of the checks as a whole."""
    return [each for each in found if each.field == "preflight"]


def test_calls_that_are_never_answered_cost_the_budget_and_no_more(released: threading.Event) -> None:
    answers = Answers(lambda: released.wait() and {})
    found = inspect(plan(), answers, region="us-east-1", budget_seconds=0.2).findings
    # It came back although nobody has been answered yet: else this would never end.
    assert {each.severity for each in found} == {Severity.UNCHECKED}
    assert {"credentials", "role", "bucket", "type", "quota", "image"} <= {each.check for each in found}
    assert all("no answer within 0.2 s" in each.why for each in found if each.check in ("credentials", "role"))


def test_each_call_is_made_once_and_has_a_limit_of_its_own() -> None:
    answers = Answers(raises(ReadTimeoutError(endpoint_url="http://x")))
    found = inspect(plan(), answers, region="us-east-1", call_seconds=3).findings
    assert {each.severity for each in found} == {Severity.UNCHECKED}
    assert len(answers.calls) == len(set(answers.calls)) + answers.calls.count("s3.head_bucket") - 1
    for config in answers.configs:
        assert config.connect_timeout + config.read_timeout <= 3
        assert config.retries["total_max_attempts"] == 1


@pytest.mark.parametrize(
    "error",
    [EndpointConnectionError(endpoint_url="http://x"), RuntimeError("boom"), KeyError("x"), TypeError("x")],
    ids=lambda error: type(error).__name__,
)
def test_no_error_of_a_client_comes_out(error: Exception) -> None:
    found = inspect(plan(), Answers(raises(error)), region="us-east-1").findings
    assert found and {each.severity for each in found} == {Severity.UNCHECKED}


@pytest.mark.parametrize("answer", [{}, {"Role": None}, {"EvaluationResults": [{}], "Account": 5}, None, "text"])
def test_no_answer_is_so_strange_that_it_raises(answer: Any) -> None:
    found = inspect(plan(), Answers(lambda: answer), region="us-east-1").findings
    assert not given_up(found)


def test_a_client_that_cannot_be_made_is_no_error() -> None:
    def clients(*_: Any) -> Any:
        raise ValueError("no such service")

    assert {each.severity for each in inspect(plan(), clients, region="us-east-1").findings} == {Severity.UNCHECKED}


@pytest.mark.parametrize("request_", [{}, {"ResourceConfig": 5}, {"InputDataConfig": [None]}, [{}], ()])
def test_what_is_no_request_is_no_error(request_: Any) -> None:
    assert not given_up(inspect(request_, Answers(dict), region="us-east-1").findings)


def test_an_error_of_the_checks_themselves_is_told_and_fails_nothing() -> None:
    answers, no_request = Answers(dict), cast(Any, 5)
    found = inspect(no_request, answers, region="us-east-1").findings
    assert [each.severity for each in given_up(found)] == [Severity.UNCHECKED] and not answers.calls


def test_where_only_the_runs_own_calls_are_made_nobody_else_is_asked() -> None:
    answers = Answers(dict)
    found = inspect(plan(), answers, region="us-east-1", only_needed_permissions=True).findings
    assert set(answers.calls) == {"sts.get_caller_identity", "s3.head_bucket"}
    assert not [each for each in found if each.severity is Severity.UNCHECKED]


def test_a_plan_is_looked_at_rung_by_rung() -> None:
    offered = {"InstanceTypeOfferings": [{"InstanceType": "m5.large"}]}
    ladder = ["ml.g5.xlarge", "ml.m5.large"]
    found = inspect(plan(ladder=ladder), Answers(lambda: offered), region="us-east-1").findings
    (finding,) = (each for each in found if each.check == "type")
    assert (finding.severity, finding.rung) == (Severity.WARN, "ml.g5.xlarge spot")
    alone = inspect(plan(ladder=ladder[:1]), Answers(lambda: offered), region="us-east-1").findings
    assert Severity.FAIL in {each.severity for each in alone if each.check == "type"}
