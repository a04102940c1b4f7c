"""Which checkpoint folders may go."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from airflow_spot.core.identity import RunIdentity, checkpoint_prefix
from airflow_spot.core.retention import CheckpointFolder, folder_of, lifecycle_configuration, overlaps, to_delete

NOW = datetime(2026, 11, 24, tzinfo=timezone.utc)
MONTH = timedelta(days=30)
RUN = RunIdentity("ns", "dag", "run", "task")


def folder(days: float, generation: int = 1, run: RunIdentity = RUN) -> CheckpointFolder:
    return CheckpointFolder(checkpoint_prefix("s3://bucket/c", run, generation), NOW - timedelta(days=days), 1, 1)


def test_the_layout_is_what_identity_makes() -> None:
    path = checkpoint_prefix("s3://bucket/c", RUN, 7).removeprefix("s3://bucket/c/")
    assert folder_of(f"{path}/deep/er/file") == path
    for other in (path, "data/train/file", f"x/{path}/file", path.replace("/g0007", "/g7") + "/file", "dag/task/f"):
        assert folder_of(other) is None


def test_only_what_is_older_goes_oldest_first() -> None:
    folders = [folder(29, 1), folder(31, 2), folder(99, 3)]
    assert to_delete(folders, [], NOW, older_than=MONTH) == [folders[2], folders[1]]


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_live_jobs_folder_stays_and_what_lies_around_it(slash: str) -> None:
    old = folder(99)
    for used in (old.uri, f"{old.uri}/inner", old.task, "s3://bucket/c"):
        assert to_delete([old], [used + slash], NOW, older_than=MONTH) == []
    assert to_delete([old], [old.uri + "0" + slash, ""], NOW, older_than=MONTH) == [old]


def test_the_newest_of_each_task_stay() -> None:
    other = RunIdentity("ns", "dag", "run", "another")
    folders = [folder(50, 1), folder(60, 2), folder(70, 1, other)]
    assert to_delete(folders, [], NOW, older_than=MONTH, keep_newest=1) == [folders[1]]


def test_a_prefix_is_not_a_folder() -> None:
    assert not overlaps("s3://b/g1", "s3://b/g10")
    assert overlaps("s3://b/g1/", "s3://b/g1")


@pytest.mark.parametrize(("base", "days"), [("s3://bucket", 30), ("s3://bucket/", 30), ("s3://bucket/c", 0)])
def test_no_lifecycle_rule_for_a_whole_bucket_or_no_days(base: str, days: int) -> None:
    with pytest.raises(ValueError, match="--"):
        lifecycle_configuration(base, days)
