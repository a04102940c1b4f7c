"""Checkpoint folders in a real S3 API."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_spot.aws import checkpoint_store as checkpoints
from airflow_spot.aws.live_folders import LiveFolders
from airflow_spot.core.identity import JobName, RunIdentity, checkpoint_prefix
from airflow_spot.core.parameter_errors import InvalidParameterError
from airflow_spot.local import LocalSageMaker
from tests.local.jobs import Jobs
from tests.support.ours import start_ours
from tests.support.sagemaker import DictionarySageMaker

RUN = RunIdentity("ns", "dag", "run", "task")


@pytest.fixture
def s3(local: LocalSageMaker) -> Any:
    return local.client("s3")


def put(s3: Any, bucket: str, *keys: str) -> None:
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())


def keys(s3: Any, bucket: str) -> list[str]:
    return [item["Key"] for item in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]


def test_a_copy_takes_the_folder_and_not_its_namesake(s3: Any, bucket: str) -> None:
    put(s3, bucket, "g1/a", "g1/b/c", "g10/d")
    assert checkpoints.copy(s3, f"s3://{bucket}/g1", f"s3://{bucket}/new/") == checkpoints.Copied(2, 10)
    assert keys(s3, bucket) == ["g1/a", "g1/b/c", "g10/d", "new/a", "new/b/c"]
    assert s3.get_object(Bucket=bucket, Key="new/b/c")["Body"].read() == b"g1/b/c"


class Busy:
    """S3 with a source that changes while it is listed: so many times."""

    def __init__(self, s3: Any, bucket: str, changes: int) -> None:
        self._s3, self._bucket, self.changes = s3, bucket, changes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._s3, name)

    def upload_part_copy(self, **asked: Any) -> Any:
        if self.changes > 0:
            self.changes -= 1
            self._s3.delete_object(Bucket=self._bucket, Key=asked["CopySource"]["Key"])
            self._s3.put_object(Bucket=self._bucket, Key=f"from/step-{100 - self.changes}", Body=b"newer")
        return self._s3.upload_part_copy(**asked)


@pytest.mark.parametrize(("changes", "copied"), [(0, 1), (1, 1), (99, None)])
def test_a_source_that_is_written_to_is_copied_once_it_rests(
    s3: Any, bucket: str, changes: int, copied: int | None
) -> None:
    """Its script deletes an old checkpoint and writes a new one while they are copied."""
    s3.put_object(Bucket=bucket, Key="from/step-1", Body=b"old")
    busy = Busy(s3, bucket, changes)
    if copied is None:
        with pytest.raises(checkpoints.SourceChangingError, match="something writes there"):
            checkpoints.copy(busy, f"s3://{bucket}/from", f"s3://{bucket}/to")
        return
    assert checkpoints.copy(busy, f"s3://{bucket}/from", f"s3://{bucket}/to").objects == copied
    names = [item["Key"] for item in s3.list_objects_v2(Bucket=bucket, Prefix="to/")["Contents"]]
    assert names == ["to/step-100" if changes else "to/step-1"]


def test_a_second_copy_copies_only_what_is_missing_and_overwrites_nothing(s3: Any, bucket: str) -> None:
    """A worker that was frozen in its copy and wakes up must not put an old checkpoint over a newer one."""
    put(s3, bucket, "old/a", "old/b", "old/empty")
    s3.put_object(Bucket=bucket, Key="old/empty", Body=b"")
    checkpoints.copy(s3, f"s3://{bucket}/old", f"s3://{bucket}/new")
    assert s3.get_object(Bucket=bucket, Key="new/empty")["Body"].read() == b""
    s3.delete_object(Bucket=bucket, Key="new/a")
    s3.put_object(Bucket=bucket, Key="new/b", Body=b"trained since")
    assert checkpoints.copy(s3, f"s3://{bucket}/old", f"s3://{bucket}/new").objects == 3
    assert s3.get_object(Bucket=bucket, Key="new/a")["Body"].read() == b"old/a"
    assert s3.get_object(Bucket=bucket, Key="new/b")["Body"].read() == b"trained since"


@pytest.mark.parametrize("body", [b"old", b""])
def test_what_comes_to_be_during_a_copy_is_not_overwritten(s3: Any, bucket: str, body: bytes) -> None:
    """Between the listing and the copy: only S3 can tell."""
    s3.put_object(Bucket=bucket, Key="old/a", Body=body)
    s3.put_object(Bucket=bucket, Key="new/a", Body=b"trained since")
    checkpoints._copy_unless_there(s3, {"Bucket": bucket, "Key": "old/a"}, len(body), bucket, "new/a")
    assert s3.get_object(Bucket=bucket, Key="new/a")["Body"].read() == b"trained since"
    assert not s3.list_multipart_uploads(Bucket=bucket).get("Uploads")


def test_a_large_one_is_copied_in_parts_once(s3: Any, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "_PART_BYTES", 5 * 1024 * 1024)  # as small as S3 takes
    body = bytes(range(256)) * 4096 * 9
    s3.put_object(Bucket=bucket, Key="old/big", Body=body)
    for _ in range(2):
        assert checkpoints.copy(s3, f"s3://{bucket}/old", f"s3://{bucket}/new") == checkpoints.Copied(1, len(body))
    head = s3.head_object(Bucket=bucket, Key="new/big")
    assert head["ContentLength"] == len(body)


def test_a_folder_is_not_copied_into_itself(s3: Any, bucket: str) -> None:
    with pytest.raises(InvalidParameterError, match="apart"):
        checkpoints.copy(s3, f"s3://{bucket}/a", f"s3://{bucket}/a/b")


def test_more_than_a_batch_is_deleted_and_the_namesake_stays(s3: Any, bucket: str) -> None:
    put(s3, bucket, *(f"g1/{number:04d}" for number in range(1005)), "g10/a")
    assert sum(item["Size"] for item in checkpoints._objects(s3, f"s3://{bucket}/g1")) == 1005 * 7
    assert checkpoints.delete(s3, f"s3://{bucket}/g1") == 1005
    assert keys(s3, bucket) == ["g10/a"]
    assert checkpoints.newest_change(s3, f"s3://{bucket}/g1") is None
    with pytest.raises(InvalidParameterError, match="bucket"):
        checkpoints.delete(s3, f"s3://{bucket}/")


def test_a_folder_is_measured_by_as_many_lists_as_asked(s3: Any, bucket: str) -> None:
    put(s3, bucket, *(f"run/g0001/{number:04}" for number in range(1_002)), "run/g00010/namesake")
    for pages, objects, more in ((1, 1_000, True), (2, 1_002, False), (5, 1_002, False)):
        found = checkpoints.measure(s3, f"s3://{bucket}/run/g0001", pages)
        assert found is not None
        assert (found.objects, found.more) == (objects, more)
        assert found.bytes == sum(item["Size"] for item in _listed(s3, bucket)[:objects])


def test_an_empty_folder_measures_nothing(s3: Any, bucket: str) -> None:
    put(s3, bucket, "run/g0001/")  # as the console makes a folder
    assert checkpoints.measure(s3, f"s3://{bucket}/run/g0001", 5) is None


def _listed(s3: Any, bucket: str) -> list[dict[str, Any]]:
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="run/g0001/")
    return [item for page in pages for item in page["Contents"]]


def test_a_sweep_leaves_its_own_the_live_and_other_tasks(s3: Any, bucket: str, local: LocalSageMaker) -> None:
    base = f"s3://{bucket}/c"
    runs = {name: RunIdentity("ns", "dag", name, "task") for name in ("mine", "live", "old", "unproved", "forged")}
    other = RunIdentity("ns", "dag", "old", "task2")
    folders = {name: checkpoint_prefix(base, run, 1) for name, run in [*runs.items(), ("other", other)]}
    for uri in folders.values():
        put(s3, bucket, f"{uri.removeprefix(f's3://{bucket}/')}/x")
    for name in ("mine", "live", "old"):
        checkpoints.write_marker(s3, folders[name].rpartition("/")[0], runs[name])
    checkpoints.write_marker(s3, folders["forged"].rpartition("/")[0], runs["old"])
    put(s3, bucket, "c/dag/task/notes.txt")
    sagemaker = local.client("sagemaker")
    start_ours(Jobs(local), runs["live"], CheckpointConfig={"S3Uri": folders["live"] + "/"})
    later = datetime.now(timezone.utc) + timedelta(days=40)
    gone = list(checkpoints.sweep(sagemaker, s3, base, folders["mine"], timedelta(days=30), later))
    assert [one.uri for one in gone] == [folders["old"]]
    left = {key.rsplit("/", 1)[0] for key in keys(s3, bucket) if key.endswith("/x")}
    assert left == {
        folders[name].removeprefix(f"s3://{bucket}/") for name in ("mine", "live", "other", "unproved", "forged")
    }
    assert checkpoints.read_marker(s3, folders["old"].rpartition("/")[0]) is None  # it went with the last generation
    assert checkpoints.read_marker(s3, folders["mine"].rpartition("/")[0]) == runs["mine"]
    with pytest.raises(InvalidParameterError, match="run_folder"):
        list(checkpoints.sweep(sagemaker, s3, base, "s3://elsewhere/x", timedelta(days=30), later))


def test_a_sweep_with_nothing_to_delete_asks_about_no_job(s3: Any, bucket: str) -> None:
    base = f"s3://{bucket}/c"
    folders = [checkpoint_prefix(base, RunIdentity("ns", "dag", name, "task"), 1) for name in ("mine", "new")]
    put(s3, bucket, *(f"{uri.removeprefix(f's3://{bucket}/')}/x" for uri in folders))
    sagemaker = DictionarySageMaker()
    now = datetime.now(timezone.utc)
    assert list(checkpoints.sweep(sagemaker, s3, base, folders[0], timedelta(days=30), now)) == []
    assert sagemaker.calls == []


def test_a_sweep_is_one_list_however_many_folders_go(s3: Any, bucket: str) -> None:
    base, now = f"s3://{bucket}/c", datetime.now(timezone.utc)
    runs = [RunIdentity("ns", "dag", f"run {number}", "task") for number in range(6)]
    folders = [checkpoint_prefix(base, run, 1) for run in runs]
    for run, uri in zip(runs, folders, strict=True):
        put(s3, bucket, f"{uri.removeprefix(f's3://{bucket}/')}/x")
        checkpoints.write_marker(s3, uri.rpartition("/")[0], run)
    sagemaker = DictionarySageMaker()
    for number in range(1, 1_001):
        name = str(JobName("train", "zzzzzzzzzz", 1, number))
        sagemaker.put(name, "Completed", "Completed", CreationTime=now - timedelta(days=100))
    sagemaker.put(str(JobName("train", runs[1].key, 1, 1)), CheckpointConfig={"S3Uri": folders[1]})
    gone = list(checkpoints.sweep(sagemaker, s3, base, folders[0], timedelta(days=30), now + timedelta(days=40)))
    assert [one.uri for one in gone] == sorted(folders[2:], key=[one.uri for one in gone].index)
    assert len(gone) == 4
    assert sagemaker.calls == ["ListTrainingJobs", "DescribeTrainingJob"]


def test_a_folder_that_comes_to_life_while_others_are_deleted_stays(s3: Any, bucket: str) -> None:
    """A sweep of many folders takes minutes, in which somebody may clear a task."""
    base, now = f"s3://{bucket}/c", [datetime.now(timezone.utc)]
    runs = [RunIdentity("ns", "dag", f"run {number}", "task") for number in range(2)]
    folders = [checkpoint_prefix(base, run, 1) for run in runs]
    for run, uri in zip(runs, folders, strict=True):
        put(s3, bucket, f"{uri.removeprefix(f's3://{bucket}/')}/x")
        checkpoints.write_marker(s3, uri.rpartition("/")[0], run)
    sagemaker = DictionarySageMaker()
    live = LiveFolders(lambda: sagemaker, clock=lambda: now[0])
    live.look()
    chosen = sorted(checkpoints.prefixes(s3, base), key=lambda one: folders.index(one.uri))
    removed = checkpoints.remove(live, s3, chosen)
    assert next(removed) == (chosen[0], None)
    sagemaker.put(str(JobName("train", runs[1].key, 1, 1)), CheckpointConfig={"S3Uri": folders[1]})
    now[0] += timedelta(minutes=1)
    assert next(removed) == (chosen[1], "a job came to use it")
    assert len(keys(s3, bucket)) == 2
