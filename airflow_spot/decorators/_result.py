"""What a function returned: the small object that its job left in S3, read once the job has completed."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from airflow_spot.core.folder_look import SCRIPT_RESULT_NAME
from airflow_spot.core.identity import JobName

#: Of the object, with what says whose it is; the library that writes it allows the result a quarter of that.
MAX_BYTES = 1024 * 1024


class NoResultError(Exception):
    """There is no result of that job."""


def result_uri(description: Mapping[str, Any]) -> str:
    """Return where a job leaves its function's result: in its checkpoint folder, else in the archive of its output."""
    folder = (description.get("CheckpointConfig") or {}).get("S3Uri")
    if folder:
        return f"{str(folder).rstrip('/')}/{SCRIPT_RESULT_NAME}"
    output = str(description["OutputDataConfig"]["S3OutputPath"]).rstrip("/")
    return f"{output}/{description['TrainingJobName']}/output/output.tar.gz"


def read_result(client: Any, description: Mapping[str, Any]) -> Any:
    """
    Return what a completed job's function returned.

    :param client: of S3.
    :raises NoResultError: the job left none.
    """
    uri, name = result_uri(description), str(description["TrainingJobName"])
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    try:
        body = client.get_object(Bucket=bucket, Key=key)["Body"]
    except ClientError as error:
        if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
            raise NoResultError(f"there is no {uri}") from None
        raise
    with body:
        text = _unpacked(body) if uri.endswith(".tar.gz") else body.read(MAX_BYTES + 1)
    if text is None:
        raise NoResultError(f"{uri} has no {SCRIPT_RESULT_NAME} in it")
    if len(text) > MAX_BYTES:
        raise NoResultError(f"{uri} is larger than any result")
    return _of_job(text, JobName.parse(name), uri)


def _unpacked(body: Any) -> bytes | None:
    """Return the result's file from an archive, which is read no further than to it."""
    with tarfile.open(fileobj=body, mode="r|gz") as archive:
        for member in archive:
            if member.name.rpartition("/")[2] == SCRIPT_RESULT_NAME and member.isfile():
                file = archive.extractfile(member)
                return None if file is None else file.read(MAX_BYTES + 1)
    return None


def _of_job(text: bytes, job: JobName | None, uri: str) -> Any:
    try:
        said = json.loads(text)
        marks = tuple(str(said[name]) for name in ("run", "generation", "attempt"))
        result = said["result"]
    except (ValueError, KeyError, TypeError):
        raise NoResultError(f"{uri} is not what airflow_spot.checkpoint.for_taskflow writes") from None
    if job is None or marks != (job.key, str(job.generation), str(job.number)):
        raise NoResultError(f"{uri} is of another job")
    return result
