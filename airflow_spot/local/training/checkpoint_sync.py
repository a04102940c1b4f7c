"""Checkpoints between a job's directory and S3.

Guarantees, which the audit log proves:

- A start begins with every object that is below the prefix, byte for byte, before the job's process exists.
- An object is replaced as a whole: a file is copied aside first and uploaded only if it did not change meanwhile.
- There is one writer: uploads stop before the instance counts as gone, and a later start comes only after that.
- What cannot be uploaded costs neither the job nor the other files, and deletes nothing from S3.
- Beside a file is what SageMaker puts there: see :mod:`airflow_spot.local.training.upload_markers`.
"""

from __future__ import annotations

import logging
import os
import shutil
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from airflow_spot.local.aws.s3 import S3_ERRORS, S3Uri, download, objects, safe_join, upload
from airflow_spot.local.errors import JobError
from airflow_spot.local.storage.audit import Audit
from airflow_spot.local.training import upload_markers

log = logging.getLogger(__name__)

FINAL_TRIES = 5
RETRY_SECONDS = 0.2


@dataclass(frozen=True)
class _Version:
    """What distinguishes two versions of a file without reading them."""

    inode: int
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, path: Path) -> _Version:
        """Return that of a file.

        :raises OSError: if it is no regular file, or cannot be asked.
        """
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise OSError("it is not a regular file")
        return cls(found.st_ino, found.st_size, found.st_mtime_ns)


class CheckpointSync:
    """One host's checkpoint folder during one start of a job. Not thread-safe: its job's scheduler alone calls it.

    :param s3: a boto3 client.
    :param uri: CheckpointConfig.S3Uri; hosts share it.
    :param folder: the host's path of CheckpointConfig.LocalPath.
    :param scratch: for copies, outside of what the job sees.
    :param facts: what goes into each line of the audit log: job, host and start.
    :param warn: called once for each path that cannot be uploaded, for the job's log.
    :param markers: whether there is somebody who can see the files beside a checkpoint.
    """

    def __init__(
        self,
        s3: Any,
        uri: str,
        folder: Path,
        *,
        scratch: Path,
        audit: Audit,
        facts: dict[str, Any],
        warn: Callable[[str], None] = log.warning,
        markers: bool = True,
    ) -> None:
        self._s3 = s3
        self._target = S3Uri.parse(uri)
        self._folder = folder
        self._copy = scratch / "checkpoint-upload"
        self._audit = audit
        self._facts = {**facts, "uri": uri}
        self._known: dict[str, _Version] = {}
        self._warn = warn
        self._refused: set[str] = set()
        self._markers = markers

    def restore(self) -> int:
        """Download everything.

        :returns: how many files there are.
        :raises JobError: ClientError, if S3 refuses.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        prefix = self._target.folder
        restored = 0
        try:
            for item in objects(self._s3, self._target.bucket, prefix):
                key = item.key[len(prefix) :]
                if upload_markers.is_marker(key):
                    continue
                path = safe_join(self._folder, key)
                download(self._s3, self._target.bucket, item.key, path)
                # What is never uploaded is not deleted either.
                if not upload_markers.is_left_out(key):
                    self._known[key] = _Version.of(path)
                restored += 1
                self._record("restore", key, item.size, item.etag, path.stat().st_mtime)
        except S3_ERRORS as error:
            raise JobError(f"ClientError: checkpoints cannot be read from {self._target}: {error}") from error
        return restored

    def sync(self, *, final: bool = False) -> bool:
        """Upload what has changed, oldest first, then delete what has gone.

        :param final: the job's process has ended; try again if S3 fails.
        :returns: whether S3 now has what the folder has.
        """
        for attempt in range(FINAL_TRIES if final else 1):
            try:
                if self._sync_once(self._markers and not final) or not final:
                    return True
            except S3_ERRORS as error:
                log.warning("checkpoints of %s: %s", self._facts.get("job"), error)
                if final:
                    time.sleep(RETRY_SECONDS * (attempt + 1))
        return False

    def _sync_once(self, markers: bool) -> bool:
        settled = True
        present, unreadable = self._files()
        for version, key, path in sorted(present, key=lambda entry: (entry[0].mtime_ns, entry[1])):
            if self._known.get(key) != version:
                settled = self._upload(key, path, version, markers) and settled
        gone = self._known.keys() - {key for _, key, _ in present}
        for key in sorted(key for key in gone if not _is_within(key, unreadable)):
            self._s3.delete_object(Bucket=self._target.bucket, Key=self._target.folder + key)
            del self._known[key]
            upload_markers.drop(self._folder / key)
            self._record("delete", key, 0, None, None)
        return settled

    def _files(self) -> tuple[list[tuple[_Version, str, Path]], set[str]]:
        """Return the files that there are, and the keys of what cannot be uploaded, folders among them."""
        found, unreadable = [], set()

        def refuse(path: Path, error: Exception) -> None:
            if isinstance(error, FileNotFoundError) and not path.is_symlink():
                return
            key = path.relative_to(self._folder).as_posix()
            if not upload_markers.is_left_out(key):
                unreadable.add(key)
                self._refuse(key, error)

        for folder, folders, names in os.walk(
            self._folder, onerror=lambda error: refuse(Path(os.fsdecode(error.filename)), error)
        ):
            for path in (Path(folder) / name for name in folders):
                if path.is_symlink():
                    # What it leads to may be without end, or not the job's.
                    refuse(path, OSError("it is a link to a folder"))
            for path in (Path(folder) / name for name in names):
                key = path.relative_to(self._folder).as_posix()
                if upload_markers.is_left_out(key):
                    continue
                try:
                    key.encode()
                    found.append((_Version.of(path), key, path))
                except (OSError, UnicodeEncodeError) as error:
                    refuse(path, error)
        return found, unreadable

    def _upload(self, key: str, path: Path, version: _Version, markers: bool) -> bool:
        if markers:
            upload_markers.begin(path)
        try:
            shutil.copyfile(path, self._copy)
            if _Version.of(path) != version:
                return False
        except OSError as error:
            upload_markers.drop(path)
            if not isinstance(error, FileNotFoundError):
                self._refuse(key, error)
            return False
        etag = upload(self._s3, self._copy, f"s3://{self._target.bucket}/{self._target.folder}{key}")
        self._known[key] = version
        self._record("upload", key, version.size, etag, version.mtime_ns / 1e9)
        self._copy.unlink()
        if markers:
            upload_markers.end(path)
        return True

    def _refuse(self, key: str, error: Exception) -> None:
        if key not in self._refused:
            self._refused.add(key)
            # Quoted: what is no text in a name would be none in the log either.
            why = error.strerror or str(error) if isinstance(error, OSError) else "its name is not UTF-8"
            self._warn(f"Checkpoint {key!r} is not uploaded: {why}")

    def _record(self, action: str, key: str, size: int, etag: str | None, mtime: float | None) -> None:
        self._audit.write("checkpoint", action=action, key=key, size=size, etag=etag, mtime=mtime, **self._facts)


def _is_within(key: str, folders: set[str]) -> bool:
    """Return whether a key is one of these, or lies in one; ``.`` has them all."""
    return key in folders or not folders.isdisjoint(str(parent) for parent in PurePosixPath(key).parents)
