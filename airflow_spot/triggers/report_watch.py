"""Reading in the triggerer how far a job's script says it is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime

from airflow_spot.core.events import Observer, ScriptProgressed
from airflow_spot.core.run_state import WatchedReports
from airflow_spot.core.script_progress import Reports, ScriptProgress
from airflow_spot.core.starts import Start, training_since


class ReportWatch:
    """
    Looks now and then while a live job trains.

    :ivar reports: what is known by now: the trigger's event hands it on.
    :param read: reads the file in a folder; it raises nothing.
    :param observe: hears what is news.
    """

    def __init__(
        self,
        job_name: str,
        watched: WatchedReports,
        reports: Reports,
        read: Callable[[str], Awaitable[ScriptProgress | None]],
        observe: Observer,
    ) -> None:
        self.reports = reports
        self._job_name = job_name
        self._watched = watched
        self._read = read
        self._observe = observe
        self._training: datetime | None = None

    def take(self, starts: tuple[Start, ...]) -> None:
        """Note the starts of the job so far; none where they are not known."""
        if starts:
            self._training = training_since(starts)

    @property
    def next(self) -> datetime | None:
        """Return when to look; None for never, or not before the job trains."""
        return self.reports.next_look(self._training, expected=self._watched.expected)

    async def look(self, now: datetime) -> None:
        """Look, if it is time to."""
        due = self.next
        if due is None or now < due:
            return
        found = await self._read(self._watched.uri)
        self.reports, is_news = self.reports.take(found, now)
        if found is not None:
            self._observe(ScriptProgressed(self._job_name, found, is_news))
