"""The model of a training, copied inside S3 to a place of the user's. Needs no Airflow: the client is given."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError

from airflow_spot.core.locations import check_s3_uri

#: In the metadata of a copy: the job that made the model, and the ETag of what was copied.
SOURCE_KEY = "airflow-spot-source"
_MISSING = ("404", "NoSuchKey", "NotFound")


class NoModelError(RuntimeError):
    """There is no model where the training job says that it is."""


def copy_model(client: Any, source: str, target: str, job_name: str, kms_key: str | None = None) -> tuple[str, bool]:
    """
    Copy a model to a place, unless this very model is there; any other that is there is replaced.

    Done again after a crash, only what is missing is copied. S3 copies, whatever the size.

    :param client: boto3's for S3.
    :param source: ``S3ModelArtifacts``: an object, or a folder where the job's output is not compressed.
    :param target: an S3 URI: of the object, or, ending in a slash, of the folder that it goes to.
    :param kms_key: the key that the job encrypted the model with, for the copy; None for the bucket's way.
    :return: the S3 URI of the copy, a folder's ends in a slash; and whether anything was copied.
    :raises NoModelError: there is nothing to copy.
    """
    bucket, key = _place(source)
    to_bucket, to_key = _place(target)
    head = None if not key or key.endswith("/") else _head(client, bucket, key)
    if head is not None:
        to_key += key.rpartition("/")[2] if not to_key or to_key.endswith("/") else ""
        copied = _copy(client, (bucket, key), head, (to_bucket, to_key), job_name, kms_key)
        return f"s3://{to_bucket}/{to_key}", copied
    folder, to_folder = _folder(key), _folder(to_key)
    done = [
        _copy(client, (bucket, found), _head(client, bucket, found), (to_bucket, to_folder + name), job_name, kms_key)
        for found, name in _objects(client, bucket, folder)
    ]
    if not done:
        raise NoModelError(f"there is no model in {source}")
    return f"s3://{to_bucket}/{to_folder}", any(done)


def _copy(
    client: Any,
    source: tuple[str, str],
    head: dict[str, Any] | None,
    target: tuple[str, str],
    job_name: str,
    kms_key: str | None,
) -> bool:
    """Copy one object; return False where it is there already."""
    if source == target or head is None:  # the latter: deleted since it was listed
        return False
    mark = f"{job_name} {str(head.get('ETag')).strip(chr(34))}"
    there = _head(client, *target)
    if there is not None and (there.get("Metadata") or {}).get(SOURCE_KEY) == mark:
        return False
    extra: dict[str, Any] = {"MetadataDirective": "REPLACE", "Metadata": {**head.get("Metadata", {}), SOURCE_KEY: mark}}
    if content_type := head.get("ContentType"):
        extra["ContentType"] = content_type
    if kms_key:
        extra |= {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key}
    # boto3's own: beyond 5 GB in parts, which appear as one object once all of them are there.
    client.copy({"Bucket": source[0], "Key": source[1]}, *target, ExtraArgs=extra)
    return True


def _head(client: Any, bucket: str, key: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = client.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["Error"]["Code"] not in _MISSING:
            raise
        return None
    return found


def _objects(client: Any, bucket: str, folder: str) -> Iterator[tuple[str, str]]:
    """Yield the keys in a folder, and what each is called in it."""
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=folder):
        for item in page.get("Contents", ()):
            if not item["Key"].endswith("/"):
                yield item["Key"], item["Key"][len(folder) :]


def _place(uri: str) -> tuple[str, str]:
    bucket, _, key = check_s3_uri("model_s3_uri", uri).removeprefix("s3://").partition("/")
    return bucket, key


def _folder(key: str) -> str:
    return f"{key.rstrip('/')}/" if key.strip("/") else ""
