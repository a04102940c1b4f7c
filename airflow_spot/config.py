"""The ``[airflow_spot]`` section of Airflow's configuration, read when it is needed."""

from __future__ import annotations

import logging
import os
from functools import lru_cache

from airflow.configuration import conf

log = logging.getLogger(__name__)


@lru_cache(maxsize=1)
def namespace() -> str:
    """
    Say what tells this deployment's runs from another's in the same AWS account.

    ``[airflow_spot] namespace``; unset, the name of the MWAA environment, else the base URL. Logged once.
    """
    chosen = conf.get("airflow_spot", "namespace", fallback=None)
    if chosen:
        return str(chosen)
    derived = (
        os.environ.get("AIRFLOW_ENV_NAME")  # set by MWAA
        or conf.get("api", "base_url", fallback=None)
        or conf.get("webserver", "base_url", fallback=None)  # Airflow 2: goes when 2.11 is no longer supported
        or "airflow"
    )
    log.info(
        "[airflow_spot] namespace is not set: this deployment's runs are told from another's in the same AWS "
        "account by %r. Set it before you change that",
        derived,
    )
    return str(derived)
