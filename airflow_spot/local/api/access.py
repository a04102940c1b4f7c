"""Access to what is not AWS's own API: from this machine alone."""

from __future__ import annotations

import ipaddress

PREFIX = "/_airflow_spot/"


def is_loopback(address: str | None) -> bool:
    """Return whether an address is this machine's own."""
    try:
        known = ipaddress.ip_address(address or "")
    except ValueError:
        return False
    # A socket for both families shows IPv4 so; Python before 3.13 takes that for foreign.
    mapped = known.ipv4_mapped if isinstance(known, ipaddress.IPv6Address) else None
    return (mapped or known).is_loopback
