"""The resources that the service holds, by kind, region and name; and the tags of whatever has an ARN."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from airflow_spot.local.errors import in_use, not_found
from airflow_spot.local.settings import ACCOUNT


class Resource(Protocol):
    """What every kind of resource can do. Each kind's class has to: mypy checks it where its ``Kind`` is made."""

    @property
    def region(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def arn(self) -> str: ...

    def describe(self, now: float) -> dict[str, Any]:
        """Return the answer of the kind's Describe operation.

        :param now: service time, in seconds since the epoch.
        """


R = TypeVar("R", bound=Resource)


@dataclass(frozen=True)
class Kind(Generic[R]):
    """The key of one kind's table, e.g. ``Kind[TrainingJob]("training-job", "Training job")``.

    :param arn_type: as in ARNs, e.g. ``training-job``.
    :param label: as in messages, e.g. ``Training job``.
    """

    arn_type: str
    label: str

    @property
    def member_prefix(self) -> str:
        """How the members of its description begin: ``TrainingJob`` of TrainingJobName, TrainingJobStatus."""
        return "".join(word.capitalize() for word in self.arn_type.split("-"))

    def arn(self, region: str, name: str) -> str:
        """Return the ARN of one of them. SageMaker writes names in ARNs in lower case."""
        return f"arn:aws:sagemaker:{region}:{ACCOUNT}:{self.arn_type}/{name.lower()}"


class Table(Generic[R]):
    """Resources of one kind by region and name. Thread-safe.

    A name is unique in its region, whatever its case, since ARNs are in lower case; it is looked up exactly.

    :ivar lock: held by each method; hold it to make several of them one.
    """

    def __init__(self, kind: Kind[R]) -> None:
        self.kind = kind
        self._items: dict[tuple[str, str], R] = {}
        self.lock = threading.RLock()

    def add(self, item: R) -> None:
        """Add a resource under its name.

        :raises ServiceError: ResourceInUse if the name is taken. Of two calls at once, one succeeds.
        """
        with self.lock:
            key = (item.region, item.name.lower())
            if key in self._items:
                raise in_use(
                    f"{self.kind.label} names must be unique within an AWS account and region, but a "
                    f"{self.kind.label.lower()} with this name already exists ({item.arn})"
                )
            self._items[key] = item

    def find(self, region: str, name: str) -> R | None:
        """Return the resource, or None if the region has none of that name."""
        with self.lock:
            item = self._items.get((region, name.lower()))
            return item if item is not None and item.name == name else None

    def get(self, region: str, name: str) -> R:
        """Return the resource.

        :raises ServiceError: ValidationException if the region has none of that name.
        """
        item = self.find(region, name)
        if item is None:
            raise not_found()
        return item

    def pop(self, region: str, name: str) -> R:
        """Remove and return the resource; raises as :meth:`get` does."""
        with self.lock:
            item = self.get(region, name)
            del self._items[region, name.lower()]
            return item

    def list(self, region: str) -> list[R]:
        """Return all of one region, in the order in which they were added."""
        with self.lock:
            return [item for (where, _), item in self._items.items() if where == region]

    def has(self, region: str, lower_name: str) -> bool:
        """Return whether an ARN that ends in this name is one of this table's."""
        with self.lock:
            return (region, lower_name) in self._items

    def __iter__(self) -> Iterator[R]:
        with self.lock:
            return iter([*self._items.values()])

    def __len__(self) -> int:
        return len(self._items)


class Store:
    """One table for each kind, and the tags of whatever has an ARN.

    :param kinds: those that there are, see :data:`airflow_spot.local.http.registry.KINDS`. To add one, add its key
        there: tags, ARNs, unique names and the web page follow.
    """

    def __init__(self, kinds: Iterable[Kind[Any]]) -> None:
        self._tables = {kind: Table(kind) for kind in kinds}
        self.tags: dict[str, dict[str, str]] = {}

    def table(self, kind: Kind[R]) -> Table[R]:
        """Return the table of one kind.

        :raises KeyError: for a kind that the store was not made with.
        """
        return self._tables[kind]

    def resources(self) -> Iterator[tuple[Kind[Any], list[Resource]]]:
        """Return each kind with all its resources, oldest first, whatever kinds there are."""
        return ((kind, list(table)) for kind, table in self._tables.items())

    def exists(self, resource_arn: str) -> bool:
        """Return whether a resource has this ARN."""
        parts = resource_arn.split(":", 5)
        if len(parts) != 6 or parts[2] != "sagemaker":
            return False
        arn_type, _, name = parts[5].partition("/")
        return any(
            kind.arn_type == arn_type and table.has(parts[3], name.lower()) for kind, table in self._tables.items()
        )
