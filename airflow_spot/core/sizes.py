"""Amounts of bytes for people."""

from __future__ import annotations


def human_bytes(amount: float) -> str:
    """Return an amount of bytes with one decimal and a unit, in powers of a thousand as AWS bills: ``"1.2 GB"``."""
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"
