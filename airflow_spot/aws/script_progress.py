"""The file in which a training script says how far it is, read from S3."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow_spot.core.folder_look import SCRIPT_PROGRESS_NAME
from airflow_spot.core.locations import check_s3_uri
from airflow_spot.core.script_progress import SIZE_LIMIT, ScriptProgress


def read_report(connect: Callable[[], Any], uri: str) -> ScriptProgress | None:
    """
    Return what a script reported last; None where there is nothing, or it cannot be read. It raises nothing.

    :param connect: gives boto3's client for S3.
    :param uri: the checkpoint folder, an S3 URI.
    """
    try:
        bucket, _, prefix = check_s3_uri("uri", uri).removeprefix("s3://").partition("/")
        key = f"{prefix.rstrip('/')}/{SCRIPT_PROGRESS_NAME}".lstrip("/")
        answer = connect().get_object(Bucket=bucket, Key=key)
        return ScriptProgress.parse(answer["Body"].read(SIZE_LIMIT), answer["LastModified"])
    except Exception:  # a training is none the worse for it
        return None
