"""Which Airflow try did something to a job, and whether a person has started the task over since."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime

_MARK = re.compile(r"(\d+) (-?\d+) (\d+|-) (\d+|-)")


@dataclass(frozen=True)
class TryMark:
    """
    An Airflow try of a task, as it stands in marks.

    :param number: the task instance's ``try_number``.
    :param max_tries: the task instance's. A clear sets it to the try's number plus the retries; a retry does not.
    :param retries: the task's; None where it is not known.
    :param clear_number: of the DAG run: how often any task of it was cleared; None where it is not known.
    :param run_started: when the DAG run began, of the try that is under way; no mark holds it. Of a task that a
        person runs by hand, when that began.
    """

    number: int
    max_tries: int
    retries: int | None = None
    clear_number: int | None = None
    run_started: datetime | None = field(default=None, compare=False)

    def __str__(self) -> str:
        known = ("-" if value is None else str(value) for value in (self.retries, self.clear_number))
        return " ".join((str(self.number), str(self.max_tries), *known))

    @classmethod
    def parse(cls, text: str | None) -> TryMark | None:
        """Read a mark; None where there is none or it is not ours."""
        match = _MARK.fullmatch(text or "")
        if match is None:
            return None
        retries, clear_number = (None if value == "-" else int(value) for value in match.groups()[2:])
        return cls(int(match[1]), int(match[2]), retries, clear_number)

    def is_same_try(self, other: TryMark | None) -> bool:
        """Return whether both are one try: a clear of another task meanwhile changes ``clear_number`` alone."""
        return other is not None and (self.number, self.max_tries) == (other.number, other.max_tries)

    def is_older_than(self, other: TryMark | None, created: datetime | None) -> bool:
        """
        Return whether a job is of a later try of the same DAG run: then this try continues though it was superseded.

        :param other: the try that created the job.
        :param created: when.
        """
        if other is None or not (other.number > self.number or self._clears_until(other) > 0):
            return False
        return self.run_started is None or created is None or created > self.run_started

    def is_restart_since(self, earlier: TryMark, ended: datetime | None = None) -> bool:
        """
        Return whether a person started the task over since an earlier try. An automatic retry is none.

        Either the task was cleared: ``max_tries`` differs, or, where its retries were lowered so that it does not,
        ``clear_number`` and retries do. Or its DAG run was deleted and made again: the numbers start over. They do as
        well where the metadata database was restored from a backup, or where this try is an old one that was frozen;
        then the DAG run is the old one, and began before the job ended. ``clear_number`` alone tells of a clear of
        another task of the DAG run, or of one of this task while it ran.

        :param ended: when the earlier try's job ended.
        """
        if self.number <= earlier.number:
            return self.run_started is None or ended is None or self.run_started > ended
        clears = -self._clears_until(earlier)
        if clears < 0:
            return False
        if self.max_tries != earlier.max_tries:
            return True
        return clears > 0 and None not in (self.retries, earlier.retries) and self.retries != earlier.retries

    def is_after_a_clear_of_the_run(self, earlier: TryMark) -> bool:
        """Return whether any task of the DAG run was cleared since an earlier try."""
        return self._clears_until(earlier) < 0

    def follows_a_clear_of_another_task(self, earlier: TryMark, ended: datetime | None = None) -> bool:
        """Return whether another task of the DAG run was cleared since an earlier try, and this one was not."""
        return self.is_after_a_clear_of_the_run(earlier) and not self.is_restart_since(earlier, ended)

    def _clears_until(self, other: TryMark) -> int:
        """Return how many clears the other try is ahead; 0 where either does not know."""
        if self.clear_number is None or other.clear_number is None:
            return 0
        return other.clear_number - self.clear_number
