"""Checkpoints that are taken out of a folder, so that no job restores them; nothing is deleted that was not copied."""

from __future__ import annotations

from datetime import datetime
from itertools import islice
from typing import Any

from airflow_spot.core.locations import check_s3_uri
from airflow_spot.core.parameter_errors import InvalidParameterError
from airflow_spot.core.run_marker import MARKER_NAME
from airflow_spot.core.suspect import StoredCheckpoint, StoredObject, newest_checkpoint


def find_newest(client: Any, uri: str, pages: int | None = None) -> StoredCheckpoint | None:
    """
    Return the newest checkpoint in a folder; None where there is none.

    :param client: boto3's for S3.
    :param uri: the folder, an S3 URI.
    :param pages: how many lists of a thousand objects are asked for; None for any number.
    :raises InvalidParameterError: whole runs are in it.
    """
    bucket, folder = _place(uri)
    listed = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=folder)
    objects = [
        StoredObject(item["Key"], item["Size"], item["LastModified"])
        for page in islice(listed, pages)
        for item in page.get("Contents", ())
    ]
    marker = next((each.key for each in objects if each.key.endswith(f"/{MARKER_NAME}")), None)
    if marker is not None:  # a generation would be taken for a checkpoint
        run = f"s3://{bucket}/{marker.rpartition('/')[0]}"
        raise InvalidParameterError("folder", uri, f"it holds a run, {run}: name a folder in that, such as g0001")
    return newest_checkpoint(objects, folder)


def target_of(uri: str, now: datetime) -> str:
    """Return where what is set aside goes: beside the folder, where no job looks, an S3 URI."""
    bucket, folder = _place(uri)
    above, _, name = folder.rstrip("/").rpartition("/")
    return f"s3://{'/'.join(part for part in (bucket, above, 'set-aside', name, f'{now:%Y%m%dT%H%M%SZ}') if part)}"


def set_aside(client: Any, uri: str, found: StoredCheckpoint, now: datetime) -> str:
    """
    Copy a checkpoint beside its folder, then delete it there.

    :return: where it is now, an S3 URI.
    :raises ClientError: S3 refused; what was not copied is still in its place.
    """
    bucket, folder = _place(uri)
    target = target_of(uri, now)
    _, _, prefix = target.removeprefix("s3://").partition("/")
    for each in found.objects:
        # boto3 copies in parts what is larger than one call takes.
        client.copy({"Bucket": bucket, "Key": each.key}, bucket, f"{prefix}/{each.key[len(folder) :]}")
    for each in found.objects:
        client.delete_object(Bucket=bucket, Key=each.key)
    return target


def _place(uri: str) -> tuple[str, str]:
    bucket, _, path = check_s3_uri("folder", uri).removeprefix("s3://").partition("/")
    if not path.strip("/"):
        raise InvalidParameterError("folder", uri, "name the folder of the checkpoints in the bucket")
    return bucket, f"{path.strip('/')}/"
