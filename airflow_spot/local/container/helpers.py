"""What the containers of processing jobs and of models have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow_spot.local.aws.moto import Aws
from airflow_spot.local.aws.s3 import S3_ERRORS, upload
from airflow_spot.local.container.container import Container, Containers, OptMl
from airflow_spot.local.errors import JobError


def environment(
    containers: Containers, aws: Aws, opt_ml: OptMl, region: str, given: dict[str, str], first: str | None = None
) -> dict[str, str]:
    """Return the variables of a container: a bare system's, AWS's, then what the request gives.

    :param first: a folder that comes before all others in PATH.
    """
    return {
        **containers.base_environment(opt_ml, first),
        **aws.environment,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        **given,
    }


def relocated(opt_ml: OptMl, words: list[str]) -> list[str]:
    """Return command words with paths below ``/opt/ml`` as the process has to call them."""
    return [opt_ml.see(word) if word == "/opt/ml" or word.startswith("/opt/ml/") else word for word in words]


def end(container: Container, grace_seconds: float) -> None:
    """Send SIGTERM and, after ``grace_seconds``, SIGKILL; return when nothing of the container is left."""
    container.terminate()
    if container.wait(grace_seconds) is None:
        container.kill()
        container.wait(30)


def upload_folder(s3: Any, folder: Path, uri: str) -> None:
    """Upload all files of a folder below an S3 URI.

    :raises JobError: ClientError, if S3 refuses.
    """
    prefix = uri.rstrip("/")
    try:
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            upload(s3, file, f"{prefix}/{file.relative_to(folder).as_posix()}")
    except S3_ERRORS as error:
        raise JobError(f"ClientError: results cannot be written to {uri}: {error}") from error
