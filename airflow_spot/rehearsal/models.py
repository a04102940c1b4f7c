"""A model that a training left: what its files hold, and what a command of the user's says of it."""

from __future__ import annotations

import hashlib
import shlex
import subprocess
import tempfile
from pathlib import Path
from typing import IO, Any

ANSWER_SECONDS = 600
_COMPLAINT_CHARACTERS = 300


def read_model(
    archive: IO[bytes] | Any, command: str | None
) -> tuple[dict[str, tuple[str, int]], str | None, str | None]:
    """
    Return of each file of a ``model.tar.gz`` a digest and the size; what a command says of the model; why it does not.

    Times, owners and the order of the files do not count.

    :param archive: a stream.
    :param command: is run with the folder of the unpacked model as its last argument; its output is what it says.
    """
    from airflow_spot.local.aws.s3 import unpack

    with tempfile.TemporaryDirectory(prefix="airflow-spot-rehearsal-") as scratch:
        packed, folder = Path(scratch) / "model.tar.gz", Path(scratch) / "model"
        folder.mkdir()
        with packed.open("wb") as file:
            while chunk := archive.read(1 << 20):
                file.write(chunk)
        unpack(packed, folder)
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        found = {path.relative_to(folder).as_posix(): _digest(path) for path in files}
        answers, complaint = _ask(command, folder) if command else (None, None)
        return found, answers, complaint


def _digest(path: Path) -> tuple[str, int]:
    whole = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            whole.update(chunk)
    return whole.hexdigest(), path.stat().st_size


def _ask(command: str, folder: Path) -> tuple[str | None, str | None]:
    words = [*shlex.split(command), str(folder)]
    try:
        done = subprocess.run(  # noqa: S603 - the user's own command
            words, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=ANSWER_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, str(error)
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1:] or done.stdout.strip().splitlines()[-1:]
        return None, f"exit code {done.returncode}: {''.join(said)}"[:_COMPLAINT_CHARACTERS]
    # What it says of the model, not of where the model is.
    return done.stdout.replace(str(folder), "MODEL_DIR"), None
