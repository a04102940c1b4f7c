"""Input channels: data from S3 into ``/opt/ml/input/data/<channel>``."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

from airflow_spot.local.aws.s3 import S3_ERRORS, S3Uri, download, download_prefix, objects, safe_join
from airflow_spot.local.errors import JobError


def fetch_channel(s3: Any, channel: dict[str, Any], folder: Path, host: int, hosts: int) -> None:
    """Download one host's part of a channel.

    :param host: its index, from 0; with ShardedByS3Key it gets every ``hosts``-th object.
    :raises JobError: ClientError, if there is no data or S3 refuses.
    """
    folder.mkdir(parents=True, exist_ok=True)
    source = channel["DataSource"].get("S3DataSource")
    if source is None:
        raise JobError(
            f"ClientError: channel {channel['ChannelName']!r} has an unsupported data source; "
            "Local SageMaker supports S3DataSource only"
        )
    sharded = source.get("S3DataDistributionType") == "ShardedByS3Key" and hosts > 1
    if source["S3DataType"] == "S3Prefix":
        files = _prefix(s3, source["S3Uri"], folder, (host, hosts) if sharded else (0, 1))
    elif source["S3DataType"] == "ManifestFile":
        files = _manifest(s3, source["S3Uri"], folder, (host, hosts) if sharded else (0, 1))
    else:
        raise JobError(f"ClientError: S3DataType {source['S3DataType']} is not implemented by Local SageMaker")
    if channel.get("CompressionType") == "Gzip":
        for file in files:
            gunzip(file)


def _prefix(s3: Any, uri: str, folder: Path, shard: tuple[int, int]) -> list[Path]:
    host, hosts = shard
    if hosts == 1:
        return download_prefix(s3, uri, folder)
    source = S3Uri.parse(uri)
    try:
        keys = sorted(item.key for item in objects(s3, source.bucket, source.key))
    except S3_ERRORS as error:
        raise JobError(f"ClientError: Data download failed: {uri}: {error}") from error
    # With fewer objects than hosts some get none, which AWS allows; no object at all is an error.
    return download_prefix(s3, uri, folder, keys=keys[host::hosts] if keys else None)


def _manifest(s3: Any, uri: str, folder: Path, shard: tuple[int, int]) -> list[Path]:
    files = []
    try:
        for prefix, name in read_manifest(s3, uri)[shard[0] :: shard[1]]:
            item = S3Uri.parse(prefix + name)
            files.append(safe_join(folder, name))
            download(s3, item.bucket, item.key, files[-1])
    except S3_ERRORS as error:
        raise JobError(f"ClientError: Data download failed: {uri}: {error}") from error
    return files


def read_manifest(s3: Any, uri: str) -> list[tuple[str, str]]:
    """Return what a ManifestFile lists, as prefix and name.

    :raises JobError: ClientError, if it is no manifest or S3 refuses.
    """
    source = S3Uri.parse(uri)
    try:
        manifest = json.loads(s3.get_object(Bucket=source.bucket, Key=source.key)["Body"].read())
        prefix = str(manifest[0]["prefix"])
        return [(prefix, str(name)) for name in manifest[1:]]
    except S3_ERRORS as error:
        raise JobError(f"ClientError: Data download failed: {uri}: {error}") from error
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise JobError(
            f'ClientError: {uri} is not a manifest: [{{"prefix": "s3://..."}}, "name", ...]: {error}'
        ) from error


def gunzip(file: Path) -> Path:
    """Unpack a file in its place.

    :returns: it, without ``.gz`` if its name had that.
    :raises JobError: ClientError, if it is not gzip.
    """
    unpacked = file.with_name(f".{file.name}.unpacked")
    try:
        with gzip.open(file) as packed, unpacked.open("wb") as target:
            shutil.copyfileobj(packed, target)
    except (OSError, EOFError) as error:
        raise JobError(
            f"ClientError: {file.name} is not gzip, as its channel's CompressionType requires: {error}"
        ) from error
    file.unlink()
    return unpacked.replace(file.with_suffix("") if file.suffix == ".gz" else file)
