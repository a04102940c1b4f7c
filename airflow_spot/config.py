"""The ``[airflow_spot]`` section of Airflow's configuration, read when it is needed."""

from __future__ import annotations

import logging
import os
from functools import lru_cache

from airflow.configuration import conf

from airflow_spot.core.durations import interval
from airflow_spot.core.locations import check_queue_url

SECTION = "airflow_spot"
CHECK_INTERVAL_SECONDS = 30.0

log = logging.getLogger(__name__)


@lru_cache(maxsize=1)
def namespace() -> str:
    """
    Say what tells this deployment's runs from another's in the same AWS account.

    ``[airflow_spot] namespace``; unset, the name of the MWAA environment, else the base URL. Logged once.
    """
    chosen = conf.get(SECTION, "namespace", fallback=None)
    if chosen:
        return str(chosen)
    derived = (
        os.environ.get("AIRFLOW_ENV_NAME")  # set by MWAA
        or conf.get("api", "base_url", fallback=None)
        or conf.get("webserver", "base_url", fallback=None)  # Airflow 2: goes when 2.11 is no longer supported
        or "airflow"
    )
    log.info(
        "[airflow_spot] namespace is not set; using %r (from the base URL). Set it explicitly before changing the URL",
        derived,
    )
    return str(derived)


def check_interval() -> float:
    """
    Say how many seconds lie between two looks at a job, for tasks that do not say so themselves.

    :raises InvalidParameterError: it is not above 0.
    """
    return interval(f"[{SECTION}] check_interval", conf.get(SECTION, "check_interval", fallback=CHECK_INTERVAL_SECONDS))


def events_queue_url(of_task: str | None = None) -> str | None:
    """
    Say which queue SageMaker's events come to; None for none.

    :param of_task: what the task says itself.
    :raises InvalidParameterError: it is no queue's URL.
    """
    if of_task:
        return check_queue_url("events_queue_url", of_task)
    url = conf.get(SECTION, "events_queue_url", fallback=None)
    return check_queue_url(f"[{SECTION}] events_queue_url", url) if url else None


def stop_on_kill() -> bool:
    """Say whether a task that is killed or gives up stops its job, for tasks that do not say so themselves."""
    return bool(conf.getboolean(SECTION, "stop_on_kill", fallback=True))
