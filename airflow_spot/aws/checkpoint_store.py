"""Checkpoint folders in S3: copied, measured, deleted. Needs no Airflow: the clients are given."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from botocore.exceptions import ClientError

from airflow_spot.aws.live_folders import LiveFolders
from airflow_spot.aws.retrying import is_expired, summarize_error
from airflow_spot.core.folder_look import LOOK_LIMIT, FolderLook
from airflow_spot.core.identity import RunIdentity
from airflow_spot.core.locations import check_s3_uri
from airflow_spot.core.parameter_errors import InvalidParameterError
from airflow_spot.core.retention import CheckpointFolder, folder_of, overlaps, to_delete
from airflow_spot.core.run_marker import MARKER_NAME, marker_text, owner_of

_IS_THERE = ("PreconditionFailed", "ConditionalRequestConflict")
_ROUNDS = 3  # of looks at a source that changes
_BATCH = 1000  # what DeleteObjects takes
_PART_BYTES = 1024**3  # UploadPartCopy takes 5 GB, and an upload 10,000 parts


class SourceChangingError(RuntimeError):
    """A folder that is copied is written to meanwhile: what would be copied is half of one state, half of another."""


@dataclass(frozen=True)
class Copied:
    """What a copy came to, with what was there already."""

    objects: int
    bytes: int


def copy(client: Any, source: str, target: str, *, around: bool = False) -> Copied:
    """
    Copy all that lies in a folder. Doing it again copies only what is missing.

    An object that is there is never overwritten, whoever wrote it and however late this is: a job that resumed from
    the copy may have written a newer one in its place.

    :param client: boto3's for S3.
    :param source: an S3 URI, as is the target.
    :param around: the target may lie in the source, as a run's folder does in the base where a job of the stock
        operator kept its checkpoints: then what is in folders of our layout is left out.
    :return: the objects that are now there, and their bytes.
    :raises InvalidParameterError: one folder lies in the other.
    :raises SourceChangingError: the source changes again and again.
    """
    if overlaps(source, target) and not (around and len(source) < len(target)):
        raise InvalidParameterError("resume_from", source, f"must be a folder apart from {target}")
    before = _sizes(client, source, around=around)
    for _ in range(_ROUNDS):
        _copy_missing(client, source, target, before)
        after = _sizes(client, source, around=around)
        if after == before:
            return Copied(len(after), sum(size for size, _ in after.values()))
        before = after
    raise SourceChangingError(f"{source} changes while it is copied: something writes there")


def _sizes(client: Any, uri: str, *, around: bool) -> dict[str, tuple[int, str]]:
    """
    Return the size and the ETag of each object in a folder, by its key.

    :param around: leave out what is in folders of runs.
    """
    _, prefix = _place(uri)
    found = {item["Key"]: (item["Size"], str(item.get("ETag"))) for item in _objects(client, uri)}
    if not around:
        return found
    markers = {key.rpartition("/")[0] + "/" for key in found if key.endswith(f"/{MARKER_NAME}")}
    return {
        key: facts
        for key, facts in found.items()
        if folder_of(key[len(prefix) :]) is None and not any(key.startswith(marked) for marked in markers)
    }


def _copy_missing(client: Any, source: str, target: str, items: dict[str, tuple[int, str]]) -> None:
    (source_bucket, source_prefix), (bucket, prefix) = _place(source), _place(target)
    there = {item["Key"] for item in _objects(client, target)}
    for key, (size, _) in items.items():
        name = prefix + key[len(source_prefix) :]
        if name in there:
            continue
        try:
            _copy_unless_there(client, {"Bucket": source_bucket, "Key": key}, size, bucket, name)
        except ClientError as error:
            # Deleted since it was listed, as a script does with old checkpoints: the next look sees that.
            if error.response["Error"]["Code"] not in ("NoSuchKey", "404"):
                raise


def newest_change(client: Any, uri: str) -> datetime | None:
    """Return when an object in a folder last changed; None where there is none."""
    return max((item["LastModified"] for item in _objects(client, uri)), default=None)


def look_at(
    connect: Callable[[], Any], uri: str, now: datetime, *, renew: Callable[[], None] | None = None
) -> FolderLook:
    """
    Return what one list of a folder shows. It raises nothing: what could not be seen says so.

    :param connect: gives boto3's client for S3.
    :param renew: has it give one with credentials read again, where those that it has have expired.
    """
    try:
        bucket, prefix = _place(uri)
        page = connect().list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=LOOK_LIMIT)
        return FolderLook.of(page.get("Contents", ()), now, more=bool(page.get("IsTruncated")))
    except Exception as error:
        if renew is not None and is_expired(error):
            renew()
            return look_at(connect, uri, now)
        return FolderLook(now, problem=summarize_error(error))


def measure(client: Any, uri: str, pages: int = 1) -> CheckpointFolder | None:
    """
    Return what is in a folder; None where there is nothing.

    :param pages: how many lists are asked for, of a thousand objects each; ``more`` says that there are others.
    """
    items, more = [], False
    for page in islice(_pages(client, uri), pages):
        items += _items(page, uri)
        more = bool(page.get("IsTruncated"))
    if not items:
        return None
    newest = max(item["LastModified"] for item in items)
    return CheckpointFolder(uri, newest, sum(item["Size"] for item in items), len(items), more)


def delete(client: Any, uri: str) -> int:
    """
    Delete all that lies in a folder.

    :return: how many objects were deleted.
    :raises RuntimeError: S3 kept some; the message says why.
    """
    bucket, prefix = _place(uri)
    if not prefix:
        raise InvalidParameterError("uri", uri, "name a folder: all of a bucket is never deleted")
    keys = [item["Key"] for item in _objects(client, uri)]
    for start in range(0, len(keys), _BATCH):
        batch = [{"Key": key} for key in keys[start : start + _BATCH]]
        answer = client.delete_objects(Bucket=bucket, Delete={"Objects": batch, "Quiet": True})
        if errors := answer.get("Errors"):
            first = errors[0]
            raise RuntimeError(f"S3 kept {len(errors)} objects, {first['Key']}: {first['Code']} {first['Message']}")
    return len(keys)


def prefixes(client: Any, base: str, below: str = "") -> list[CheckpointFolder]:
    """
    Find the checkpoint folders of runs below a base; what is not of our layout is left out.

    :param below: only those in this folder of the base, ``<namespace>/<dag>/<task>``.
    """
    base = check_s3_uri("base", base).rstrip("/")
    _, root = _place(base)
    found: dict[str, CheckpointFolder] = {}
    for item in _objects(client, f"{base}/{below}" if below else base):
        folder = folder_of(item["Key"][len(root) :])
        if folder is None:
            continue
        before = found.get(folder)
        found[folder] = CheckpointFolder(
            f"{base}/{folder}",
            max(item["LastModified"], before.newest) if before else item["LastModified"],
            item["Size"] + (before.bytes if before else 0),
            1 + (before.objects if before else 0),
        )
    return list(found.values())


def remove(
    live: LiveFolders, client: Any, folders: list[CheckpointFolder]
) -> Iterator[tuple[CheckpointFolder, str | None]]:
    """
    Delete folders that were chosen, unless they have come to life since.

    :param live: what tells the folders of live jobs, which is asked again for each that is deleted much later.
    :return: each folder as soon as it is dealt with, with None, or why it was kept.
    """
    for folder in folders:
        # Between the choice and now somebody may have cleared a task.
        if newest_change(client, folder.uri) != folder.newest:
            yield folder, "it has changed since it was listed"
        elif any(overlaps(folder.uri, uri) for uri in live.look_again().values()):
            yield folder, "a job came to use it"
        elif read_marker(client, folder.run_folder) is None:
            yield folder, f"no {MARKER_NAME} in {folder.run_folder} proves which run it is of"
        else:
            delete(client, folder.uri)
            _delete_lone_marker(client, folder.run_folder)
            yield folder, None


def sweep(
    sagemaker: Any, client: Any, base: str, run_folder: str, older_than: timedelta, now: datetime
) -> Iterator[CheckpointFolder]:
    """
    Delete the old checkpoints of a task, after one of its runs succeeded. Where none is old, no job is asked about.

    It continues as far as what it returns is read: whoever has no more time stops reading.

    :param base: the checkpoint base, an S3 URI.
    :param run_folder: the S3 URI of the run's own generation: it stays, and only its task's folders are looked at.
    :return: what was deleted.
    :raises InvalidParameterError: the run's folder is not one of our layout in the base.
    """
    path = run_folder.rstrip("/").removeprefix(f"{base.rstrip('/')}/")
    if folder_of(f"{path}/") is None:
        raise InvalidParameterError(
            "run_folder", run_folder, f"must be <namespace>/<dag>/<task>/<run key>/g<generation> in {base}"
        )
    folders = prefixes(client, base, below=path.rsplit("/", 2)[0])
    old = to_delete(folders, [run_folder], now, older_than=older_than)
    if not old:
        return
    live = LiveFolders(lambda: sagemaker)
    # Jobs after folders: one that was created in between is seen.
    chosen = to_delete(old, live.look().values(), now, older_than=older_than)
    yield from (folder for folder, kept in remove(live, client, chosen) if kept is None)


def write_marker(client: Any, folder: str, run: RunIdentity) -> bool:
    """Write the marker of a run into its folder; return whether there was none."""
    bucket, prefix = _place(folder)
    text = marker_text(run).encode()
    try:
        client.put_object(
            Bucket=bucket, Key=f"{prefix}{MARKER_NAME}", Body=text, ContentType="application/json", IfNoneMatch="*"
        )
    except ClientError as error:
        if error.response["Error"]["Code"] not in _IS_THERE:
            raise
        return False
    return True


def read_marker(client: Any, folder: str) -> RunIdentity | None:
    """Return the run that a folder is of, as its marker proves; None where there is none, or it does not fit."""
    bucket, prefix = _place(folder)
    try:
        text = client.get_object(Bucket=bucket, Key=f"{prefix}{MARKER_NAME}")["Body"].read().decode(errors="replace")
    except ClientError as error:
        if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
            return None
        raise
    return owner_of(folder, text)


def _delete_lone_marker(client: Any, folder: str) -> None:
    """Delete a run's marker once nothing else is left in its folder."""
    bucket, prefix = _place(folder)
    keys = [item["Key"] for item in client.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=2).get("Contents", ())]
    if keys == [f"{prefix}{MARKER_NAME}"]:
        client.delete_object(Bucket=bucket, Key=keys[0])


def _place(uri: str) -> tuple[str, str]:
    bucket, _, path = check_s3_uri("uri", uri).removeprefix("s3://").partition("/")
    return bucket, f"{path.rstrip('/')}/" if path.strip("/") else ""


def _objects(client: Any, uri: str) -> Iterator[dict[str, Any]]:
    for page in _pages(client, uri):
        yield from _items(page, uri)


def _pages(client: Any, uri: str) -> Iterator[dict[str, Any]]:
    bucket, prefix = _place(uri)
    yield from client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)


def _items(page: dict[str, Any], uri: str) -> list[dict[str, Any]]:
    _, prefix = _place(uri)
    # The folder itself can be an object too, made by the console.
    return [item for item in page.get("Contents", ()) if item["Key"] != prefix]


def _copy_unless_there(client: Any, source: dict[str, str], size: int, bucket: str, key: str) -> None:
    """
    Copy one object, unless the target came to be meanwhile: S3 decides, in one step.

    CopyObject cannot be told so, and takes 5 GB at most; the completion of an upload in parts can.
    Source: conditional writes in the user guide of Amazon S3.
    """
    try:
        if size == 0:  # an upload in parts has at least one
            client.put_object(Bucket=bucket, Key=key, Body=b"", IfNoneMatch="*")
            return
        upload = client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
        try:
            parts = []
            for number, start in enumerate(range(0, size, _PART_BYTES), 1):
                span = f"bytes={start}-{min(start + _PART_BYTES, size) - 1}"
                part = client.upload_part_copy(
                    Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, CopySource=source, CopySourceRange=span
                )
                parts.append({"PartNumber": number, "ETag": part["CopyPartResult"]["ETag"]})
            client.complete_multipart_upload(
                Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": parts}, IfNoneMatch="*"
            )
        except BaseException:
            client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)
            raise
    except ClientError as error:
        if error.response["Error"]["Code"] not in _IS_THERE:
            raise
