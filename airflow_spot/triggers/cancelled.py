"""
A trigger was cancelled: by a user's hand on the task, or because the triggerer goes, or lost it to another one?

Airflow cancels a trigger all ways and says nothing more. (3.3 calls ``on_kill()``, for a user's hand and for a trigger
that another triggerer took over.) What tells them apart is the state that the task has then.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

from asgiref.sync import sync_to_async

from airflow_spot.core.orphans import OVER

#: How long a cancelled trigger holds up the triggerer for it, at most. The stop itself takes a second.
STATE_TIMEOUT_SECONDS = 20.0
#: After which a task without a state is looked at once more.
SECOND_LOOK_SECONDS = 5.0


def ended_by_a_user(state: str | None) -> bool:
    """
    Return whether a task in this state was taken out of the triggerer by a person, for good.

    None is the state of a task that was cleared and that no scheduler has taken up, or one whose DAG run is deleted.
    """
    return state is None or str(state) in OVER


async def stop_if_ended(
    state: Callable[[], str | None], stop: Callable[[], None], log: Any, *, timeout: float = STATE_TIMEOUT_SECONDS
) -> None:
    """
    Stop the job once if a user ended its task; leave it to whoever comes next if not, or if nobody can say.

    :param state: asks for the task's state; may block.
    :param stop: stops the job; may block.
    :param log: the trigger's.
    :param timeout: seconds after which this returns, whatever is still under way.
    """

    begun = threading.Event()

    def act() -> None:
        found = state()
        if found is None:
            # Cleared: a scheduler that takes it up within seconds has a try coming that attaches to the job.
            time.sleep(SECOND_LOOK_SECONDS)
            found = state()
        if ended_by_a_user(found):
            begun.set()
            stop()
        else:
            log.info("Trigger was cancelled while the task is %s; leaving the job running", found)

    # A task of its own, waited for and never cancelled: Airflow repeats its cancel every second, and a question to
    # the triggerer's supervisor that is broken off in the middle would leave its answer for the next one to read.
    work = asyncio.ensure_future(sync_to_async(act, thread_sensitive=False)())
    clock = asyncio.get_running_loop().time
    deadline = clock() + timeout
    while not work.done() and (left := deadline - clock()) > 0:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([work], timeout=left)
    if not work.done() and begun.is_set():
        # In its thread it continues for as long as the triggerer lives: minutes, where AWS throttles.
        log.warning("Stopping the job takes longer than %g s; continuing in the background", timeout)
        work.add_done_callback(lambda done: _tell_late(done, log))
    elif not work.done():
        log.warning(
            "Trigger was cancelled; the task's state was not known after %g s, leaving the job running", timeout
        )
    elif work.cancelled():
        log.info("Triggerer is shutting down; leaving the job running")
    elif error := work.exception():
        log.warning("Trigger was cancelled; leaving the job running: %s", error)


def _tell_late(work: asyncio.Future[None], log: Any) -> None:
    if not work.cancelled() and (error := work.exception()):
        log.error("The job could not be stopped, and may still be running: %s", error)
