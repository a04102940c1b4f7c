"""Checkpoints: a file a round, ``xgboost-checkpoint.N``, of which the newest five stay [S].

So does the container up to 1.2. From 1.3 on its source hands XGBoost's own callback an interval of 0 rounds and so
writes one file, after the first, by a name that it does not look for [S]: what is here is what AWS documents, that
the built-in XGBoost resumes from its newest checkpoint [D].
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

NAME = "xgboost-checkpoint"
KEPT = 5


def newest(folder: Path) -> tuple[bytearray | None, int]:
    """Return the newest checkpoint, as XGBoost loads it, and how many rounds are in it; None and 0 if there is none."""
    rounds = _numbers(folder)
    if not rounds:
        return None, 0
    return bytearray(_path(folder, rounds[-1]).read_bytes()), rounds[-1] + 1


def save(folder: Path, booster: Any, number: int) -> None:
    """Save the state after a round, whole or not at all, and let the oldest go.

    :param number: the round's, from 0.
    """
    # Beside the folder: what is in it is uploaded as it is.
    part = folder.parent / f".{folder.name}.part"
    part.write_bytes(booster.save_raw("ubj"))
    part.replace(_path(folder, number))
    for old in _numbers(folder)[:-KEPT]:
        _path(folder, old).unlink()


def _numbers(folder: Path) -> list[int]:
    names = (re.fullmatch(rf"{NAME}\.(\d+)", path.name) for path in folder.iterdir())
    return sorted(int(match[1]) for match in names if match)


def _path(folder: Path, number: int) -> Path:
    return folder / f"{NAME}.{number}"
