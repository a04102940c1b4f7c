"""Checks of places that users name: S3 URIs and queues."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from airflow_spot.core.parameter_errors import InvalidParameterError


def check_s3_uri(field: str, uri: Any) -> str:
    """
    Check that text is an S3 URI with a legal bucket.

    :raises InvalidParameterError: it is not.
    """
    if not re.fullmatch(r"s3://[a-zA-Z0-9][a-zA-Z0-9.\-_]{1,253}[a-zA-Z0-9](/.*)?", str(uri)):
        raise InvalidParameterError(field, uri, f"{_wrong_with(str(uri))}must be an S3 URI: s3://bucket/prefix")
    return str(uri)


def _wrong_with(uri: str) -> str:
    """Return what is wrong with the bucket of an S3 URI, to begin a sentence with; empty where it has none."""
    bucket = uri.removeprefix("s3://").partition("/")[0] if uri.startswith("s3://") else ""
    if not bucket:
        return ""
    if len(bucket) < 3:
        return f"the bucket's name {bucket!r} is too short, S3's have at least 3 characters: "
    if len(bucket) > 255:
        return "the bucket's name is too long: "
    return f"{bucket!r} cannot be a bucket's name, of letters, digits, . _ and - in between: "


def check_queue_url(field: str, value: Any) -> str:
    """
    Check the URL of a queue.

    :raises InvalidParameterError: it is none, such as the queue's name or ARN.
    """
    if not isinstance(value, str) or not re.fullmatch(r"https?://[^/\s]+/\S+", value):
        raise InvalidParameterError(
            field, value, "must be the URL of an SQS queue, as https://sqs.<region>.amazonaws.com/..."
        )
    return value


def is_loopback(host: str) -> bool:
    """Return whether a host name or address is this machine's own."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() in ("localhost", "localhost.localdomain")


def lies_in(inner: str, outer: str) -> bool:
    """Return whether a folder is another one or lies in it; both are S3 URIs."""
    return f"{inner.rstrip('/')}/".startswith(f"{outer.rstrip('/')}/")
