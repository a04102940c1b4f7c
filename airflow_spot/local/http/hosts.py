"""Under which names the service answers: a page on another site can point its own name at this machine (DNS rebinding).

Its browser then takes that service for the site's own, and lets the page read what it answers. What tells such requests
apart is their Host, which names the site.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from airflow_spot.local.settings import Settings

#: Of AWS's own addresses: clients whose resolver or proxy sends them here sign for these names.
_AWS = ("amazonaws.com", "amazonaws.com.cn", "api.aws")


def refusal(environ: dict[str, Any], settings: Settings) -> str | None:
    """Return why a request is not answered under the name that it came to; None if it is."""
    host = environ.get("HTTP_HOST", "")
    if not host:
        return None  # no browser leaves it out
    name = host_name(host)
    if name is not None and (is_own(name, settings) or (_is_signed(environ) and _is_below(name, _AWS))):
        return None
    return (
        f"Local SageMaker does not answer as {name or 'this host'}: use http://127.0.0.1 or http://localhost, or start "
        f"it with --name {name or 'NAME'} if that is its own"
    )


def host_name(host: str) -> str | None:
    """Return the name in a Host header, in small letters; None if it has none."""
    try:
        return urlsplit(f"//{host}").hostname or None
    except ValueError:
        return None


def is_own(name: str, settings: Settings) -> bool:
    """Return whether a name is the service's, or that of a bucket below it.

    An address is nobody else's: a site cannot be called so.
    """
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        own = ("localhost", settings.host, *settings.names)
        return _is_below(name, [each.lower() for each in own if each])
    return True


def _is_below(name: str, names: Iterable[str]) -> bool:
    return any(name == each or name.endswith(f".{each}") for each in names)


def _is_signed(environ: dict[str, Any]) -> bool:
    return "Credential=" in environ.get("HTTP_AUTHORIZATION", "") or any(
        f"{part}=" in environ.get("QUERY_STRING", "") for part in ("X-Amz-Signature", "Signature")
    )
