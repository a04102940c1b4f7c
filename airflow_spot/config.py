"""The ``[airflow_spot]`` section of Airflow's configuration, read when it is needed."""

from __future__ import annotations

import logging
import os
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

from airflow.configuration import AIRFLOW_HOME, conf

from airflow_spot.core.durations import interval
from airflow_spot.core.locations import check_queue_url, is_loopback
from airflow_spot.core.money.prices import Prices, read_prices
from airflow_spot.core.parameter_errors import InvalidParameterError

SECTION = "airflow_spot"
CHECK_INTERVAL_SECONDS = 30.0
#: Where this package's pages are, below Airflow's.
PAGES = "/airflow-spot"

log = logging.getLogger(__name__)


@lru_cache(maxsize=1)
def deployment_namespace() -> str | None:
    """
    Return what the configuration says of which deployment this is; None where it says nothing that tells two apart.

    ``[airflow_spot] namespace``; else the name of the MWAA environment; else the base URL, unless its host is this
    machine's or a bare name, as the defaults of Airflow, its chart and its compose file are. Logged once.
    """
    chosen = conf.get(SECTION, "namespace", fallback=None)
    if chosen:
        return str(chosen)
    if name := os.environ.get("AIRFLOW_ENV_NAME"):  # set by MWAA
        log.info("[airflow_spot] namespace is not set; using %r, the name of the MWAA environment", name)
        return name
    derived = _from_url(_base_url())
    if derived is not None:
        log.info(
            "[airflow_spot] namespace is not set; using %r (from the base URL). Set it explicitly before changing the "
            "URL",
            derived,
        )
    return derived


def _base_url() -> str:
    url = conf.get("api", "base_url", fallback=None) or conf.get("webserver", "base_url", fallback=None)  # Airflow 2
    return str(url or "")


def _from_url(url: str) -> str | None:
    """Return a base URL without what differs between Airflow 2 and 3, or between two ways to write it."""
    parts = urlsplit(url if "//" in url else f"//{url}")
    host = (parts.hostname or "").rstrip(".")
    if is_loopback(host) or "." not in host or host == "0.0.0.0":  # noqa: S104 - nothing listens there
        return None
    port = "" if parts.port in (None, 80, 443) else f":{parts.port}"
    return f"{host}{port}{parts.path.rstrip('/')}"


def check_interval() -> float:
    """
    Return the polling interval in seconds, for tasks that do not set it themselves.

    :raises InvalidParameterError: it is not above 0.
    """
    return interval(f"[{SECTION}] check_interval", conf.get(SECTION, "check_interval", fallback=CHECK_INTERVAL_SECONDS))


def events_queue_url(of_task: str | None = None) -> str | None:
    """
    Return which queue SageMaker's events come to; None for none.

    :param of_task: what the task says itself.
    :raises InvalidParameterError: it is no queue's URL.
    """
    if of_task:
        return check_queue_url("events_queue_url", of_task)
    url = conf.get(SECTION, "events_queue_url", fallback=None)
    return check_queue_url(f"[{SECTION}] events_queue_url", url) if url else None


def airflow_base() -> str:
    """Return the path of the base URL, below which Airflow's own pages are; empty where there is none."""
    return urlsplit(_base_url()).path.rstrip("/")


def airflow_host() -> str:
    """Return host and port of the base URL; empty where there is none."""
    return urlsplit(_base_url()).netloc


def pages_base() -> str:
    """Return the path below which this package's pages are, without a slash behind."""
    return f"{airflow_base()}{PAGES}"


def stop_on_kill() -> bool:
    """Return whether a task that is killed or gives up stops its job, for tasks that do not set it themselves."""
    return bool(conf.getboolean(SECTION, "stop_on_kill", fallback=True))


def actions() -> bool:
    """Return whether the pages let whoever may edit a task stop its job, or have it continue on-demand."""
    return bool(conf.getboolean(SECTION, "actions", fallback=True))


def tabs() -> bool:
    """Return whether task instances and DAG runs have a tab for their spot trainings."""
    return bool(conf.getboolean(SECTION, "tabs", fallback=True))


def events_file() -> str | None:
    """Return the file that every run's events are appended to, as JSON lines; None for none."""
    return conf.get(SECTION, "events_file", fallback=None) or None


def aws_prices() -> bool:
    """Return whether AWS is asked for the prices that the file of :func:`prices` does not have."""
    return bool(conf.getboolean(SECTION, "aws_prices", fallback=True))


def preflight() -> str:
    """
    Return what is done about what would go wrong, for tasks that do not say so themselves.

    :raises InvalidParameterError: it is none of warn, fail and off.
    """
    chosen = str(conf.get(SECTION, "preflight", fallback=None) or "warn")
    if chosen not in ("warn", "fail", "off"):
        raise InvalidParameterError(f"[{SECTION}] preflight", chosen, "must be warn, fail or off")
    return chosen


def cache_folder() -> Path:
    """Return where answers of AWS about its markets are kept: below Airflow's home, unless the configuration says."""
    chosen = conf.get(SECTION, "cache_folder", fallback=None)
    return Path(chosen) if chosen else Path(AIRFLOW_HOME) / "airflow_spot_cache"


def prices() -> Prices | None:
    """
    Return the on-demand prices of ``[airflow_spot] prices``, the path of a JSON file; None where it is not set.

    :raises InvalidParameterError: the file cannot be read, or is no price table.
    """
    path = conf.get(SECTION, "prices", fallback=None)
    if not path:
        return None
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidParameterError(f"[{SECTION}] prices", path, f"cannot be read ({error.strerror})") from None
    except ValueError:  # bytes that are no UTF-8, or a path that cannot be one
        raise InvalidParameterError(f"[{SECTION}] prices", path, "cannot be read (it is no UTF-8 text)") from None
    return read_prices(text, f"[{SECTION}] prices")
