"""Airflow Variables from within a task, by version of Airflow."""

from __future__ import annotations

import importlib
from typing import Any

from airflow import __version__ as airflow_version


def read_variable(key: str) -> str | None:
    """Return a Variable's value; None where there is none. It blocks."""
    value = _variable().get(key, **({"default_var": None} if _AIRFLOW_2 else {"default": None}))
    return None if value is None else str(value)


def write_variable(key: str, value: str, description: str) -> None:
    """
    Write a Variable, over what is there. It blocks.

    :raises Exception: it could not be written.
    """
    _variable().set(key, value, description=description)


def create_variable(key: str, value: str, description: str) -> None:
    """
    Write a Variable that is not there. It blocks.

    Airflow 2 has the database here, and its unique key lets only one of several writers win. Airflow 3's API for tasks
    overwrites: whoever writes reads again, see :mod:`airflow_spot.runs.namespace`.

    :raises Exception: it could not be written.
    """
    if not _AIRFLOW_2:
        _variable().set(key, value, description=description)
        return
    from airflow.utils.session import create_session
    from sqlalchemy.exc import IntegrityError

    try:
        with create_session() as session:
            session.add(_variable()(key=key, val=value, description=description))
    except IntegrityError:
        pass  # another task was first, and its value stays


#: Goes when 2.11 is no longer supported.
_AIRFLOW_2 = airflow_version.startswith("2.")


def _variable() -> Any:
    module = importlib.import_module("airflow.models" if _AIRFLOW_2 else "airflow.sdk")
    return module.Variable
