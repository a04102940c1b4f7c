"""Which deployment this is, where neither its configuration nor its address says: see decision 0007."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from airflow_spot import config as settings
from airflow_spot.core.locations import is_loopback
from airflow_spot.errors import RequestError

VARIABLE = "airflow_spot_namespace"
#: Runs on Local SageMaker, whose jobs no other deployment sees.
LOCAL = "local"
#: A value is taken once it has stood for twice so long: of several tasks that write at once, the last one wins, and a
#: write may take seconds on a busy API server. It happens once in the life of a deployment.
SETTLING_SECONDS = 5.0
_ROUNDS = 12
#: A value that was made since then may still be overwritten by another first task; clocks may differ by half of it.
YOUNG_SECONDS = 120.0

_settled: dict[str, str] = {}


def namespace_for(
    endpoint_url: Callable[[], str],
    *,
    read: Callable[[str], str | None] | None = None,
    create: Callable[[str, str, str], None] | None = None,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.time,
) -> str:
    """
    Return what keeps this deployment's runs apart from another's in the same AWS account.

    ``[airflow_spot] namespace``; else MWAA's name; else the base URL, where its host says something; else, on Local
    SageMaker, a constant; else the Variable ``airflow_spot_namespace``, which is made once and never overwritten.

    :param endpoint_url: returns where SageMaker is; called only where the configuration says nothing.
    :param read: and ``create``: Airflow's Variables.
    :raises RequestError: there is no such Variable and none can be made.
    """
    known = settings.deployment_namespace()
    if known is not None:
        return known
    if is_loopback(urlsplit(endpoint_url()).hostname or ""):
        return LOCAL
    if VARIABLE not in _settled:
        if read is None or create is None:
            from airflow_spot.compat import variables

            read, create = read or variables.read_variable, create or variables.create_variable
        _settled[VARIABLE] = _agreed(read, create, sleep, clock)
    return _settled[VARIABLE]


def _agreed(
    read: Callable[[str], str | None],
    create: Callable[[str, str, str], None],
    sleep: Callable[[float], None],
    clock: Callable[[], float],
) -> str:
    try:
        if read(VARIABLE) is None:
            # The moment is in it, so that whoever reads it knows whether another first task may still overwrite it.
            name = f"{secrets.token_hex(6)}-{clock():.0f}"
            create(VARIABLE, name, "Names this deployment in the names of its SageMaker jobs. Keep it.")
        stood: list[str | None] = []
        for _ in range(_ROUNDS):
            stood.append(read(VARIABLE))
            value = stood[-1]
            if value and (_has_settled(value, clock()) or stood[-3:] == [value] * 3):
                return value
            sleep(SETTLING_SECONDS)
    except Exception as error:
        raise RequestError(
            f"This deployment has no name, and the Variable {VARIABLE} could not be made ({error}). Nothing was sent "
            "to SageMaker. Set [airflow_spot] namespace (AIRFLOW__AIRFLOW_SPOT__NAMESPACE) to a name that no other "
            "Airflow in this AWS account has"
        ) from None
    raise RequestError(
        f"This deployment has no name, and the Variable {VARIABLE} keeps changing. Nothing was sent to SageMaker. Set "
        "[airflow_spot] namespace (AIRFLOW__AIRFLOW_SPOT__NAMESPACE)"
    )


def _has_settled(value: str, now: float) -> bool:
    """Return whether a value is a person's, or was made long enough ago."""
    made = re.fullmatch(r"[0-9a-f]{12}-(\d{1,11})", value)
    return made is None or now - int(made[1]) > YOUNG_SECONDS
