"""Whether two places in S3 hold the same, though they are called otherwise. Needs no Airflow: the client is given."""

from __future__ import annotations

import hashlib
import io
import tarfile
from typing import Any

from botocore.exceptions import ClientError

from airflow_spot.core.locations import check_s3_uri

#: Archives beyond this are compared by their ETag alone.
ARCHIVE_LIMIT = 64 * 1024**2
_UNPACKED_LIMIT = 1024**3
_MISSING = ("404", "NoSuchKey", "NotFound", "NoSuchBucket")


def same_archive(client: Any, one: str, other: str) -> bool:
    """
    Return whether two archives hold the same files: names, content, and whether they can be executed.

    SageMaker's SDK packs the time into each archive that it makes, so that no two are alike, byte for byte.

    :param client: boto3's for S3.
    :param one: an S3 URI, as is the other.
    :return: False also where one is not there, or too large to be looked into.
    """
    heads = [_head(client, uri) for uri in (one, other)]
    if None in heads:
        return False
    first, second = (head for head in heads if head is not None)
    if (first["ETag"], first["ContentLength"]) == (second["ETag"], second["ContentLength"]):
        return True
    if max(first["ContentLength"], second["ContentLength"]) > ARCHIVE_LIMIT:
        return False
    digests = [_digest(client, uri) for uri in (one, other)]
    return digests[0] is not None and digests[0] == digests[1]


def same_folder(client: Any, one: str, other: str) -> bool:
    """
    Return whether two prefixes have the same objects below them: names, sizes, ETags.

    :return: False also where there is none, or more than one page of a list.
    """
    found = [_listing(client, uri) for uri in (one, other)]
    return bool(found[0]) and found[0] == found[1]


def _head(client: Any, uri: str) -> dict[str, Any] | None:
    bucket, key = _place(uri)
    try:
        found: dict[str, Any] = client.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["Error"]["Code"] not in _MISSING:
            raise
        return None
    return found


def _digest(client: Any, uri: str) -> str | None:
    bucket, key = _place(uri)
    packed = client.get_object(Bucket=bucket, Key=key)["Body"].read()
    files: list[str] = []
    names: set[str] = set()
    size = 0
    try:
        with tarfile.open(fileobj=io.BytesIO(packed), mode="r:*") as archive:
            for member in archive:
                size += member.size
                if size > _UNPACKED_LIMIT:
                    return None
                name = member.name.removeprefix("./")
                if name in names:  # the last of them wins where it is unpacked
                    return None
                names.add(name)
                content = None if member.issym() else archive.extractfile(member)
                what = member.linkname if content is None else hashlib.sha256(content.read()).hexdigest()
                if not member.isdir():
                    files.append(f"{name}\0{int(member.issym())}\0{member.mode & 0o100}\0{what}")
    except (tarfile.TarError, OSError, EOFError):
        return None
    return hashlib.sha256("\n".join(sorted(files)).encode()).hexdigest()


def _listing(client: Any, uri: str) -> list[tuple[str, int, str]]:
    bucket, prefix = _place(uri)
    page = client.list_objects_v2(Bucket=bucket, Prefix=prefix)
    if page.get("IsTruncated"):
        return []
    return [(item["Key"][len(prefix) :].lstrip("/"), item["Size"], item["ETag"]) for item in page.get("Contents", ())]


def _place(uri: str) -> tuple[str, str]:
    bucket, _, key = check_s3_uri("uri", uri).removeprefix("s3://").partition("/")
    return bucket, key
