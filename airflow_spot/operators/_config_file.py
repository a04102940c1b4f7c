"""A config that stands in a JSON file, beside the DAG or in S3, as ``airflow-spot export`` writes it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from airflow_spot.core.locations import check_s3_uri
from airflow_spot.core.parameter_errors import InvalidParameterError, MissingFileError, kind_of
from airflow_spot.core.parameters import is_config_file
from airflow_spot.core.templates import is_template


def read_beside(config: Any, folder: Path) -> Any:
    """
    Read the file that a config names; what names none, or one that is known only at run time, is returned as it is.

    :param folder: of the DAG's file, which a relative path starts from.
    :raises InvalidParameterError: there is no such file, or it is no JSON object.
    """
    if not is_config_file(config) or is_template(config) or config.startswith("s3://"):
        return config
    path = folder / config
    try:
        text = path.read_bytes()
    except OSError as error:
        raise MissingFileError("config", config, f"there is no file {path} ({error.strerror})") from None
    return _parsed(config, text)


def read_rendered(config: Any, folder: Path, connect: Callable[[], Any]) -> Any:
    """
    Read the file that a rendered config names, in S3 too.

    :param connect: gives boto3's client for S3.
    :raises InvalidParameterError: as :func:`read_beside`.
    :raises ClientError: S3 does not give it.
    """
    if not is_config_file(config) or not config.startswith("s3://"):
        return read_beside(config, folder)
    bucket, _, key = check_s3_uri("config", config).removeprefix("s3://").partition("/")
    return _parsed(config, connect().get_object(Bucket=bucket, Key=key)["Body"].read())


def _parsed(config: str, text: bytes) -> dict[str, Any]:
    try:
        read = json.loads(text)
    except ValueError as error:
        # Without what stands there, which may be a secret.
        place = f", line {error.lineno}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        raise InvalidParameterError("config", config, f"the file is not JSON{place}") from None
    if not isinstance(read, dict):
        raise InvalidParameterError("config", config, f"the file must hold a JSON object, and holds {kind_of(read)}")
    return read
