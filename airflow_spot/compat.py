"""Every difference between Airflow versions that this package meets; each entry says when it can go."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator, BaseOperatorLink, BaseSensorOperator, Context
    from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowTaskTimeout
    from airflow.sdk.execution_time.xcom import XCom
else:
    try:
        from airflow.providers.common.compat.sdk import (
            AirflowException,
            AirflowFailException,
            AirflowTaskTimeout,
            BaseOperator,
            BaseOperatorLink,
            BaseSensorOperator,
            Context,
            XCom,
        )
    except ImportError:  # common-compat below 1.8 (MWAA's Airflow 3.0.6 pins 1.7.3): goes when 3.0 is no longer supported
        from airflow.exceptions import AirflowException, AirflowFailException, AirflowTaskTimeout
        from airflow.sdk import BaseOperator, BaseOperatorLink, BaseSensorOperator, Context
        from airflow.sdk.execution_time.xcom import XCom

__all__ = [
    "AirflowException",
    "AirflowFailException",
    "AirflowTaskTimeout",
    "BaseOperator",
    "BaseOperatorLink",
    "BaseSensorOperator",
    "Context",
    "XCom",
]
