"""When Airflow should try a failed run again: a ``retry_policy`` for Airflow 3.3 and later."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_spot.core.durations import seconds
from airflow_spot.core.parameter_errors import InvalidParameterError
from airflow_spot.errors import NonRetryableSpotError, QuotaError, SageMakerServiceError, ScriptError, SpotCapacityError

if TYPE_CHECKING:
    from airflow.sdk.definitions.retry_policy import RetryDecision, RetryPolicy
else:
    try:
        from airflow.sdk.definitions.retry_policy import RetryDecision, RetryPolicy
    except ImportError:  # Airflow below 3.3: goes when that is no longer supported
        RetryDecision, RetryPolicy = None, object

_LARGEST = timedelta(hours=6)


class SpotRetryPolicy(RetryPolicy):
    """
    Retry what waiting can mend, later each time; fail what it cannot.

    Capacity and quota wait ``capacity_delay``, doubled at each try, at most six hours. A fault of SageMaker is
    retried after ``fault_delay``. A script's error is retried ``script_error_retries`` times. Anything else is
    as the task's own ``retries`` and ``retry_delay`` say. The policy never gives more tries than ``retries``.

    :param capacity_delay: seconds, a timedelta, or text such as ``"15m"``.
    :param fault_delay: the same.
    :param script_error_retries: a script's error is retried up to this number of the task's tries, whatever ended the
        tries before.
    :raises RuntimeError: Airflow is older than 3.3.
    :raises InvalidParameterError: a value is out of range.
    """

    def __init__(
        self,
        *,
        capacity_delay: Any = "15m",
        fault_delay: Any = "30s",
        script_error_retries: int = 0,
    ) -> None:
        if RetryDecision is None:
            from airflow import __version__

            raise RuntimeError(f"SpotRetryPolicy needs Airflow 3.3; this is {__version__}. Use retries and retry_delay")
        if script_error_retries < 0:
            raise InvalidParameterError("script_error_retries", script_error_retries, "must be 0 or more")
        self.capacity_delay = seconds("capacity_delay", capacity_delay)
        self.fault_delay = seconds("fault_delay", fault_delay)
        self.script_error_retries = script_error_retries

    def evaluate(self, exception: BaseException, try_number: int, max_tries: int, context: Any = None) -> RetryDecision:
        """Decide whether the task is tried again, and when."""
        if isinstance(exception, NonRetryableSpotError):
            return RetryDecision.fail("another try cannot help")
        if isinstance(exception, ScriptError):
            if try_number > self.script_error_retries:
                return RetryDecision.fail(f"the script failed in try {try_number}")
            return RetryDecision.retry(
                reason=f"the script failed; {self.script_error_retries} retries of it are allowed"
            )
        if isinstance(exception, (SpotCapacityError, QuotaError)):
            # The exponent is capped too: a number of a thousand tries would not fit into a timedelta.
            delay = timedelta(seconds=self.capacity_delay) * 2 ** min(max(0, try_number - 1), 20)
            return RetryDecision.retry(
                min(delay, max(_LARGEST, timedelta(seconds=self.capacity_delay))), "no capacity or quota"
            )
        if isinstance(exception, SageMakerServiceError):
            return RetryDecision.retry(timedelta(seconds=self.fault_delay), "SageMaker internal error")
        return RetryDecision.default()

    def serialize(self) -> dict[str, Any]:
        """Write the policy for the serialized DAG."""
        return {
            "__type": "airflow_spot.retry.SpotRetryPolicy",
            "capacity_delay": self.capacity_delay,
            "fault_delay": self.fault_delay,
            "script_error_retries": self.script_error_retries,
        }

    @classmethod
    def deserialize(cls, data: Mapping[str, Any]) -> SpotRetryPolicy:
        """Read what :meth:`serialize` wrote."""
        return cls(**{name: value for name, value in data.items() if name != "__type"})
