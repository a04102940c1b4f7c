"""Where what blocks is done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from asgiref.sync import sync_to_async

T = TypeVar("T")


async def in_thread(work: Callable[[], T], executor: ThreadPoolExecutor | None = None) -> T:
    """
    Do what blocks, never on the event loop, and to its end.

    The only road also for what a trigger writes of its task: ``asyncio.to_thread`` ended the triggerer of 3.2.1.
    asgiref's threads, and no others, may ask Airflow for a connection; broken off by a cancel in the middle of such a
    question, they would leave its answer for the triggerer to read in place of its own.

    :param executor: the threads to do it in; None for the event loop's, of which there are six on two cores.
    """
    return await asyncio.shield(sync_to_async(work, thread_sensitive=False, executor=executor)())
