"""
A trigger was cancelled below Airflow 3.3: by a user's hand on the task, or because the triggerer goes?

Airflow cancels a trigger both ways and says nothing more (3.3 calls ``on_kill()`` for the first): what tells them
apart is the state that the task has then. The whole module goes when Airflow 3.2 is no longer supported.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from asgiref.sync import sync_to_async

from airflow_spot.core.orphans import OVER

#: How long a cancelled trigger holds up the triggerer for it, at most. The stop itself takes a second.
PATIENCE_SECONDS = 20.0


def ended_by_a_user(state: str | None) -> bool:
    """
    Tell whether a task in this state was taken out of the triggerer by a person, for good.

    None is the state of a task that was cleared and that no scheduler has taken up, or one whose DAG run is deleted.
    """
    return state is None or str(state) in OVER


async def stop_if_ended(
    state: Callable[[], str | None], stop: Callable[[], None], log: Any, *, patience: float = PATIENCE_SECONDS
) -> None:
    """
    Stop the job once if a user ended its task; leave it to whoever comes next if not, or if nobody can say.

    :param state: asks for the task's state; may block.
    :param stop: stops the job; may block.
    :param log: the trigger's.
    :param patience: seconds after which this returns, whatever is still under way.
    """

    def act() -> None:
        found = state()
        if ended_by_a_user(found):
            stop()
        else:
            log.info("The trigger was cancelled and the task is %s: its job runs on", found)

    # A task of its own, waited for and never cancelled: Airflow repeats its cancel every second, and a question to
    # the triggerer's supervisor that is broken off in the middle would leave its answer for the next one to read.
    work = asyncio.ensure_future(sync_to_async(act, thread_sensitive=False)())
    clock = asyncio.get_running_loop().time
    deadline = clock() + patience
    while not work.done() and (left := deadline - clock()) > 0:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([work], timeout=left)
    if not work.done():
        log.warning("The trigger was cancelled; what became of its task is not known after %g s", patience)
    elif work.cancelled():
        log.info("The triggerer ends: the job runs on")
    elif error := work.exception():
        log.warning("The trigger was cancelled, and its job was left alone: %s", error)
