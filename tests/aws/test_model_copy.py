"""A model is copied inside S3 once, whole, and to where it is wanted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from airflow_spot.aws.model_copy import NoModelError, PlaceError, copy_model
from airflow_spot.local import LocalSageMaker


class Counting:
    """The client of S3, and how many objects it copied."""

    def __init__(self, s3: Any) -> None:
        self._s3 = s3
        self.copies = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._s3, name)

    def copy(self, *args: Any, **kwargs: Any) -> None:
        self.copies += 1
        self._s3.copy(*args, **kwargs)


@pytest.fixture
def s3(local: LocalSageMaker, bucket: str) -> Iterator[Counting]:
    client = local.client("s3")
    client.put_object(
        Bucket=bucket, Key="out/job/output/model.tar.gz", Body=b"model 1", ContentType="application/x-tar"
    )
    yield Counting(client)


def body(s3: Counting, bucket: str, key: str) -> bytes:
    found: bytes = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    return found


@pytest.mark.parametrize(
    ("target", "key"),
    [("models/digits.tar.gz", "models/digits.tar.gz"), ("models/", "models/model.tar.gz"), ("", "model.tar.gz")],
)
def test_an_object_goes_to_an_object_or_to_a_folder(s3: Counting, bucket: str, target: str, key: str) -> None:
    source = f"s3://{bucket}/out/job/output/model.tar.gz"
    place, copied = copy_model(s3, source, f"s3://{bucket}/{target}", "job")
    assert (place, copied) == (f"s3://{bucket}/{key}", True)
    assert body(s3, bucket, key) == b"model 1"
    assert s3.head_object(Bucket=bucket, Key=key)["ContentType"] == "application/x-tar"


def test_what_is_there_is_not_copied_again_and_another_model_is_replaced(s3: Counting, bucket: str) -> None:
    source, target = f"s3://{bucket}/out/job/output/model.tar.gz", f"s3://{bucket}/m.tar.gz"
    s3.put_object(Bucket=bucket, Key="m.tar.gz", Body=b"model 1")  # equal by chance, and not marked as ours
    assert copy_model(s3, source, target, "job")[1]
    assert not copy_model(s3, source, target, "job")[1]
    assert s3.copies == 1
    assert copy_model(s3, source, target, "another job")[1]
    s3.put_object(Bucket=bucket, Key="out/job/output/model.tar.gz", Body=b"model 2")
    assert copy_model(s3, source, target, "another job")[1]
    assert body(s3, bucket, "m.tar.gz") == b"model 2"


def test_a_model_that_is_not_compressed_is_a_folder(s3: Counting, bucket: str) -> None:
    for name in ("weights.bin", "code/inference.py"):
        s3.put_object(Bucket=bucket, Key=f"out/job/output/model/{name}", Body=name.encode())
    source = f"s3://{bucket}/out/job/output/model/"
    assert copy_model(s3, source, f"s3://{bucket}/models/new", "job") == (f"s3://{bucket}/models/new/", True)
    s3.delete_object(Bucket=bucket, Key="models/new/weights.bin")  # a crash in the middle
    assert copy_model(s3, source, f"s3://{bucket}/models/new/", "job")[1]
    assert s3.copies == 3
    assert body(s3, bucket, "models/new/code/inference.py") == b"code/inference.py"


def test_no_model_is_said(s3: Counting, bucket: str) -> None:
    with pytest.raises(NoModelError, match="there is no model in s3://"):
        copy_model(s3, f"s3://{bucket}/out/none/model.tar.gz", f"s3://{bucket}/m", "job")
    source = f"s3://{bucket}/out/job/output/model.tar.gz"
    assert copy_model(s3, source, source, "job") == (source, False)


def uncompressed(s3: Counting, bucket: str, job: str, *names: str) -> str:
    for name in names:
        s3.put_object(Bucket=bucket, Key=f"out/{job}/output/model/{name}", Body=f"{job} {name}".encode())
    return f"s3://{bucket}/out/{job}/output/model/"


def keys(s3: Counting, bucket: str, folder: str) -> list[str]:
    found = s3.list_objects_v2(Bucket=bucket, Prefix=folder).get("Contents", ())
    return [item["Key"].removeprefix(folder) for item in found]


def test_a_second_model_leaves_no_file_of_the_first(s3: Counting, bucket: str) -> None:
    place = f"s3://{bucket}/models/new/"
    copy_model(s3, f"s3://{bucket}/out/job/output/model.tar.gz", place, "job")  # compressed then
    copy_model(s3, uncompressed(s3, bucket, "one", "a.bin", "b.bin", "code/old.py"), place, "one")
    assert keys(s3, bucket, "models/new/") == ["a.bin", "b.bin", "code/old.py"]
    s3.put_object(Bucket=bucket, Key="models/newer", Body=b"beside it")
    assert copy_model(s3, uncompressed(s3, bucket, "two", "b.bin", "c.bin"), place, "two") == (place, True)
    assert keys(s3, bucket, "models/new/") == ["b.bin", "c.bin"]
    assert body(s3, bucket, "models/new/b.bin") == b"two b.bin"
    assert keys(s3, bucket, "models/newer") == [""]


@pytest.mark.parametrize("foreign", ["README.md", "b.bin", "deep/a"])
def test_what_was_not_copied_there_is_neither_mixed_in_nor_deleted(s3: Counting, bucket: str, foreign: str) -> None:
    place = f"s3://{bucket}/models/new/"
    copy_model(s3, uncompressed(s3, bucket, "one", "a.bin"), place, "one")
    # A copy of a copy has the marks of where it was copied to first.
    s3.copy_object(Bucket=bucket, Key="models/other", CopySource=f"{bucket}/models/new/a.bin")
    s3.copy_object(Bucket=bucket, Key=f"models/{foreign}", CopySource=f"{bucket}/models/new/a.bin")
    for target in (f"s3://{bucket}/models", f"s3://{bucket}/models/"):
        with pytest.raises(PlaceError, match="which was not copied there as a model"):
            copy_model(s3, uncompressed(s3, bucket, "two", "b.bin"), target, "two")
    assert keys(s3, bucket, "models/") == sorted([foreign, "new/a.bin", "other"])


@pytest.mark.parametrize("target", ["", "out", "out/one/", "out/one/output/model", "out/one/output/model/best/"])
def test_a_place_that_overlaps_with_the_source_is_refused(s3: Counting, bucket: str, target: str) -> None:
    source = uncompressed(s3, bucket, "one", "a.bin", "best/b.bin")
    before = keys(s3, bucket, "")
    with pytest.raises(PlaceError, match="overlaps with"):
        copy_model(s3, source, f"s3://{bucket}/{target}", "one")
    assert keys(s3, bucket, "") == before
    assert copy_model(s3, source, f"s3://{bucket}/out/one/output/model-2/", "one")[1]


def test_a_place_that_may_be_written_and_not_read_has_each_model(s3: Counting, bucket: str) -> None:
    """A compressed model needs no s3:GetObject where it goes: S3 then answers a HEAD of what is there by 403."""

    class WriteOnly(Counting):
        def head_object(self, Bucket: str, Key: str) -> Any:
            if Key == "m.tar.gz":
                raise ClientError({"Error": {"Code": "403", "Message": "Forbidden"}}, "HeadObject")
            return s3.head_object(Bucket=Bucket, Key=Key)

    source, target = f"s3://{bucket}/out/job/output/model.tar.gz", f"s3://{bucket}/m.tar.gz"
    assert copy_model(WriteOnly(s3), source, target, "job") == (target, True)
    s3.put_object(Bucket=bucket, Key="out/job/output/model.tar.gz", Body=b"model 2")
    assert copy_model(WriteOnly(s3), source, target, "job 2") == (target, True)
    assert body(s3, bucket, "m.tar.gz") == b"model 2"


def test_of_two_models_that_are_copied_there_at_the_same_moment_it_has_one_whole(s3: Counting, bucket: str) -> None:
    """Such as of two DAG runs that end together: files of both would be a model that nobody trained."""
    place = f"s3://{bucket}/models/new/"
    first, second = (uncompressed(s3, bucket, job, "a.bin", "b.bin", f"{job}.bin") for job in ("one", "two"))

    class Meanwhile(Counting):
        def copy(self, *args: Any, **kwargs: Any) -> None:
            super().copy(*args, **kwargs)
            if self.copies == 1:
                copy_model(s3, second, place, "two")

    assert copy_model(Meanwhile(s3), first, place, "one") == (place, True)
    assert keys(s3, bucket, "models/new/") == ["a.bin", "b.bin", "one.bin"]
    assert {body(s3, bucket, f"models/new/{name}") for name in ("a.bin", "b.bin")} == {b"one a.bin", b"one b.bin"}

    class Always(Counting):
        def copy(self, *args: Any, **kwargs: Any) -> None:
            super().copy(*args, **kwargs)
            copy_model(s3, second, place, "two")

    with pytest.raises(PlaceError, match=r"another model is being copied to .* now"):
        copy_model(Always(s3), first, place, "three")
