"""The control endpoint: what a test may do to the service while it runs. Loopback only, whatever the host."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

from werkzeug.wrappers import Request, Response

from airflow_spot.local.api.access import PREFIX, is_loopback
from airflow_spot.local.backend import Backend
from airflow_spot.local.errors import ServiceError
from airflow_spot.local.market.quotas import parse_quotas
from airflow_spot.local.training.job import TRAINING_JOBS


def answer(backend: Backend, request: Request) -> Response:
    """Answer ``POST /_airflow_spot/<action>``, a JSON object in and out; errors as ``{"error": text}``."""
    if not is_loopback(request.remote_addr):
        return _json({"error": "only this machine is allowed"}, 403)
    action = ACTIONS.get(request.path[len(PREFIX) :])
    if action is None:
        return _json({"error": f"no action {request.path}; there are {', '.join(ACTIONS)}"}, 404)
    try:
        body = json.loads(request.get_data() or b"{}")
        if not isinstance(body, dict):
            raise ValueError("the body is not a JSON object")
        return _json(action(backend, body))
    except ServiceError as error:
        return _json({"error": error.message}, 400)
    except (ValueError, RecursionError) as error:
        return _json({"error": f"{type(error).__name__}: {error}"}, 400)


def _health(backend: Backend, body: dict[str, Any]) -> dict[str, Any]:
    return {
        "time": backend.clock.now(),
        "namespace": backend.containers.namespace,
        "training_jobs": len(backend.store.table(TRAINING_JOBS)),
        "grace_seconds": backend.settings.grace_seconds,
    }


def _interrupt(backend: Backend, body: dict[str, Any]) -> dict[str, Any]:
    """Take instances back: ``{"job"}``, optional ``region``, ``capacity_gap`` (seconds), ``reclaim``, ``refuse``."""
    how = body.get("reclaim")
    if how not in (None, "term", "kill"):
        raise ValueError(f"reclaim is {how!r}; it can be 'term' or 'kill'")
    refuse = body.get("refuse", False)
    if not isinstance(refuse, bool):
        raise ValueError(f"refuse is {refuse!r}; it must be true or false")
    gap = _capacity_gap(body)
    if refuse and gap:
        raise ValueError(f"capacity_gap is {gap:g}, and refuse is true: a job that is refused instances waits for none")
    backend.engine.interrupt(_region(backend, body), _text(body, "job"), gap, how, refuse=refuse)
    return {}


def _crash(backend: Backend, body: dict[str, Any]) -> dict[str, Any]:
    """Break instances: ``{"job": name, "region": optional}``."""
    backend.engine.crash(_region(backend, body), _text(body, "job"))
    return {}


def _faults(backend: Backend, body: dict[str, Any]) -> dict[str, Any]:
    """Replace the fault plan, an empty one ends all faults: ``{"plan": plan}``."""
    backend.faults.set(_text(body, "plan"))
    return {}


def _market(backend: Backend, body: dict[str, Any]) -> dict[str, Any]:
    """Replace one market or both: ``{"spot": spec, "on_demand": spec}``."""
    markets = {name: _text(body, name) for name in ("spot", "on_demand") if body.get(name) is not None}
    backend.capacity.set_markets(**markets)
    backend.engine.wake_all()
    return {}


def _quotas(backend: Backend, body: dict[str, Any]) -> dict[str, Any]:
    """Replace the quotas, as AWS does when it grants an increase: ``{"quotas": spec}``."""
    backend.quotas = parse_quotas(_text(body, "quotas"))
    return {}


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str):
        raise ValueError(f"{name} is {value!r}; it must be a text")
    return value


def _region(backend: Backend, body: dict[str, Any]) -> str:
    return _text(body, "region") if body.get("region") else backend.settings.region


def _capacity_gap(body: dict[str, Any]) -> float:
    value = body.get("capacity_gap", 0)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        raise ValueError(f"capacity_gap is {value!r}; it must be a finite number of seconds, not negative")
    return float(value)


ACTIONS: dict[str, Callable[[Backend, dict[str, Any]], dict[str, Any]]] = {
    "health": _health,
    "interrupt": _interrupt,
    "crash": _crash,
    "market": _market,
    "faults": _faults,
    "quotas": _quotas,
}


def _json(content: dict[str, Any], status: int = 200) -> Response:
    return Response(json.dumps(content), status=status, content_type="application/json")
