"""The copy of a run's ledger that pages read, kept by the trigger while the task is deferred."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

from airflow_spot import config as settings
from airflow_spot.compat.xcoms import TriggerXComs
from airflow_spot.core.events import Event, ScriptProgressed
from airflow_spot.core.money.prices import Prices
from airflow_spot.core.parameter_errors import InvalidParameterError
from airflow_spot.core.timeline.carried import pack, unpack
from airflow_spot.core.timeline.copying import copy_of
from airflow_spot.core.timeline.fold import fold
from airflow_spot.core.timeline.state import LedgerState


class LedgerWatch:
    """
    Goes on from what the worker knew, and hears the trigger's events. It raises nothing.

    :param carried: what the worker wrote into the trigger's row; where there is nothing to resume from, as in a row of
        an older version, nothing is written.
    :param task_instance: as the triggerer set it on the trigger.
    :param clock: AWS's time.
    :param prices: what the worker calculates costs from; None for those of the file.
    """

    def __init__(
        self,
        carried: Any,
        task_instance: Any,
        log: Any,
        clock: Callable[[], datetime],
        prices: Prices | None = None,
    ) -> None:
        self._prices = prices
        self._state = unpack(carried)
        self._carried = carried
        self._clock = clock
        self._log = log
        self._failed = False
        self._xcoms = TriggerXComs(task_instance, log)

    def observe(self, event: Event) -> None:
        """Add an event, on the event loop; it is written in a thread, soon."""
        state = self._take(event)
        if state is not None and (not isinstance(event, ScriptProgressed) or event.is_news):
            self._xcoms.put(partial(_copy, state, self._clock(), self._prices))

    def observe_in_thread(self, event: Event) -> None:
        """Add the last event, in one of asgiref's threads, and write it at once."""
        if (state := self._take(event)) is not None:
            self._xcoms.write(partial(_copy, state, self._clock(), self._prices))

    async def close(self) -> None:
        """Wait for the last write, but not for long."""
        await self._xcoms.close()

    def carried(self) -> dict[str, str]:
        """Return what is known by now, for the worker that continues, as a part of its ``run_state``."""
        if self._state is None:
            return {}
        try:
            return {"timeline": pack(self._state)}
        except Exception as error:
            self._tell(error)
            return {"timeline": self._carried}

    def _take(self, event: Event) -> LedgerState | None:
        """Add an event; return what is known then, None where nothing is."""
        if self._state is None:
            return None
        try:
            self._state = fold(self._state, event, self._clock())
        except Exception as error:
            self._tell(error)
            return None
        return self._state

    def _tell(self, error: Exception) -> None:
        if self._failed:
            return
        self._failed = True
        self._log.warning("The timeline of this task could not be kept: %s", type(error).__name__)


def _copy(state: LedgerState, now: datetime, prices: Prices | None) -> dict[str, Any]:
    return copy_of(state, now, prices or _table())


def _table() -> Prices | None:
    try:
        return settings.prices()
    except InvalidParameterError:
        return None  # the worker has said so
