"""What SageMaker says of an account limit: whether waiting mends it, and what to ask for."""

from __future__ import annotations

import re
from dataclasses import dataclass

#: As CreateTrainingJob words it (recorded 2018 to 2026; at first the quota's name had no quotes).
_QUOTE = r"[\"'\u2018\u2019\u201c\u201d]?"
_NUMBER = r"(\d[\d,]*)(?:\.0+)?"
_LIMIT = re.compile(
    rf"service limit (?:for )?{_QUOTE}(?P<name>.+?){_QUOTE} is (?P<value>{_NUMBER})\b.*?"
    rf"utilization of (?P<used>{_NUMBER})\b.*?delta of (?P<needed>{_NUMBER})\b",
    re.DOTALL,
)
_NOT_OFFERED = re.compile(r"requested resource (?:training-job/)?(?P<type>\S+) is not available in this region")


@dataclass(frozen=True)
class Limit:
    """
    An account limit that keeps a job from starting.

    :param name: of the quota, as Service Quotas has it; empty where it is not said.
    :param value: what it is.
    :param needed: what the job needs.
    :param instance_type: of a type that the region does not offer; else empty.
    """

    name: str = ""
    value: int = 0
    needed: int = 0
    instance_type: str = ""

    @property
    def too_small(self) -> bool:
        """Return whether no wait helps: even unused, the limit is below what the job needs."""
        return bool(self.instance_type) or (bool(self.name) and self.value < self.needed)

    def __str__(self) -> str:
        if self.instance_type:
            return f"{self.instance_type} is not offered in this region: choose another instance type or region"
        return (
            f"the quota {self.name!r} is {self.value}, and the job needs {self.needed}. Request an increase of it in "
            "the Service Quotas console, service Amazon SageMaker, then clear the task"
        )


def read_limit(message: str) -> Limit | None:
    """Read the message of a ResourceLimitExceeded; None where it says neither a limit nor a type."""
    if found := _NOT_OFFERED.search(message):
        return Limit(instance_type=found["type"])
    if found := _LIMIT.search(message):
        return Limit(found["name"], _whole(found["value"]), _whole(found["needed"]))
    return None


def _whole(number: str) -> int:
    return int(number.partition(".")[0].replace(",", ""))
