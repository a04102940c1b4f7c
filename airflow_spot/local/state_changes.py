"""Changes of state, for the audit log and for EventBridge."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from airflow_spot.local.aws.events import Change
from airflow_spot.local.storage.store import Resource

if TYPE_CHECKING:
    from airflow_spot.local.backend import Backend


def publish_event(
    backend: Backend, detail_type: str, item: Resource, detail: Callable[[float], dict[str, Any]] | None = None
) -> None:
    """Send an event. Calls for one resource have to come in the order of its changes.

    :param detail_type: one of :mod:`airflow_spot.local.aws.events`.
    :param detail: returns the event's detail at a service time; default: the resource's description.
    """
    describe = item.describe if detail is None else detail
    backend.events.changed(
        Change(detail_type, item.region, item.arn),
        lambda: describe(backend.clock.now()),
        backend.store.tags.get(item.arn, {}),
    )


def record_status(
    backend: Backend,
    item: Resource,
    kind: tuple[str, str],
    status: str,
    reason: str | None = None,
    detail: Callable[[float], dict[str, Any]] | None = None,
) -> None:
    """Write a new status into the audit log and send its event.

    :param kind: the audit log's word and the event's detail type.
    :param reason: why it failed, if it did.
    :param detail: as for :func:`publish_event`.
    """
    backend.audit.write("state", job=item.name, kind=kind[0], status=status, secondary=None, message=reason)
    publish_event(backend, kind[1], item, detail)
