"""What the SDK would send: CreateTrainingJob is held back, and uploads are kept until their keys are known."""

from __future__ import annotations

import hashlib
import posixpath
import re
import shutil
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from airflow_spot.core.sdk_request import Upload
from airflow_spot.core.sizes import human_bytes

#: Made by Python beside what is uploaded, and another on each machine.
_IGNORED = "__pycache__"
#: What is paid for: training, tuning, processing and the like.
_CREATES = re.compile(r"Create\w*Job(V\d)?")


class HeldBack(BaseException):
    """CreateTrainingJob was called. The SDKs' telemetry swallows it in places: whoever asks looks at what was kept."""


@dataclass
class Kept:
    """
    What the SDK has done.

    :ivar request: of CreateTrainingJob; None where it was not called.
    """

    folder: Path
    request: Mapping[str, Any] | None = None
    _files: dict[tuple[str, str], Path] = field(default_factory=dict)
    _senders: dict[tuple[str, str], Callable[[str], None]] = field(default_factory=dict)

    def keep(self, bucket: str, key: str, write: Callable[[Path], Any], send: Callable[[Path, str], Any]) -> None:
        """
        Keep a file for later.

        :param write: writes it to a path.
        :param send: uploads it from a path to a key.
        """
        if _IGNORED in key.split("/"):
            return
        path = self.folder / str(len(self._files))
        write(path)
        self._files[bucket, key] = path
        self._senders[bucket, key] = lambda new: send(path, new)

    def uploads(self) -> list[Upload]:
        """Return what is to be uploaded."""
        return [Upload(bucket, key, _digest(path)) for (bucket, key), path in self._files.items()]

    def digest(self) -> str:
        """Return a hash of all files by their names behind the job's: the same for the same files, at any time."""
        job = str((self.request or {}).get("TrainingJobName") or "/")
        named = sorted(f"{each.key.rpartition(job)[2]}\0{each.digest}\n" for each in self.uploads())
        return hashlib.sha256("".join(named).encode()).hexdigest()[:16]

    def send(self, keys: Mapping[tuple[str, str], str]) -> str:
        """Upload each file to its key, and say how many went where."""
        for (bucket, key), new in keys.items():
            self._senders[bucket, key](new)
        where = posixpath.commonpath([f"{bucket}/{new}" for (bucket, _), new in keys.items()])
        size = sum(path.stat().st_size for path in self._files.values())
        return f"uploaded {len(keys)} file{'' if len(keys) == 1 else 's'}, {human_bytes(size)}, to s3://{where}"


@contextmanager
def held_back(kept: Kept) -> Iterator[None]:
    """Keep what every boto3 client in this process would create and upload meanwhile, and send none of it."""
    from boto3.s3.transfer import S3Transfer
    from botocore.client import BaseClient

    # The one place that the calls of all clients pass, whatever made them.
    client: Any = BaseClient
    transfer: Any = S3Transfer
    call, begin, upload = client._make_api_call, transfer.__init__, transfer.upload_file
    clients: dict[int, Any] = {}

    def held_call(self: Any, operation: str, parameters: dict[str, Any]) -> Any:
        if operation == "CreateTrainingJob":
            kept.request = kept.request or parameters
            raise HeldBack
        if operation != "PutObject":
            return call(self, operation, parameters)
        more = {name: value for name, value in parameters.items() if name not in ("Body", "Key")}
        body = _bytes_of(parameters.get("Body", b""))

        def send(path: Path, key: str) -> None:
            call(self, operation, {**more, "Key": key, "Body": path.read_bytes()})

        kept.keep(parameters["Bucket"], parameters["Key"], lambda path: path.write_bytes(body), send)
        return {"ETag": '""'}

    def remembering(self: Any, client: Any = None, *args: Any, **more: Any) -> None:
        begin(self, client, *args, **more)
        clients[id(self)] = client

    def held_upload(
        self: Any, filename: str, bucket: str, key: str, callback: Any = None, extra_args: Any = None
    ) -> None:
        s3 = clients[id(self)]  # the transfer itself is closed by then

        def send(path: Path, new: str) -> None:
            s3.upload_file(str(path), bucket, new, ExtraArgs=extra_args)

        kept.keep(bucket, key, lambda path: shutil.copyfile(filename, path), send)

    client._make_api_call, transfer.__init__, transfer.upload_file = held_call, remembering, held_upload
    try:
        yield
    finally:
        client._make_api_call, transfer.__init__, transfer.upload_file = call, begin, upload


@contextmanager
def refusing() -> Iterator[list[str]]:
    """Refuse to create jobs of any kind meanwhile; the list has what was asked for."""
    from botocore.client import BaseClient

    client: Any = BaseClient
    call = client._make_api_call
    refused: list[str] = []

    def held_call(self: Any, operation: str, parameters: dict[str, Any]) -> Any:
        if _CREATES.fullmatch(operation):
            refused.append(operation)
            raise HeldBack
        return call(self, operation, parameters)

    client._make_api_call = held_call
    try:
        yield refused
    finally:
        client._make_api_call = call


def _bytes_of(body: Any) -> bytes:
    if isinstance(body, str):
        return body.encode()
    return bytes(body) if isinstance(body, (bytes, bytearray)) else bytes(body.read())


def _digest(path: Path) -> str:
    """Return a hash of a file; of an archive, of what is in it: the archive holds times."""
    whole = hashlib.sha256()
    if tarfile.is_tarfile(path):
        with tarfile.open(path) as archive:
            for member in sorted(archive.getmembers(), key=lambda each: each.name):
                content = archive.extractfile(member) if member.isfile() else None
                whole.update(f"{member.name}\0{member.mode & 0o100}\0{member.linkname}\0".encode())
                whole.update(content.read() if content is not None else b"")
        return whole.hexdigest()
    whole.update(path.read_bytes())
    return whole.hexdigest()
