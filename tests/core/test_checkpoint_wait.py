"""Whether the checkpoint that is waited for has come, may still come, or comes too late."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_spot.core.checkpoint_wait import CheckpointWait, Verdict, read_moment
from airflow_spot.core.folder_look import FolderLook
from airflow_spot.core.parameter_errors import InvalidParameterError
from airflow_spot.core.starts import Start
from tests.core.cases import NOW, later

TRAINS = (Start(NOW, NOW, NOW),)
WAITS = (Start(NOW, NOW, NOW, lost=later(minutes=1), ended=later(minutes=1)), Start(later(minutes=1)))
#: Two starts of six minutes, each cut off, and a third.
AGAIN = (
    Start(NOW, NOW, NOW, lost=later(minutes=6), ended=later(minutes=6)),
    Start(later(minutes=6), later(minutes=20), later(minutes=20), lost=later(minutes=26), ended=later(minutes=26)),
    Start(later(minutes=26), later(minutes=40), later(minutes=40)),
)


def look(*minutes: float) -> FolderLook:
    return FolderLook(NOW, {str(at): later(minutes=at) for at in minutes})


@pytest.mark.parametrize(
    ("wait", "folder", "starts", "minute", "ended", "verdict"),
    [
        (CheckpointWait(), look(), (), 0, False, Verdict.WAITING),
        (CheckpointWait(), look(-9), (), 0, False, Verdict.WRITTEN),
        (CheckpointWait(NOW), look(-9), TRAINS, 0, False, Verdict.WAITING),
        (CheckpointWait(NOW), look(-9, 1), TRAINS, 0, False, Verdict.WRITTEN),
        (CheckpointWait(NOW), look(1), TRAINS, 0, True, Verdict.WRITTEN),
        (CheckpointWait(NOW), look(-9), TRAINS, 0, True, Verdict.ENDED),
        (CheckpointWait(NOW, 600), look(), TRAINS, 9, False, Verdict.WAITING),
        (CheckpointWait(NOW, 600), look(), TRAINS, 10, False, Verdict.STALE),
        # A job that waits for capacity writes nothing, and is not late with it.
        (CheckpointWait(NOW, 600), look(), WAITS, 99, False, Verdict.WAITING),
        (CheckpointWait(NOW, 600), look(), (), 99, False, Verdict.WAITING),
        # What it trained before an interruption counts, from what it wrote on.
        (CheckpointWait(NOW, 900), look(), AGAIN, 42, False, Verdict.WAITING),
        (CheckpointWait(NOW, 900), look(), AGAIN, 43, False, Verdict.STALE),
        (CheckpointWait(NOW, 600), look(), AGAIN, 40, False, Verdict.STALE),
        (CheckpointWait(later(minutes=60), 900), look(5), AGAIN, 47, False, Verdict.WAITING),
        (CheckpointWait(later(minutes=60), 900), look(5), AGAIN, 48, False, Verdict.STALE),
        (CheckpointWait(later(minutes=60), 900), look(30), AGAIN, 54, False, Verdict.WAITING),
        (CheckpointWait(later(minutes=60), 900), look(41), AGAIN, 55, False, Verdict.WAITING),
        # One that is older than what is waited for, and still of this start, puts it off.
        (CheckpointWait(later(minutes=30), 600), look(5), TRAINS, 14, False, Verdict.WAITING),
        (CheckpointWait(later(minutes=30), 600), look(5), TRAINS, 15, False, Verdict.STALE),
        # So does one with the name of a half-written file; it is not the one that is waited for.
        (CheckpointWait(NOW, 600), FolderLook(NOW, doubtful=later(minutes=5)), TRAINS, 14, False, Verdict.WAITING),
        (CheckpointWait(NOW, 600), FolderLook(NOW, doubtful=later(minutes=5)), TRAINS, 15, False, Verdict.STALE),
        (CheckpointWait(NOW), FolderLook(NOW, doubtful=later(minutes=5)), TRAINS, 15, True, Verdict.ENDED),
        (CheckpointWait(), FolderLook(NOW, problem="AccessDenied"), TRAINS, 99, True, Verdict.NOT_SEEN),
    ],
)
def test_what_a_look_comes_to(
    wait: CheckpointWait,
    folder: FolderLook,
    starts: tuple[Start, ...],
    minute: float,
    ended: bool,
    verdict: Verdict,
) -> None:
    assert wait.judge(folder, starts, later(minutes=minute), ended=ended) is verdict


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        (NOW, NOW),
        ("2026-01-02T03:04:05+00:00", NOW),
        ("2026-01-02T03:04:05Z", NOW),
        ("2026-01-02T04:04:05+01:00", NOW),
        ("2026-01-02T03:04:05", NOW),
        (datetime(2026, 1, 2, 3, 4, 5), NOW),
    ],
)
def test_a_moment_is_read(value: Any, moment: datetime) -> None:
    assert read_moment("newer_than", value) == moment
    assert read_moment("newer_than", value).tzinfo is not None


@pytest.mark.parametrize("value", ["soon", "", 5, timedelta(hours=1), timezone.utc])
def test_what_is_none_is_refused(value: Any) -> None:
    with pytest.raises(InvalidParameterError, match="newer_than"):
        read_moment("newer_than", value)
