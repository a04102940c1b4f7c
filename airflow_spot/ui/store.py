"""What the pages show, read from Airflow's database: never from AWS, and never an error for a row that is odd."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

from airflow_spot.compat import rows
from airflow_spot.compat.rows import TaskPlace, XComRow
from airflow_spot.links.training import KEPT_LINKS
from airflow_spot.render.ledger_format import SUMMARY_KEY, TIMELINE_KEY, Summary
from airflow_spot.render.reading import read_summary, read_timeline
from airflow_spot.render.several import MOST_ROWS
from airflow_spot.render.values import FleetRow, Viewed
from airflow_spot.render.words import AIRFLOW_OVER

#: How far back the fleet's page can look, in days.
MAX_DAYS = 365
#: More runs than these the fleet's page does not have; the newest are there.
MAX_RUNS = 50_000
#: Seconds after which the fleet is read whole again: so long a deleted DAG run stays to be seen.
REREAD_SECONDS = 300.0
#: Seconds in which what was read is taken as it is, however many look.
FRESH_SECONDS = 2.0
#: An XCom is seen some time after the moment that it bears, when its transaction has ended.
OVERLAP = timedelta(seconds=60)
#: What pages call a task's links.
_LINK_NAMES = {kind.key: name for kind, name in zip(KEPT_LINKS, ("Job", "Logs", "Checkpoints", "Model"), strict=True)}

#: By DAG id.
Names = dict[str, tuple[str, ...]]


class FleetStore:
    """
    Keeps the fleet in the process, and asks the database only for what is newer than it has seen.

    :param session: opens a session of Airflow's database.
    :param clock: the time in seconds since 1970.
    """

    def __init__(self, session: Callable[[], Any] = rows.session, clock: Callable[[], float] = time.time) -> None:
        self._session = session
        self._clock = clock
        self._lock = threading.Lock()
        self._rows: dict[TaskPlace, FleetRow] = {}
        self._seen = 0.0
        self._read = self._read_whole = float("-inf")
        self._days = 0

    def rows(self, days: int) -> list[FleetRow]:
        """Return the task instances whose ledger was written in the last days, the newest first."""
        days = min(max(days, 1), MAX_DAYS)
        # While somebody else reads, what is there is shown: the threads that would wait here are Airflow's own too.
        if self._is_old(days) and self._lock.acquire(blocking=days > self._days):
            try:
                if self._is_old(days):
                    self._read_newer(days)
            finally:
                self._lock.release()
        oldest = self._clock() - days * 86_400
        shown = [row for row in self._rows.values() if row.written >= oldest]
        return sorted(shown, key=lambda row: row.written, reverse=True)

    def _is_old(self, days: int) -> bool:
        return days > self._days or self._clock() - self._read >= FRESH_SECONDS

    def _read_newer(self, days: int) -> None:
        now = self._clock()
        if days > self._days:  # only as far back as somebody looks
            self._read_whole = float("-inf")
        with self._session() as opened, _no_collection():
            self._update(opened, now, max(days, self._days))
        self._read, self._days = now, max(days, self._days)

    def _update(self, opened: Any, now: float, days: int) -> None:
        whole = now - self._read_whole >= REREAD_SECONDS
        oldest = _moment(now) - timedelta(days=days)
        since = oldest if whole else max(_moment(self._seen) - OVERLAP, oldest)
        found = rows.xcoms_since(opened, SUMMARY_KEY, since, MAX_RUNS)
        before = {} if whole else self._rows
        kept = dict(before)
        dag_ids = {one.place.dag_id for one in found} | {place.dag_id for place in before}
        owners, tags = rows.owners_and_tags(opened, dag_ids)
        for one in found:
            old, dag_id = before.get(one.place), one.place.dag_id
            if old is None or old.written != one.written or old.state != one.state:
                kept[one.place] = _fleet_row(one, owners.get(dag_id, ()), tags.get(dag_id, ()))
            self._seen = max(self._seen, one.written)
        if not whole:
            self._look_after(opened, kept, owners, tags)
        self._rows = kept
        if whole:
            self._read_whole = now

    def _look_after(self, opened: Any, kept: dict[TaskPlace, FleetRow], owners: Names, tags: Names) -> None:
        """Refresh what changes without a new XCom: a task's state, a DAG's owners; what is gone is gone."""
        going_on = [place for place, row in kept.items() if row.state not in AIRFLOW_OVER]
        found = rows.tasks(opened, going_on)
        for place in going_on:
            if place not in found:
                del kept[place]
            elif found[place].state != kept[place].state:
                kept[place] = replace(kept[place], state=found[place].state)
        for place, row in kept.items():
            whose, which = owners.get(place.dag_id, ()), tags.get(place.dag_id, ())
            if (row.owners, row.tags) != (whose, which):
                kept[place] = replace(row, owners=whose, tags=which)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Pause garbage collection: rows that stay have no cycles, and collecting takes half of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def has_run(opened: Any, dag_id: str, run_id: str) -> bool:
    """Return whether there is such a DAG run."""
    return rows.has_run(opened, dag_id, run_id)


def trainings_of_run(opened: Any, dag_id: str, run_id: str) -> list[Viewed]:
    """
    Return the spot trainings of a DAG run: its task instances that have a ledger, or links of this package.

    Of more than a page shows, the ledgers of the others are not read.
    """
    places = rows.places_with_xcoms(opened, _KEYS, dag_id, run_id)
    known = rows.tasks(opened, places)
    found = _xcoms(opened, dag_id, run_id, [place for place in places if place in known])
    return [
        _viewed(place, known[place].state, known[place].try_number, found)
        for place in sorted(known, key=lambda place: (place.task_id, place.map_index))
    ]


def trainings_of_task(opened: Any, dag_id: str, run_id: str, task_id: str, map_index: int) -> list[Viewed]:
    """
    Return one task instance, whether it is a spot training or not; empty where there is none.

    A mapped task without an index is all of its instances.
    """
    known = rows.tasks_of_run(opened, dag_id, run_id, task_id)
    shown = [row for row in known if row.place.map_index == map_index] or (known if map_index < 0 else [])
    shown.sort(key=lambda row: row.place.map_index)
    found = _xcoms(opened, dag_id, run_id, [row.place for row in shown])
    return [_viewed(row.place, row.state, row.try_number, found) for row in shown]


_KEYS = (TIMELINE_KEY, *_LINK_NAMES)
#: What is kept of one task instance, by key.
_Values = Mapping[TaskPlace, Mapping[str, Any]]


def _xcoms(opened: Any, dag_id: str, run_id: str, places: Sequence[TaskPlace]) -> _Values:
    keys = _KEYS if len(places) == 1 else (TIMELINE_KEY,)
    found: dict[TaskPlace, dict[str, Any]] = {}
    for row in rows.xcoms_of_run(opened, keys, dag_id, run_id, places[:MOST_ROWS]):
        found.setdefault(row.place, {})[row.key] = row.value
    return found


def _viewed(place: TaskPlace, state: str, try_number: int, found: _Values) -> Viewed:
    values = found.get(place, {})
    timeline, problem = None, ""
    if TIMELINE_KEY in values:
        read = read_timeline(values[TIMELINE_KEY])
        if isinstance(read, str):
            problem = _why(values[TIMELINE_KEY], read)
        else:
            timeline = read
    return Viewed(
        place.dag_id,
        place.run_id,
        place.task_id,
        place.map_index,
        state,
        try_number,
        timeline,
        problem,
        tuple((name, url) for key, name in _LINK_NAMES.items() if (url := _url(values.get(key)))),
    )


def _fleet_row(found: XComRow, owners: tuple[str, ...], tags: tuple[str, ...]) -> FleetRow:
    read = read_summary(found.value)
    problem = _why(found.value, read) if isinstance(read, str) else ""
    summary: Summary | None = None if isinstance(read, str) else read
    return FleetRow(*found.place, found.state, found.written, summary, problem, owners, tags)


def _why(value: Any, read: str) -> str:
    """Return why a row cannot be read: an XCom backend may have put a reference there."""
    try:
        is_object = isinstance(rows.as_json(value), dict)
    except ValueError:
        is_object = False
    if is_object or not rows.keeps_values_elsewhere():
        return read
    return (
        "The XCom backend of this deployment keeps the value outside of Airflow's database, where these pages do not "
        "look. `airflow-spot history` shows the run."
    )


def _url(value: Any) -> str:
    """Return a link that was kept; empty for what is none, since an XCom can be edited."""
    try:
        url = rows.as_json(value)
    except ValueError:
        url = value
    return url if isinstance(url, str) and url.startswith(("https://", "http://")) else ""


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)
