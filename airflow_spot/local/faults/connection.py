"""Faults on the wire: what is done to a connection, and what S3 calls are named."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable
from typing import Any, NoReturn

from airflow_spot.local.faults.plan import Rule

_SUBRESOURCES = {
    "GET": {"list-type": "ListObjectsV2", "uploads": "ListMultipartUploads", "location": "GetBucketLocation"},
    "POST": {"delete": "DeleteObjects", "uploads": "CreateMultipartUpload", "uploadId": "CompleteMultipartUpload"},
}


#: What :func:`s3_operation` calls the calls that there are.
S3_OPERATIONS = frozenset(
    {
        *(name for names in _SUBRESOURCES.values() for name in names.values()),
        *("ListBuckets", "CreateBucket", "HeadBucket", "DeleteBucket", "PostBucket", "ListObjects"),
        *("GetObject", "PutObject", "CopyObject", "UploadPart", "HeadObject", "DeleteObject", "PostObject"),
    }
)


def s3_operation(environ: dict[str, Any]) -> tuple[str, str, str]:
    """Return the operation, bucket and key of an S3 request in path style: ``("PutObject", "bucket", "some/key")``."""
    # WSGI hands paths over as Latin-1, whatever they are.
    path = environ.get("PATH_INFO", "").encode("latin-1", "replace").decode("utf-8", "replace")
    bucket, _, key = path.lstrip("/").partition("/")
    method = environ.get("REQUEST_METHOD", "GET")
    query = {part.partition("=")[0] for part in environ.get("QUERY_STRING", "").split("&")}
    for name, operation in _SUBRESOURCES.get(method, {}).items():
        if name in query:
            return operation, bucket, key
    if method == "PUT" and key:
        if "partNumber" in query:
            return "UploadPart", bucket, key
        return ("CopyObject" if "HTTP_X_AMZ_COPY_SOURCE" in environ else "PutObject"), bucket, key
    verb = {"GET": "Get", "PUT": "Create", "HEAD": "Head", "DELETE": "Delete", "POST": "Post"}.get(method, method)
    if not key and method == "GET":
        return ("ListObjects" if bucket else "ListBuckets"), bucket, key
    return f"{verb}{'Object' if key else 'Bucket'}", bucket, key


def has(rules: Iterable[Rule], kind: str) -> bool:
    """Return whether one of the faults is of this kind."""
    return any(rule.kind == kind for rule in rules)


def cut(environ: dict[str, Any]) -> NoReturn:
    """End the connection without an answer.

    :raises ConnectionAbortedError: which the HTTP server takes for what it is.
    """
    connection: socket.socket = environ["werkzeug.socket"]
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    raise ConnectionAbortedError("cut by the fault plan")


def read_half(environ: dict[str, Any]) -> None:
    """Read the first half of the request's body."""
    length = int(environ.get("CONTENT_LENGTH") or 0)
    environ["wsgi.input"].read(max(1, length // 2) if length else 0)
