"""The control endpoint: what a test may do to the service while it runs. Loopback only, whatever the host."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable
from typing import Any

from werkzeug.wrappers import Request, Response

from airflow_spot.local.backend import Backend
from airflow_spot.local.errors import ServiceError

PREFIX = "/_airflow_spot/"


def answer(backend: Backend, request: Request) -> Response:
    """Answer ``POST /_airflow_spot/<action>``, a JSON object in and out; errors as ``{"error": text}``."""
    if not is_loopback(request.remote_addr):
        return _json({"error": "the control endpoint answers to this machine only"}, 403)
    action = ACTIONS.get(request.path[len(PREFIX) :])
    if action is None:
        return _json({"error": f"no action {request.path}; there are {', '.join(ACTIONS)}"}, 404)
    try:
        body = json.loads(request.get_data() or b"{}")
        return _json(action(backend, body))
    except ServiceError as error:
        return _json({"error": error.message}, 400)
    except (ValueError, KeyError, TypeError) as error:
        return _json({"error": f"{type(error).__name__}: {error}"}, 400)


def _health(backend: Backend, body: dict[str, Any]) -> dict[str, Any]:
    return {
        "time": backend.clock.now(),
        "namespace": backend.containers.namespace,
        "training_jobs": len(backend.store.training_jobs),
    }


def _interrupt(backend: Backend, body: dict[str, Any]) -> dict[str, Any]:
    """``{"job": name, "region": optional, "down": seconds without capacity, default 0}``."""
    region = body.get("region") or backend.settings.region
    backend.engine.interrupt(region, body["job"], float(body.get("down", 0)))
    return {}


def _crash(backend: Backend, body: dict[str, Any]) -> dict[str, Any]:
    """``{"job": name, "region": optional}``."""
    backend.engine.crash(body.get("region") or backend.settings.region, body["job"])
    return {}


def _faults(backend: Backend, body: dict[str, Any]) -> dict[str, Any]:
    """``{"plan": plan}``: replaces the plan; empty ends all faults."""
    backend.faults.set(body["plan"])
    return {}


def _market(backend: Backend, body: dict[str, Any]) -> dict[str, Any]:
    """``{"spot": spec, "on_demand": spec}``, either or both."""
    backend.capacity.set_markets(spot=body.get("spot"), on_demand=body.get("on_demand"))
    backend.engine.wake_all()
    return {}


ACTIONS: dict[str, Callable[[Backend, dict[str, Any]], dict[str, Any]]] = {
    "health": _health,
    "interrupt": _interrupt,
    "crash": _crash,
    "market": _market,
    "faults": _faults,
}


def is_loopback(address: str | None) -> bool:
    """Whether an address is this machine's own."""
    try:
        return address is not None and ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _json(content: dict[str, Any], status: int = 200) -> Response:
    return Response(json.dumps(content), status=status, content_type="application/json")
