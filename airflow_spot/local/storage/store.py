"""What the service remembers: named resources per region, and tags per ARN."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

from airflow_spot.local.errors import in_use, not_found
from airflow_spot.local.settings import ACCOUNT

T = TypeVar("T")


def arn(region: str, kind: str, name: str) -> str:
    """A SageMaker ARN, e.g. of kind ``training-job``. SageMaker writes names in ARNs in lower case."""
    return f"arn:aws:sagemaker:{region}:{ACCOUNT}:{kind}/{name.lower()}"


class Table(Generic[T]):
    """Resources of one kind by region and name. Thread-safe.

    A name is unique in its region, whatever its case, since ARNs are in lower case; it is looked up exactly.

    :param kind: as in ARNs, e.g. ``training-job``.
    :param label: as in messages, e.g. ``Training job``.
    :ivar lock: held by each method; hold it to make several of them one.
    """

    def __init__(self, kind: str, label: str) -> None:
        self.kind = kind
        self.label = label
        self._items: dict[tuple[str, str], tuple[str, T]] = {}
        self.lock = threading.RLock()

    def add(self, region: str, name: str, item: T) -> None:
        """Take the name.

        :raises ServiceError: ResourceInUse if it is taken. Of two calls at once, one wins.
        """
        with self.lock:
            if (region, name.lower()) in self._items:
                raise in_use(
                    f"{self.label} names must be unique within an AWS account and region, but a "
                    f"{self.label.lower()} with this name already exists ({arn(region, self.kind, name)})"
                )
            self._items[region, name.lower()] = (name, item)

    def find(self, region: str, name: str) -> T | None:
        """The resource, or None if the region has none of that name."""
        with self.lock:
            exact, item = self._items.get((region, name.lower()), (None, None))
            return item if exact == name else None

    def get(self, region: str, name: str) -> T:
        """The resource.

        :raises ServiceError: ValidationException if the region has none of that name.
        """
        item = self.find(region, name)
        if item is None:
            raise not_found()
        return item

    def pop(self, region: str, name: str) -> T:
        """Remove and return the resource; raises as :meth:`get` does."""
        with self.lock:
            item = self.get(region, name)
            del self._items[region, name.lower()]
            return item

    def list(self, region: str) -> list[T]:
        """All of one region, in the order in which they were added."""
        with self.lock:
            return [item for (where, _), (_, item) in self._items.items() if where == region]

    def has(self, region: str, lower_name: str) -> bool:
        """Whether an ARN that ends in this name is one of this table's."""
        with self.lock:
            return (region, lower_name) in self._items

    def __iter__(self) -> Iterator[T]:
        with self.lock:
            return iter([item for _, item in self._items.values()])

    def __len__(self) -> int:
        return len(self._items)


class Store:
    """All tables, and the tags of whatever has an ARN.

    To add a kind of resource, add a table here: tags, ARNs and unique names follow.
    """

    def __init__(self) -> None:
        self.training_jobs: Table[Any] = Table("training-job", "Training job")
        self.processing_jobs: Table[Any] = Table("processing-job", "Processing job")
        self.transform_jobs: Table[Any] = Table("transform-job", "Transform job")
        self.tuning_jobs: Table[Any] = Table("hyper-parameter-tuning-job", "Hyperparameter tuning job")
        self.models: Table[Any] = Table("model", "Model")
        self.endpoint_configs: Table[Any] = Table("endpoint-config", "Endpoint configuration")
        self.endpoints: Table[Any] = Table("endpoint", "Endpoint")
        tables = (
            self.training_jobs,
            self.processing_jobs,
            self.transform_jobs,
            self.tuning_jobs,
            self.models,
            self.endpoint_configs,
            self.endpoints,
        )
        self.tables: dict[str, Table[Any]] = {table.kind: table for table in tables}
        self.tags: dict[str, dict[str, str]] = {}

    def exists(self, resource_arn: str) -> bool:
        """Whether a resource has this ARN."""
        parts = resource_arn.split(":", 5)
        if len(parts) != 6 or parts[2] != "sagemaker":
            return False
        kind, _, name = parts[5].partition("/")
        table = self.tables.get(kind)
        return table is not None and table.has(parts[3], name.lower())
