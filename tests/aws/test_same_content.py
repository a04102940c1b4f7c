"""Two places in S3 that hold the same."""

from __future__ import annotations

import io
import tarfile
from typing import Any

import pytest

from airflow_spot.aws import same_content
from airflow_spot.aws.same_content import same_archive, same_folder
from airflow_spot.local import LocalSageMaker
from tests.operators.test_sent_anew import archive

FILES = {"train.py": b"print(1)", "lib/a.py": b""}


@pytest.fixture
def s3(local: LocalSageMaker) -> Any:
    return local.client("s3")


@pytest.mark.parametrize(
    ("body", "same"),
    [
        (archive(FILES, 2), True),
        (archive(dict(reversed(FILES.items())), 3), True),
        (archive({"./train.py": b"print(1)", "./lib/a.py": b""}, 1), True),
        (archive({**FILES, "train.py": b"print(2)"}, 1), False),
        (archive({"train.py": b"print(1)"}, 1), False),
        (b"no archive", False),
    ],
)
def test_archives(s3: Any, bucket: str, body: bytes, same: bool) -> None:
    s3.put_object(Bucket=bucket, Key="one", Body=archive(FILES, 1))
    s3.put_object(Bucket=bucket, Key="two", Body=body)
    assert same_archive(s3, f"s3://{bucket}/one", f"s3://{bucket}/two") is same


def linked(*links: tuple[str, str]) -> bytes:
    """An archive of a script, and of symbolic links to folders."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as packed:
        for name, target in links:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            packed.addfile(member)
    return made.getvalue()


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (linked(("current", "v1")), linked(("current", "v1"), ("old", "v0")), False),
        (linked(("current", "v1")), linked(("current", "v2")), False),
        (linked(("a", "x"), ("b", "y")), linked(("b", "y"), ("a", "x")), True),
        # The last member of a name wins where it is unpacked, so that their order says what is there.
        (linked(("current", "v1"), ("current", "v2")), linked(("current", "v2"), ("current", "v1")), False),
    ],
    ids=["one more", "another target", "another order", "twice"],
)
def test_archives_with_links(s3: Any, bucket: str, one: bytes, other: bytes, same: bool) -> None:
    s3.put_object(Bucket=bucket, Key="one", Body=one)
    s3.put_object(Bucket=bucket, Key="two", Body=other)
    assert same_archive(s3, f"s3://{bucket}/one", f"s3://{bucket}/two") is same


def test_an_archive_that_is_not_there_or_large_is_another(
    s3: Any, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.put_object(Bucket=bucket, Key="one", Body=archive(FILES, 1))
    s3.put_object(Bucket=bucket, Key="two", Body=archive(FILES, 2))
    assert not same_archive(s3, f"s3://{bucket}/one", f"s3://{bucket}/none")
    monkeypatch.setattr(same_content, "ARCHIVE_LIMIT", 10)
    assert not same_archive(s3, f"s3://{bucket}/one", f"s3://{bucket}/two")
    s3.put_object(Bucket=bucket, Key="two", Body=archive(FILES, 1))
    assert same_archive(s3, f"s3://{bucket}/one", f"s3://{bucket}/two")


def test_folders(s3: Any, bucket: str) -> None:
    for folder in ("a", "b"):
        s3.put_object(Bucket=bucket, Key=f"{folder}/x", Body=b"1")
    one, two = f"s3://{bucket}/a", f"s3://{bucket}/b/"
    assert same_folder(s3, one, two)
    assert not same_folder(s3, f"s3://{bucket}/none", f"s3://{bucket}/neither")
    s3.put_object(Bucket=bucket, Key="b/x", Body=b"2")
    assert not same_folder(s3, one, two)
