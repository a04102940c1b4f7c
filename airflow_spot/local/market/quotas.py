"""Service quotas of training jobs: how many instances of a type the account may use at once.

A specification is ``TYPE=N`` entries joined by ``;``, TYPE with shell wildcards and, if one market only is meant,
``:spot`` or ``:on-demand`` at its end: ``ml.p3.2xlarge:spot=0;ml.g5.*=4``. The first that matches counts; what no
entry matches is unlimited. AWS's spot quotas are apart from the others, and often start at 0.

``ml.p2.*=unavailable``: the region has no such types, which SageMaker answers as a limit too, though no wait and no
request mends it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Protocol

from airflow_spot.local.errors import ServiceError, limit_exceeded

_ENTRY = re.compile(r"([^=:;]+)(?::(spot|on-demand))?=(\d+|unavailable)")


class Placed(Protocol):
    """A job, as far as quotas count it."""

    @property
    def instance_type(self) -> str: ...

    @property
    def instance_count(self) -> int: ...

    @property
    def spot(self) -> bool: ...

    @property
    def terminal(self) -> bool: ...


@dataclass(frozen=True)
class Quota:
    """At most ``limit`` instances of the types that match, in one market or (None) in each.

    :param limit: None: the region has no such types.
    """

    pattern: str
    spot: bool | None
    limit: int | None


def parse_quotas(spec: str) -> tuple[Quota, ...]:
    """Read a specification; an empty one limits nothing.

    :raises ValueError: naming the entry that is wrong.
    """
    quotas = []
    for part in (part.strip() for part in spec.split(";")):
        match = _ENTRY.fullmatch(part)
        if match is not None:
            spot = None if match[2] is None else match[2] == "spot"
            quotas.append(Quota(match[1], spot, None if match[3] == "unavailable" else int(match[3])))
        elif part:
            raise ValueError(
                f"quotas {spec!r}: {part!r} is not TYPE=N, TYPE:spot=N, TYPE:on-demand=N or TYPE=unavailable"
            )
    return tuple(quotas)


def quota_of(quotas: Iterable[Quota], instance_type: str, *, spot: bool) -> Quota | None:
    """Return the quota that counts for a type in a market: the first that matches; None if nothing limits it."""
    found = (each for each in quotas if each.spot in (None, spot) and fnmatchcase(instance_type, each.pattern))
    return next(found, None)


def is_offered(quotas: Iterable[Quota], instance_type: str, *, spot: bool) -> bool:
    """Return whether the region has a type: no quota says ``unavailable``."""
    quota = quota_of(quotas, instance_type, spot=spot)
    return quota is None or quota.limit is not None


def quota_name(instance_type: str, *, spot: bool) -> str:
    """Return the name of a quota as AWS has it: ``ml.g5.xlarge for spot training job usage``."""
    return f"{instance_type} for {'spot training job usage' if spot else 'training job usage'}"


def check_quota(quotas: Iterable[Quota], jobs: Iterable[Placed], new: Placed) -> None:
    """Refuse a job that would exceed a quota.

    Of a job with InstancePreferences the first type counts until one is selected (assumed).

    :param jobs: all of the region; those that have ended do not count.
    :raises ServiceError: ResourceLimitExceeded.
    """
    quota = quota_of(quotas, new.instance_type, spot=new.spot)
    if quota is None:
        return
    if quota.limit is None:
        raise limit_exceeded(f"The requested resource training-job/{new.instance_type} is not available in this region")
    same = (job for job in jobs if job.instance_type == new.instance_type and job.spot == new.spot)
    used = sum(job.instance_count for job in same if not job.terminal)
    if used + new.instance_count > quota.limit:
        raise exceeded(new.instance_type, new.spot, quota.limit, used=used, wanted=new.instance_count)


def exceeded(instance_type: str, spot: bool, limit: int, *, used: int, wanted: int) -> ServiceError:
    """Return ResourceLimitExceeded in AWS's words."""
    return limit_exceeded(
        f"The account-level service limit '{quota_name(instance_type, spot=spot)}' is {limit} Instances, with current "
        f"utilization of {used} Instances and a request delta of {wanted} Instances. Please use AWS Service Quotas to "
        "request an increase for this quota. If AWS Service Quotas is not available, contact AWS support to request an "
        "increase for this quota."
    )
