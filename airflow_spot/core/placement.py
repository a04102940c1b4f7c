"""Where a job ran, or is to run: instances of one type or of several, on spot or on-demand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_spot.core.outcomes import instance_count


@dataclass(frozen=True)
class Placement:
    """
    Where a job ran: the instances, and on which market.

    :param instance_type: of a heterogeneous cluster its types, as ``"ml.g5.xlarge, ml.m5.large"``.
    :param instance_count: of all of them.
    :param groups: of a heterogeneous cluster, how many it has of each type.
    """

    instance_type: str
    instance_count: int = 1
    spot: bool = True
    groups: tuple[tuple[str, int], ...] = ()

    @property
    def instances(self) -> tuple[tuple[str, int], ...]:
        """Return how many there are of each type: each has a price of its own."""
        return self.groups or ((self.instance_type, self.instance_count),)

    def __str__(self) -> str:
        if self.groups:
            return f"{' + '.join(f'{count} x {kind}' for kind, count in self.groups)} {self._market}"
        count = f"{self.instance_count} x " if self.instance_count != 1 else ""
        return f"{count}{self.instance_type} {self._market}"

    @property
    def _market(self) -> str:
        return "spot" if self.spot else "on-demand"

    @classmethod
    def of_resources(cls, resources: Mapping[str, Any], spot: bool) -> Placement:
        """Read it from a ``ResourceConfig``, of a request or as DescribeTrainingJob returns it."""
        groups = read_groups(resources)
        kind = resources.get("InstanceType") or resources.get("SelectedInstanceType")
        if not kind and not groups:
            preferred = resources.get("InstancePreferences") or [{}]
            kind = preferred[0].get("InstanceType", "unknown")
        if not kind:
            kind = ", ".join(name for name, _ in groups)
        return cls(str(kind), instance_count(resources), spot, groups if len(groups) > 1 else ())


def read_groups(resources: Mapping[str, Any]) -> tuple[tuple[str, int], ...]:
    """Return how many instances the groups of a ``ResourceConfig`` have of each type, in their order."""
    counts: dict[str, int] = {}
    for group in resources.get("InstanceGroups") or ():
        kind = str(group.get("InstanceType", "unknown"))
        counts[kind] = counts.get(kind, 0) + int(group.get("InstanceCount") or 1)
    return tuple(counts.items())
