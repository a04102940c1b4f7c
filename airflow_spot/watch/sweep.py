"""
A sweep: from the pages of ListTrainingJobs to the watched jobs that changed. Pure: it is given the pages.

The list is sorted by creation, newest first, and is read down to the oldest job that is watched. With a filter
(``LastModifiedTimeAfter``) one page is all it takes, as long as the service keeps to it: whether it does is checked
with every page, since public threads saw the filter ignored, and pages without end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

PAGE_SIZE = 100

#: How far LastModifiedTimeAfter reaches back behind the newest change that a list has shown: lists lag, some jobs more
#: than others.
FILTER_MARGIN = timedelta(seconds=60)
#: boto3 sends times in whole seconds.
_TRUNCATED = timedelta(seconds=1)
#: A description's LastModifiedTime this much before its last transition did not move with it.
_MOVED_WITHIN = timedelta(seconds=3)

#: Status and secondary status.
Status = tuple[str, str]


@dataclass(frozen=True)
class Summary:
    """One line of the list."""

    status: Status
    created: datetime
    modified: datetime


class Sweep:
    """
    One reading of the list.

    :param wanted: the jobs to find, with their creation times as far as they are known.
    :param after: LastModifiedTimeAfter; None reads the whole list.
    :param most_pages: after which to give up.
    :ivar found: what the last page said of the wanted jobs.
    :ivar pages: how many were read.
    :ivar newest: the newest change that the list showed, of any job.
    :ivar filter_failed: the service does not keep to the filter: what was found holds, what was not says nothing.
    """

    def __init__(self, wanted: Mapping[str, datetime | None], *, after: datetime | None, most_pages: int) -> None:
        self.after = after
        self.found: dict[str, Summary] = {}
        self.pages = 0
        self.newest: datetime | None = None
        self.filter_failed = False
        self.token: str | None = None
        self._left = dict(wanted)
        self._most_pages = most_pages
        self.pages_without_match = 0

    @property
    def missing(self) -> Iterable[str]:
        """The wanted jobs that no page has shown."""
        return self._left.keys()

    def read(self, page: Mapping[str, Any]) -> bool:
        """
        Take in a page.

        :return: whether to read the next one, whose token is :attr:`token`.
        """
        lines = page.get("TrainingJobSummaries") or ()
        self.token = page.get("NextToken")
        self.found = {}
        self.pages += 1
        self.pages_without_match += 1
        for line in lines:
            summary = _summary(line)
            if summary is None:
                continue
            self.newest = summary.modified if self.newest is None else max(self.newest, summary.modified)
            if self.after is not None and summary.modified < self.after - _TRUNCATED:
                self.filter_failed = True
            if line["TrainingJobName"] in self._left:
                del self._left[line["TrainingJobName"]]
                self.found[line["TrainingJobName"]] = summary
                self.pages_without_match = 0
        if self.after is not None and self.token and (len(lines) < PAGE_SIZE or self.pages >= self._most_pages):
            # The filter is applied after the page is cut, or not at all.
            self.filter_failed = True
        if not self.token or self.filter_failed or self.pages >= self._most_pages:
            return False
        return self.after is not None or self._is_worth_a_page(lines)

    def _is_worth_a_page(self, lines: Iterable[Mapping[str, Any]]) -> bool:
        # What is left costs a describe each: no more pages than that are read in vain.
        if self.pages_without_match >= len(self._left):
            return False
        oldest = min((made for line in lines if isinstance(made := line.get("CreationTime"), datetime)), default=None)
        return oldest is None or any(created is None or created <= oldest for created in self._left.values())


def _summary(line: Mapping[str, Any]) -> Summary | None:
    """Read a line; None where it cannot be read: its job is then described, and the others continue."""
    created = line.get("CreationTime")
    if not isinstance(created, datetime) or not {"TrainingJobName", "TrainingJobStatus"} <= line.keys():
        return None
    modified = line.get("LastModifiedTime")
    return Summary(status_of(line), created, modified if isinstance(modified, datetime) else created)


def status_of(line: Mapping[str, Any]) -> Status:
    """Return the status and secondary status of a description or a line of the list, which may lack the second."""
    return str(line["TrainingJobStatus"]), str(line.get("SecondaryStatus") or "")


def is_news(status: Status, listed: Status | None, described: Status | None) -> bool:
    """
    Return whether what the list says of a job is worth a describe.

    Not what a describe has shown already: a list lags behind it, and would ask for another one until it catches up.

    :param listed: what the list said the time before; None if it has not shown the job.
    :param described: what the last describe said; None if there was none.
    """
    return status not in (listed, described) and (listed is not None or described is not None)


def contradicts_filter(description: Mapping[str, Any]) -> bool:
    """Return whether LastModifiedTime did not move with every transition, so that a filter misses some."""
    transitions = description.get("SecondaryStatusTransitions") or ()
    modified = description.get("LastModifiedTime")
    begun = transitions[-1].get("StartTime") if transitions else None
    if not isinstance(modified, datetime) or not isinstance(begun, datetime):
        return False
    return modified < begun - _MOVED_WITHIN


def most_pages(jobs: int) -> int:
    """Return after how many pages a sweep for so many jobs gives up: what it has not found by then is described."""
    return 2 * -(-jobs // PAGE_SIZE) + 8
