"""The model of a training, copied inside S3 to a place of the user's. Needs no Airflow: the client is given."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError

from airflow_spot.core.identity import short_hash
from airflow_spot.core.locations import check_s3_uri, lies_in
from airflow_spot.core.outcomes import DENIED_OR_STATUS

#: In the metadata of a copy: the job that made the model, and the ETag of what was copied.
SOURCE_KEY = "airflow-spot-source"
#: And a hash of the place that it was copied to, as a whole: what lies there by another way is not ours to delete.
PLACE_KEY = "airflow-spot-place"
_MISSING = ("404", "NoSuchKey", "NotFound")
#: How often a folder is gone through, until all in it is as it is to be: else two that copy there at the same moment
#: would both succeed, and leave files of both.
PASSES = 5


class NoModelError(RuntimeError):
    """There is no model where the training job says that it is."""


class PlaceError(RuntimeError):
    """The model cannot go to the place that it is to go to: something else is there."""


def copy_model(client: Any, source: str, target: str, job_name: str, kms_key: str | None = None) -> tuple[str, bool]:
    """
    Copy a model to a place, unless this very model is there; any other that was copied there is replaced.

    Done again after a crash, only what is missing is copied. S3 copies, whatever the size. Of a folder, what is left of
    the model before is deleted once all of the new one is there: nothing but what this function copied to that folder.
    It is gone through again until nothing is left to do: of two models that are copied there at the same moment, it has
    one whole.

    :param client: boto3's for S3.
    :param source: ``S3ModelArtifacts``: an object, or a folder where the job's output is not compressed.
    :param target: an S3 URI: of the object, or, ending in a slash, of the folder that it goes to.
    :param kms_key: the key that the job encrypted the model with, for the copy; None for the bucket's way.
    :return: the S3 URI of the copy, a folder's ends in a slash; and whether anything was copied.
    :raises NoModelError: there is nothing to copy.
    :raises PlaceError: the folder overlaps with the source, has something that was not copied there, or another model
        is copied to it at the same moment.
    """
    bucket, key = _place(source)
    to_bucket, to_key = _place(target)
    head = None if not key or key.endswith("/") else _head(client, bucket, key)
    if head is not None:
        place = f"s3://{to_bucket}/{to_key}"
        to_key += key.rpartition("/")[2] if not to_key or to_key.endswith("/") else ""
        mark = _mark(job_name, head, place)
        copied = _copy(client, (bucket, key), head, (to_bucket, to_key), mark, kms_key)
        return f"s3://{to_bucket}/{to_key}", copied
    folder, to_folder = _folder(key), _folder(to_key)
    origin, place = f"s3://{bucket}/{folder}", f"s3://{to_bucket}/{to_folder}"
    for passed in range(PASSES):
        found = dict(_objects(client, bucket, folder))
        if not found:
            raise NoModelError(f"there is no model in {source}")
        if lies_in(origin, place) or lies_in(place, origin):
            raise PlaceError(f"its model is in {origin}, which overlaps with {place}")
        if not _go_through(client, bucket, found, (to_bucket, to_folder), job_name, kms_key):
            return place, passed > 0
    raise PlaceError(f"another model is being copied to {place} now: their files would mix")


def _go_through(
    client: Any, bucket: str, found: dict[str, str], target: tuple[str, str], job_name: str, kms_key: str | None
) -> bool:
    """Copy to a folder what is missing there, then delete what is left of the model before; whether there was any."""
    to_bucket, to_folder = target
    place = f"s3://{to_bucket}/{to_folder}"
    there = _ours(client, to_bucket, to_folder, place)
    done = []
    for each, name in found.items():
        head = _head(client, bucket, each)
        if head is not None:  # else deleted since it was listed
            target_key = (to_bucket, to_folder + name)
            done.append(_copy(client, (bucket, each), head, target_key, _mark(job_name, head, place), kms_key))
    kept = {to_folder + name for name in found.values()}
    gone = [each for each in there if each not in kept and _is_ours(client, to_bucket, each, place)]
    for each in gone:
        client.delete_object(Bucket=to_bucket, Key=each)
    return any(done) or bool(gone)


def _ours(client: Any, bucket: str, folder: str, place: str) -> list[str]:
    """
    Return what was copied to a folder before.

    :raises PlaceError: it has something else. It would be taken for a part of the model, and is not ours to delete.
    """
    found = []
    for key, name in _objects(client, bucket, folder):
        if not _is_ours(client, bucket, key, place, gone=True):
            raise PlaceError(f"{place} has {name}, which was not copied there as a model")
        found.append(key)
    return found


def _is_ours(client: Any, bucket: str, key: str, place: str, *, gone: bool = False) -> bool:
    """Return whether an object was copied there; as ``gone`` says where it is deleted meanwhile."""
    head = _head(client, bucket, key)
    return gone if head is None else (head.get("Metadata") or {}).get(PLACE_KEY) == short_hash(place)


def _mark(job_name: str, head: dict[str, Any], place: str) -> dict[str, str]:
    etag = str(head.get("ETag")).strip('"')
    return {SOURCE_KEY: f"{job_name} {etag}", PLACE_KEY: short_hash(place)}


def _copy(
    client: Any,
    source: tuple[str, str],
    head: dict[str, Any],
    target: tuple[str, str],
    mark: dict[str, str],
    kms_key: str | None,
) -> bool:
    """Copy one object; return False where it is there already."""
    if source == target:
        return False
    try:
        there = _head(client, *target)
    except ClientError as error:
        if error.response["Error"]["Code"] not in DENIED_OR_STATUS:
            raise
        there = None  # it may be written there and not be read: copied once more, it is the same
    if there is not None and mark.items() <= (there.get("Metadata") or {}).items():
        return False
    extra: dict[str, Any] = {"MetadataDirective": "REPLACE", "Metadata": {**head.get("Metadata", {}), **mark}}
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
