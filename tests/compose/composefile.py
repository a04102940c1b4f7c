"""Reads docker-compose.yaml as far as this project's file goes: anchors, merges, interpolation."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

_INTERPOLATION = re.compile(r"\$(?:(?P<dollar>\$)|\{(?P<name>\w+):-(?P<default>[^}]*)\})")


@dataclass(frozen=True)
class Service:
    """One service, with everything interpolated."""

    name: str
    image: str
    user: str
    command: list[str]
    environment: dict[str, str]
    health: list[str] | None
    #: Seconds that one health check may take.
    health_timeout: float
    #: Service -> condition.
    depends_on: dict[str, str]
    #: Path in the container -> what is mounted there: a path from the file's folder, or the name of a volume.
    volumes: dict[str, str] = field(default_factory=dict)
    ports: list[str] = field(default_factory=list)
    profiles: list[str] = field(default_factory=list)
    restart: str = "no"

    @property
    def runs_on(self) -> bool:
        """Whether it is to stay up, rather than to end."""
        return self.restart != "no"


def interpolate(value: Any, variables: Mapping[str, str]) -> Any:
    """Replace ``${NAME:-default}`` and ``$$`` in all texts of a value.

    :raises ValueError: for a dollar that is neither, which Compose would replace by nothing.
    """
    if isinstance(value, Mapping):
        return {key: interpolate(item, variables) for key, item in value.items()}
    if isinstance(value, list):
        return [interpolate(item, variables) for item in value]
    if not isinstance(value, str):
        return value
    if "$" in _INTERPOLATION.sub("", value):
        raise ValueError(f"a stray $ in {value!r}")
    return _INTERPOLATION.sub(lambda m: "$" if m["dollar"] else variables.get(m["name"]) or m["default"], value)


def variables(path: Path) -> dict[str, str]:
    """The variables that the file takes from its environment, with their defaults."""
    return {m["name"]: m["default"] for m in _INTERPOLATION.finditer(path.read_text()) if m["name"]}


def read_compose(path: Path, environment: Mapping[str, str] | None = None) -> dict[str, Service]:
    """Read the services, in the order of the file.

    :param environment: what ``.env`` would give.
    """
    content = yaml.safe_load(path.read_text())
    return {
        name: _service(name, interpolate(service, environment or {})) for name, service in content["services"].items()
    }


def _service(name: str, service: Mapping[str, Any]) -> Service:
    health = service.get("healthcheck")
    mounts = [volume.split(":") for volume in service.get("volumes", ())]
    return Service(
        name=name,
        image=service["image"],
        user=service["user"],
        command=[str(word) for word in service["command"]],
        environment={key: str(value) for key, value in service.get("environment", {}).items()},
        health=health and [str(word) for word in health["test"]],
        health_timeout=float(health["timeout"].rstrip("s")) if health else 0,
        depends_on={other: how["condition"] for other, how in service.get("depends_on", {}).items()},
        volumes={mount[1]: mount[0] for mount in mounts},
        ports=list(service.get("ports", ())),
        profiles=list(service.get("profiles", ())),
        restart=service.get("restart", "no"),
    )
