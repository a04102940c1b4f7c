"""What is told of a job that waits for capacity: SageMaker changes the words of one transition in place, for hours."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

#: A wait is told again after so long, though nothing about it has changed.
REMINDER = timedelta(hours=1)


@dataclass
class WaitStory:
    """
    Knows what was told of a job's waits, and so what is news.

    :ivar told_at: when a wait was last told; None while there is none.
    """

    _messages: set[str] = field(default_factory=set, init=False)
    told_at: datetime | None = field(default=None, init=False)

    def is_news(self, since: datetime | None, message: str, now: datetime) -> bool:
        """
        Return whether a wait is to be told now: its words are new, or an hour has passed.

        :param since: since when the job waits; None while it does not.
        :param message: SageMaker's of the transition that is not over. Its first words come with the transition.
        """
        if since is None:
            self._messages, self.told_at = set(), None
            return False
        if self.told_at is None:
            self._messages, self.told_at = {message}, now
            return False
        # Words that come back are no news: they may change to and fro for hours.
        if message in self._messages and now - self.told_at < REMINDER:
            return False
        self._messages.add(message)
        self.told_at = now
        return True

    def seconds_left(self, now: datetime) -> float | None:
        """Return in how many seconds a reminder is due; None while there is no wait."""
        return None if self.told_at is None else max(0.0, (self.told_at + REMINDER - now).total_seconds())
