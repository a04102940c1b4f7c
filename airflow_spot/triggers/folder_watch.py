"""Looking at a job's checkpoint folder in the triggerer: when a start has ended, and now and then."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime

from airflow_spot.core.events import CheckpointsSeen, Observer, of_finding
from airflow_spot.core.findings import Finding
from airflow_spot.core.folder_look import FolderLook
from airflow_spot.core.progress import Progress, needs_look, next_look, take_in
from airflow_spot.core.run_state import WatchedFolder
from airflow_spot.core.starts import Start


class FolderWatch:
    """
    Watches whether a live job leaves checkpoints.

    :ivar progress: what is known by now: the trigger's event hands it on.
    :ivar told: what was told, for the worker to tell again.
    :param look: looks at a folder; it raises nothing.
    :param observe: hears what was found.
    """

    def __init__(
        self,
        job_name: str,
        folder: WatchedFolder,
        progress: Progress,
        look: Callable[[str], Awaitable[FolderLook]],
        observe: Observer,
    ) -> None:
        self.progress = progress
        self.told: list[Finding] = []
        self._job_name = job_name
        self._folder = folder
        self._look = look
        self._observe = observe
        self._starts: tuple[Start, ...] = ()

    def take(self, starts: tuple[Start, ...]) -> None:
        """Note the starts of the job so far; none where they are not known."""
        self._starts = starts or self._starts

    @property
    def next(self) -> datetime | None:
        """Return when to look without any news of the job; None for never."""
        return next_look(self.progress, self._folder.rules, self._folder.starts(self._starts))

    async def look(self, now: datetime) -> bool:
        """Look, if there is something to look for; whether the run leaves nothing new any more."""
        job, rules = self._folder.starts(self._starts), self._folder.rules
        if not needs_look(self.progress, rules, job, now):
            return False
        look = await self._look(self._folder.uri)
        if new := look.new_since(self.progress.seen):
            self._observe(CheckpointsSeen.of(self._job_name, self._folder.uri, new))
        self.progress, found = take_in(self.progress, rules, job, look)
        for each in found:
            self._observe(of_finding(each, self._job_name, self._folder.uri))
        self.told += found
        return self.progress.is_stuck(rules)
