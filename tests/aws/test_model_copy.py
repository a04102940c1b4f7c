"""A model is copied inside S3 once, whole, and to where it is wanted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from airflow_spot.aws.model_copy import NoModelError, copy_model
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
