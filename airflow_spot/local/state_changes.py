"""Changes of state: told to the audit log, and to EventBridge."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from airflow_spot.local.aws.events import Change

if TYPE_CHECKING:
    from airflow_spot.local.backend import Backend


class Named(Protocol):
    """Whatever has an ARN."""

    @property
    def region(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def arn(self) -> str: ...


def tell(backend: Backend, detail_type: str, item: Named, describe: Callable[[], dict[str, Any]]) -> None:
    """Send an event. Calls for one resource have to come in the order of its changes.

    :param detail_type: one of :mod:`airflow_spot.local.aws.events`.
    :param describe: gives the event's detail.
    """
    change = Change(detail_type, item.region, item.arn)
    tags = backend.store.tags.get(item.arn, {})
    backend.events.changed(change, describe, tags)


def entered(
    backend: Backend,
    item: Named,
    kind: tuple[str, str],
    describe: Callable[[], dict[str, Any]],
    status: str,
    reason: str | None = None,
) -> None:
    """Write a new status into the audit log and send its event.

    :param kind: the audit log's word and the event's detail type.
    :param reason: why it failed, if it did.
    """
    backend.audit.write("state", job=item.name, kind=kind[0], status=status, secondary=None, message=reason)
    tell(backend, kind[1], item, describe)
