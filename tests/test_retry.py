"""The retry policy: on Airflow 3.3."""

from __future__ import annotations

from datetime import timedelta

import pytest

from airflow_spot import errors, retry
from airflow_spot.core.parameter_errors import InvalidParameterError

policies = pytest.importorskip("airflow.sdk.definitions.retry_policy", reason="Airflow 3.3 has retry policies")


@pytest.mark.parametrize(
    ("error", "number", "action", "delay"),
    [
        (errors.RequestError("x"), 1, "fail", None),
        (errors.ScriptError("x"), 1, "retry", None),
        (errors.ScriptError("x"), 2, "fail", None),
        (errors.SpotCapacityError("x"), 1, "retry", timedelta(minutes=15)),
        (errors.QuotaError("x"), 3, "retry", timedelta(hours=1)),
        (errors.SpotCapacityError("x"), 5000, "retry", timedelta(hours=6)),
        (errors.SageMakerServiceError("x"), 4, "retry", timedelta(seconds=30)),
        (errors.MaxRuntimeExceededError("x"), 1, "default", None),
        (ValueError("x"), 1, "default", None),
    ],
)
def test_each_error_has_its_answer(error: Exception, number: int, action: str, delay: timedelta | None) -> None:
    policy = retry.SpotRetryPolicy(script_error_retries=1)
    again = retry.SpotRetryPolicy.deserialize(policy.serialize())
    for one in (policy, again):
        decision = one.evaluate(error, number, 9)
        assert (decision.action.value, decision.retry_delay) == (action, delay)


def test_a_wrong_value_is_named() -> None:
    with pytest.raises(InvalidParameterError, match="capacity_delay"):
        retry.SpotRetryPolicy(capacity_delay="soon")
    with pytest.raises(InvalidParameterError, match="script_error_retries"):
        retry.SpotRetryPolicy(script_error_retries=-1)


def test_an_older_airflow_is_named_when_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "RetryDecision", None)
    with pytest.raises(RuntimeError, match=r"needs Airflow 3\.3"):
        retry.SpotRetryPolicy()
