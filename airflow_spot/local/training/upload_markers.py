"""What SageMaker's upload of checkpoints leaves in the folder, and what it leaves out.

- ``<file>.sagemaker-uploading`` is there while a file is uploaded, ``<file>.sagemaker-uploaded`` from then on: empty
  files [T], which AWS's XGBoost container looks for before it deletes a checkpoint [S]. A file that has changed loses
  the second for as long as it is uploaded again, and one that is deleted takes both with it [A].
- They are not uploaded themselves, and no new instance begins with them [A].
- ``*.sagemaker-ignore``, a file or a folder, is not uploaded: AWS's containers write under such a name and rename [S].
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path, PurePosixPath

UPLOADING = ".sagemaker-uploading"
UPLOADED = ".sagemaker-uploaded"
IGNORED = ".sagemaker-ignore"


def is_marker(key: str) -> bool:
    """Return whether a file says how far another one's upload is."""
    return key.endswith((UPLOADING, UPLOADED))


def is_left_out(key: str) -> bool:
    """Return whether a file of the folder, or a file in one of its folders, is never uploaded."""
    return is_marker(key) or any(part.endswith(IGNORED) for part in PurePosixPath(key).parts)


def begin(path: Path) -> None:
    """Show that a file is being uploaded."""
    _remove(path, UPLOADED)
    _make(path, UPLOADING)


def end(path: Path) -> None:
    """Show that a file has been uploaded. At no moment is it neither."""
    _make(path, UPLOADED)
    _remove(path, UPLOADING)


def drop(path: Path) -> None:
    """Show nothing of a file: it is gone."""
    _remove(path, UPLOADING)
    _remove(path, UPLOADED)


def _make(path: Path, suffix: str) -> None:
    # The folder is the script's: it may be gone, and what has the name may be a link to anywhere, or a pipe.
    flags = os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with contextlib.suppress(OSError):
        os.close(os.open(f"{path}{suffix}", flags, 0o644))


def _remove(path: Path, suffix: str) -> None:
    with contextlib.suppress(OSError):
        Path(f"{path}{suffix}").unlink()
