"""A zombie's stop and its successor's taking over, in every order of their calls."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_spot.core.marks import TAG_OWNER, TAG_STOP, StopMark
from airflow_spot.core.outcomes import Outcome
from airflow_spot.core.stop_reasons import StopReason
from airflow_spot.core.try_marks import TryMark
from tests.support.sagemaker import ARN, DictionaryHook, DictionarySageMaker

NAME = "digits-afspot-aaaaaaaaaa-1-1"


@pytest.mark.parametrize("calls", range(8))
def test_a_stop_never_reads_as_a_persons_when_a_successor_takes_over(calls: int) -> None:
    """The successor, which has seen the mark and a live job, takes over after the zombie's nth call."""
    service = DictionarySageMaker()
    service.put(NAME)
    service.marks[f"{ARN}{NAME}"] = {TAG_OWNER: "1", TAG_STOP: "killed 1"}
    hook = DictionaryHook(service)
    left = calls

    class Zombie:
        """A client between whose calls the successor acts."""

        def __getattr__(self, name: str) -> Any:
            nonlocal left
            if left == 0:
                take_over()
            left -= 1
            return getattr(service, name)

    def take_over() -> None:
        hook.marks.set_owner(f"{ARN}{NAME}", TryMark(2, 3))
        hook.marks.revoke_stop(NAME, f"{ARN}{NAME}", StopMark("killed", 1), 2)

    hook.stop(NAME, StopMark("killed", 1), owner=1, client=Zombie())
    if left >= 0:
        take_over()
    stopped = service.jobs[NAME]["TrainingJobStatus"] != "InProgress"
    mark = StopMark.parse(service.tags_of(NAME)[TAG_STOP])
    assert mark is not None
    assert mark.withdrawn is not stopped


class Turns:
    """Has two workers call the service one at a time, in an order that is given: which one is whose turn."""

    def __init__(self, service: DictionarySageMaker, order: tuple[int, ...]) -> None:
        self._service = service
        self._order = list(order)
        self._over = [False, False]
        self._changed = threading.Condition()

    def client(self, who: int) -> Any:
        turns = self

        class Client:
            def __getattr__(self, name: str) -> Any:
                return lambda *args, **asked: turns._take(who, lambda: getattr(turns._service, name)(*args, **asked))

            def get_paginator(self, name: str) -> Any:
                pages = turns._service.get_paginator(name)

                def paginate(**asked: Any) -> list[Any]:
                    found: list[Any] = turns._take(who, lambda: list(pages.paginate(**asked)))
                    return found

                return SimpleNamespace(paginate=paginate)

        return Client()

    def _take(self, who: int, call: Callable[[], Any]) -> Any:
        with self._changed:
            assert self._changed.wait_for(lambda: self._is(who), timeout=60)
            if self._order:
                self._order.pop(0)
            try:
                return call()
            finally:
                self._changed.notify_all()

    def end(self, who: int) -> None:
        with self._changed:
            self._over[who] = True
            self._changed.notify_all()

    def _is(self, who: int) -> bool:
        """Whose turn it is: the other's only as long as it has calls to make."""
        while self._order and self._over[self._order[0]]:
            self._order.pop(0)
        return not self._order or self._order[0] == who


ZOMBIES_CALLS, SUCCESSORS_CALLS = 5, 7


@pytest.mark.parametrize("first", range(ZOMBIES_CALLS + 1))
def test_where_both_stop_it_the_successors_stop_is_known_for_what_it_is(first: int) -> None:
    """In every order of their calls that has the successor's first after so many of the zombie's: it must not read as a
    person's stop."""
    left = ZOMBIES_CALLS - first
    later = left + SUCCESSORS_CALLS - 1
    for places in itertools.combinations(range(later), left):
        order = (1, *(int(index not in places) for index in range(later)))
        service = DictionarySageMaker()
        service.put(NAME)
        service.marks[f"{ARN}{NAME}"] = {TAG_OWNER: "1"}
        turns = Turns(service, (0,) * first + order)

        def zombie(turns: Turns = turns) -> None:
            DictionaryHook(turns.client(0)).stop(NAME, StopMark(StopReason.RUNG_TIMEOUT, 1), owner=1)
            turns.end(0)

        worker = threading.Thread(target=zombie)
        worker.start()
        hook = DictionaryHook(turns.client(1))
        hook.marks.set_owner(f"{ARN}{NAME}", TryMark(2, 3))
        ours = StopMark(StopReason.RUNG_TIMEOUT, 2)
        stopped = hook.stop(NAME, ours, owner=2) is None
        turns.end(1)
        worker.join()
        service.put(NAME, "Stopped", "Stopped")
        seen = DictionaryHook(service).attempt(NAME, ours if stopped else None)
        assert seen is not None and seen.stop is not None, order
        assert (seen.stop.withdrawn, seen.outcome) == (False, Outcome.RUNG_TIMEOUT), order
        # And the next try, which has stopped nothing.
        assert DictionaryHook(service).attempt(NAME).outcome is Outcome.RUNG_TIMEOUT  # type: ignore[union-attr]
