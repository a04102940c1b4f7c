"""Waiting for what happens, instead of for seconds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any


async def until(condition: Callable[[], Any], *, pause: float = 0.01) -> None:
    """
    Return once a condition holds. It never gives up: the caller has a time limit, far beyond what a busy machine needs.

    :param pause: seconds between two evaluations.
    """
    while not condition():  # noqa: ASYNC110 - what is waited for sets no event
        await asyncio.sleep(pause)
