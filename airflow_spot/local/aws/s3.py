"""Files to and from S3, with the errors that a job fails of."""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from botocore.exceptions import BotoCoreError, ClientError

from airflow_spot.local.errors import JobError

S3_ERRORS = (ClientError, BotoCoreError)


@dataclass(frozen=True)
class S3Uri:
    """``s3://bucket/key``."""

    bucket: str
    key: str

    @classmethod
    def parse(cls, uri: str) -> S3Uri:
        """Read an ``s3://`` URI.

        :raises JobError: for anything else.
        """
        scheme, separator, rest = uri.partition("://")
        bucket, _, key = rest.partition("/")
        if scheme != "s3" or not separator or not bucket:
            raise JobError(f"ClientError: {uri!r} is not an S3 URI (s3://bucket/key)")
        return cls(bucket, key)

    @property
    def folder(self) -> str:
        """The key as a folder: empty, or with one slash at its end."""
        key = self.key.strip("/")
        return f"{key}/" if key else ""

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True)
class S3Object:
    """One object of a listing."""

    key: str
    size: int
    etag: str


def objects(s3: Any, bucket: str, prefix: str) -> Iterator[S3Object]:
    """Return all objects whose key starts with ``prefix``; the markers that consoles make for folders are left out.

    :raises ClientError: as boto3 does, e.g. NoSuchBucket.
    """
    for answer in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for item in answer.get("Contents", ()):
            if not item["Key"].endswith("/"):
                yield S3Object(item["Key"], int(item["Size"]), item["ETag"].strip('"'))


def download(s3: Any, bucket: str, key: str, target: Path) -> None:
    """Download one object. The file is whole or absent."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    with partial.open("wb") as file:
        body = s3.get_object(Bucket=bucket, Key=key)["Body"]
        shutil.copyfileobj(body, file)
    partial.replace(target)


def safe_join(folder: Path, relative: str) -> Path:
    """Return ``folder / relative``.

    :raises JobError: if that would leave the folder: a key may hold ``..``.
    """
    parts = PurePosixPath(relative.lstrip("/")).parts
    if not parts or ".." in parts:
        raise JobError(f"ClientError: the S3 key {relative!r} cannot be a file below {folder.name!r}")
    return folder.joinpath(*parts)


def download_prefix(s3: Any, uri: str, folder: Path, *, keys: Iterable[str] | None = None) -> list[Path]:
    """Download what an S3Prefix data source names: all keys that begin with it.

    :param uri: a folder, or one object.
    :param keys: only these.
    :returns: the files.
    :raises JobError: ClientError, if there are none or S3 refuses.
    """
    source = S3Uri.parse(uri)
    wanted = None if keys is None else set(keys)
    files = []
    try:
        found = [item for item in objects(s3, source.bucket, source.key) if wanted is None or item.key in wanted]
        for item in found:
            files.append(safe_join(folder, relative_key(source, item.key)))
            download(s3, source.bucket, item.key, files[-1])
    except S3_ERRORS as error:
        raise JobError(f"ClientError: Data download failed: {uri}: {error}") from error
    if not files and wanted is None:
        raise JobError(
            f'ClientError: No S3 objects found under S3 URL "{uri}" given in input data source. Please ensure that '
            "the bucket exists in the selected region, that objects exist under that S3 prefix, and that the role "
            "has s3:ListBucket permissions on the bucket."
        )
    return files


def relative_key(source: S3Uri, key: str) -> str:
    """Return what an object below a prefix is called in the folder: its own name if the prefix is the whole key."""
    return key[len(source.key) :].lstrip("/") or PurePosixPath(key).name


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a tar.gz.

    :raises JobError: if it is none, or has members outside of the folder.
    """
    try:
        with tarfile.open(archive) as tar:
            for member in tar.getmembers():
                if not member.isdir():
                    safe_join(folder, member.name.removeprefix("./"))
                if member.issym() or member.islnk():
                    safe_join(folder, os.path.normpath(str(PurePosixPath(member.name).parent / member.linkname)))
            tar.extractall(folder)  # noqa: S202 - every member was checked above
    except (tarfile.TarError, OSError, EOFError) as error:
        raise JobError(f"ClientError: {archive.name} cannot be unpacked: {error}") from error


def pack(folders: Iterable[Path], archive: Path) -> bool:
    """Pack what is in the folders, one over the other, as a tar.gz; False if they are all empty."""
    empty = True
    with tarfile.open(archive, "w:gz", compresslevel=6) as tar:
        for folder in folders:
            for entry in sorted(folder.iterdir()) if folder.is_dir() else ():
                tar.add(entry, entry.name)
                empty = False
    return not empty


def upload(s3: Any, file: Path | IO[bytes], uri: str) -> str:
    """Upload one file, all or nothing.

    :returns: its ETag.
    :raises ClientError: as boto3 does.
    """
    target = S3Uri.parse(uri)
    if isinstance(file, Path):
        with file.open("rb") as body:
            return upload(s3, body, uri)
    etag: str = s3.put_object(Bucket=target.bucket, Key=target.key, Body=file)["ETag"]
    return etag.strip('"')
