"""Sentences put together: a message that asks, or ends in a point already, gets no second one."""

from __future__ import annotations


def sentences(*parts: str) -> str:
    """Join texts to sentences; empty ones are left out, and the last one ends without a point."""
    said = [part.strip() for part in parts if part.strip()]
    ended = (part if part.endswith((".", "?", "!")) else f"{part}." for part in said)
    whole = " ".join(ended)
    return whole if whole.endswith("...") else whole.removesuffix(".")
