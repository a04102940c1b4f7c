"""Every difference between Airflow versions that this package meets; each entry says when it can go.

What only a triggerer needs is in ``compat_triggers.py``, so that DAG files do not load it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow import __version__ as airflow_version

#: Whether Airflow ends a deferred task at its ``execution_timeout``, by no code of ours: goes when 2.11 is no longer
#: supported.
EXECUTION_TIMEOUT_COUNTS_DEFERRED = airflow_version.startswith("2.")

#: Seconds that a task's on_kill has before its process is killed for good: Airflow 3's supervisor waits for five;
#: Airflow 2 for killed_task_cleanup_time, a minute by default. Goes when 2.11 is no longer supported.
ON_KILL_SECONDS = 50.0 if airflow_version.startswith("2.") else 4.0

if TYPE_CHECKING:
    from airflow.sdk import Context, PokeReturnValue
    from airflow.sdk.exceptions import (
        AirflowException,
        AirflowFailException,
        AirflowSensorTimeout,
        AirflowSkipException,
        AirflowTaskTimeout,
    )
else:
    try:
        from airflow.providers.common.compat.sdk import (
            AirflowException,
            AirflowFailException,
            AirflowSensorTimeout,
            AirflowSkipException,
            AirflowTaskTimeout,
            Context,
            PokeReturnValue,
        )
    except ImportError:
        # common-compat below 1.8 (MWAA's image of 3.0.6 has 1.7.3): goes when Airflow 3.0 is no longer supported.
        from airflow.exceptions import (
            AirflowException,
            AirflowFailException,
            AirflowSensorTimeout,
            AirflowSkipException,
            AirflowTaskTimeout,
        )

        try:
            from airflow.sdk import Context, PokeReturnValue
        except ImportError:  # Airflow 2: goes with 2.11
            from airflow.sensors.base import PokeReturnValue
            from airflow.utils.context import Context


def is_reschedule(error: BaseException) -> bool:
    """Return whether it is how a sensor in mode reschedule leaves its worker."""
    # All versions have it here, and none in the provider's place for both.
    from airflow.exceptions import AirflowRescheduleException

    return isinstance(error, AirflowRescheduleException)


__all__ = [
    "EXECUTION_TIMEOUT_COUNTS_DEFERRED",
    "ON_KILL_SECONDS",
    "AirflowException",
    "AirflowFailException",
    "AirflowSensorTimeout",
    "AirflowSkipException",
    "AirflowTaskTimeout",
    "Context",
    "PokeReturnValue",
    "is_reschedule",
]
