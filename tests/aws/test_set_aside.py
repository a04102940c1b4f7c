"""A checkpoint is copied beside its folder before it is deleted there, whatever its keys are."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from airflow_spot.aws.set_aside import find_newest, set_aside
from airflow_spot.core.parameter_errors import InvalidParameterError
from airflow_spot.core.run_marker import MARKER_NAME
from airflow_spot.local import LocalSageMaker

NOW = datetime(2026, 11, 28, tzinfo=timezone.utc)
NAMES = ("checkpoint-5/a b+c%2F ü.bin", "checkpoint-5/empty", "checkpoint-5/.part.tmp")


def keys(s3: Any, bucket: str) -> set[str]:
    return {item["Key"] for item in s3.list_objects_v2(Bucket=bucket).get("Contents", ())}


@pytest.fixture
def s3(local: LocalSageMaker, bucket: str) -> Any:
    client = local.client("s3")
    for key in ("a/checkpoint-4/x.bin", *(f"a/{name}" for name in NAMES), "ab/checkpoint-9/x.bin"):
        client.put_object(Bucket=bucket, Key=key, Body=b"" if key.endswith("empty") else key.encode())
    return client


@pytest.mark.parametrize("slash", ["", "/"])
def test_it_is_moved_whole_and_nothing_else_is(s3: Any, bucket: str, slash: str) -> None:
    found = find_newest(s3, f"s3://{bucket}/a{slash}")
    assert found is not None
    target = set_aside(s3, f"s3://{bucket}/a{slash}", found, NOW)
    assert target == f"s3://{bucket}/set-aside/a/20261128T000000Z"
    moved = {f"set-aside/a/20261128T000000Z/{name}" for name in NAMES}
    assert keys(s3, bucket) == {"a/checkpoint-4/x.bin", "ab/checkpoint-9/x.bin", *moved}
    strange = s3.get_object(Bucket=bucket, Key=f"set-aside/a/20261128T000000Z/{NAMES[0]}")["Body"].read()
    assert strange == f"a/{NAMES[0]}".encode()


def test_nothing_is_deleted_where_a_copy_fails(s3: Any, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = find_newest(s3, f"s3://{bucket}/a")
    assert found is not None and len(found.objects) == len(NAMES)
    before, copy = keys(s3, bucket), s3.copy
    copied: list[str] = []

    def fails_at_the_second(source: dict[str, str], *to: str) -> None:
        if copied:
            raise OSError("cut")
        copied.append(source["Key"])
        copy(source, *to)

    monkeypatch.setattr(s3, "copy", fails_at_the_second)
    with pytest.raises(OSError, match="cut"):
        set_aside(s3, f"s3://{bucket}/a", found, NOW)
    assert before < keys(s3, bucket)


def test_a_folder_of_runs_is_refused(s3: Any, bucket: str) -> None:
    """Its generations have numbers in their names, too."""
    s3.put_object(Bucket=bucket, Key=f"c/task/key/{MARKER_NAME}", Body=b"{}")
    s3.put_object(Bucket=bucket, Key="c/task/key/g0001/epoch-1.pt", Body=b"1")
    for above in ("c", "c/task", "c/task/key"):
        with pytest.raises(InvalidParameterError, match=f"holds a run, s3://{bucket}/c/task/key: name a folder in"):
            find_newest(s3, f"s3://{bucket}/{above}")
    assert find_newest(s3, f"s3://{bucket}/c/task/key/g0001") is not None
