"""What TaskFlow's decorators are made of, by version of Airflow."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.sdk.bases.decorator import DecoratedOperator, TaskDecorator, task_decorator_factory
    from airflow.sdk.definitions.context import KNOWN_CONTEXT_KEYS
else:
    try:
        from airflow.sdk.bases.decorator import DecoratedOperator, TaskDecorator, task_decorator_factory
    except ImportError:  # Airflow 2: goes with 2.11
        from airflow.decorators.base import DecoratedOperator, TaskDecorator, task_decorator_factory
    try:
        from airflow.sdk.definitions.context import KNOWN_CONTEXT_KEYS
    except ImportError:  # goes when Airflow 3.0 is no longer supported
        from airflow.utils.context import KNOWN_CONTEXT_KEYS

__all__ = ["KNOWN_CONTEXT_KEYS", "DecoratedOperator", "TaskDecorator", "task_decorator_factory"]
