"""A checkpoint folder as somebody else reads it: which checkpoints in it are whole. And how one is torn."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Whole:
    """
    A checkpoint that is as it was written.

    :param files: those that hold it, without what only names them.
    """

    step: int
    files: tuple[Path, ...]


#: Returns the whole checkpoints of a folder, oldest first.
Read = Callable[[Path], list[Whole]]


def of_library(folder: Path) -> list[Whole]:
    """Read what ``airflow_spot.checkpoint`` has written: a manifest that names files with their sizes and digests."""
    found = []
    for manifest in sorted(folder.glob("step-*.json")):
        data = manifest.with_suffix(".data")
        try:
            told = json.loads(manifest.read_text())
            named = {data / name if name else data: (size, digest) for name, (size, digest) in told["files"].items()}
        except ValueError:
            continue
        if all(_is(path, size, digest) for path, (size, digest) in named.items()):
            found.append(Whole(told["step"], tuple(named)))
    return found


def of_older_style(folder: Path) -> list[Whole]:
    """Read ``checkpoint-<epoch>.json``: whole where it is JSON."""
    found = []
    for path in folder.glob("checkpoint-*.json"):
        try:
            json.loads(path.read_text())
        except ValueError:
            continue
        found.append(Whole(int(re.findall(r"\d+", path.name)[0]), (path,)))
    return sorted(found, key=lambda each: each.step)


def tear(whole: Whole, drawn: random.Random) -> str:
    """Cut the largest file of a checkpoint, as an upload leaves it that was cut off; say which."""
    path = max(whole.files, key=lambda each: each.stat().st_size)
    size = drawn.randrange(path.stat().st_size)
    os.truncate(path, size)
    return f"{path.name} at {size} bytes"


def _is(path: Path, size: int, digest: str) -> bool:
    if not path.is_file():
        return False
    content = path.read_bytes()
    return len(content) == size and hashlib.sha256(content).hexdigest() == digest
