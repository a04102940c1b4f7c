"""S3's content on disk, for a service that is to come back: moto keeps it in memory only.

Kept: buckets, the latest content of each object, its content type and user metadata. Not kept: versions, tags, policies
and whatever else S3 has. An object that was uploaded in parts comes back with the ETag of one that was not.

Guarantee: an object whose upload was answered is on disk, whole, since it is written aside and renamed before the
answer goes out.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import unescape

from werkzeug.test import Client
from werkzeug.wrappers import Response

from airflow_spot.local.aws.moto import WsgiApp

CHANGES = frozenset(
    {
        "PutObject",
        "CopyObject",
        "CompleteMultipartUpload",
        "DeleteObject",
        "DeleteObjects",
        "CreateBucket",
        "DeleteBucket",
    }
)
SIGNED = {"Authorization": "AWS4-HMAC-SHA256 Credential=local/20000101/us-east-1/s3/aws4_request, Signature=local"}
"""moto checks no signature, but refuses private objects to unsigned requests."""


class S3Mirror:
    """Follows S3's changes into a folder. Thread-safe.

    :param folder: one folder per bucket below it, with two files per object.
    :param moto: the application that holds S3.
    """

    def __init__(self, folder: Path, moto: WsgiApp) -> None:
        self._folder = folder
        self._client = Client(moto, Response)
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def restore(self) -> int:
        """Fill S3 with what the folder has.

        :returns: how many objects there are.
        """
        count = 0
        for bucket in sorted(self._folder.iterdir()) if self._folder.is_dir() else ():
            self._client.put(f"/{bucket.name}", headers=SIGNED)
            for sidecar in sorted(bucket.glob("*.json")):
                facts = json.loads(sidecar.read_text(encoding="utf-8"))
                data = sidecar.with_suffix(".data").read_bytes()
                self._client.put(_path(bucket.name, facts["key"]), data=data, headers={**facts["headers"], **SIGNED})
                count += 1
        return count

    def follow(self, operation: str, bucket: str, key: str, body: bytes) -> None:
        """Take over one change that S3 has made.

        :param operation: one of ``CHANGES``.
        :param body: the request's, of DeleteObjects.
        """
        folder = self._folder / bucket
        with self._locks[bucket]:
            if operation == "CreateBucket":
                folder.mkdir(parents=True, exist_ok=True)
            elif operation == "DeleteBucket":
                if folder.is_dir():
                    folder.rmdir()
            elif operation == "DeleteObjects":
                for name in _keys(body):
                    self._take(folder, bucket, name)
            else:
                self._take(folder, bucket, key)

    def _take(self, folder: Path, bucket: str, key: str) -> None:
        """Make the two files of an object agree with what S3 has now, whichever change that was."""
        name = hashlib.sha256(key.encode()).hexdigest()
        data, sidecar = folder / f"{name}.data", folder / f"{name}.json"
        answer = self._client.get(_path(bucket, key), headers=SIGNED)
        if answer.status_code != 200:
            sidecar.unlink(missing_ok=True)
            data.unlink(missing_ok=True)
            return
        headers = {
            header: value
            for header, value in answer.headers.items()
            if header.lower().startswith("x-amz-meta-") or header.lower() == "content-type"
        }
        folder.mkdir(parents=True, exist_ok=True)
        for path, content in (
            (data, answer.get_data()),
            (sidecar, json.dumps({"key": key, "headers": headers}).encode()),
        ):
            partial = path.with_suffix(".new")
            partial.write_bytes(content)
            partial.replace(path)


def _path(bucket: str, key: str) -> str:
    return f"/{bucket}/{quote(key)}"


def _keys(body: bytes) -> Iterable[str]:
    text = body.decode("utf-8", "replace")
    return (unescape(match) for match in re.findall(r"<Key>(.*?)</Key>", text, re.DOTALL))


def buffer_body(environ: dict[str, Any]) -> bytes:
    """Read a request's body and leave it to be read again."""
    from io import BytesIO

    body: bytes = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = BytesIO(body)
    return body
