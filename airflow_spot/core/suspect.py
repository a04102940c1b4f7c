"""A checkpoint that may be damaged: a script failed straight after it was restored, which it had not done before."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from airflow_spot.core.attempt import Attempt
from airflow_spot.core.folder_look import SCRIPT_PROGRESS_NAME, SCRIPT_RESULT_NAME, is_checkpoint
from airflow_spot.core.history import History
from airflow_spot.core.outcomes import SCRIPT_OUTCOMES
from airflow_spot.core.run_marker import MARKER_NAME
from airflow_spot.core.starts import Start

#: A script that fails so many seconds after its start has hardly done more than read its checkpoint.
AT_ONCE_SECONDS = 60.0
#: S3 tells when an object was written in whole seconds.
_SECOND = timedelta(seconds=1)
#: What a name is without its endings: "ckpt-5" of "ckpt-5.data-00000-of-00001", "model-0.95" of "model-0.95.pt".
_ENDINGS = re.compile(r"(\.[A-Za-z][\w-]*)+$")
#: A name that counts checkpoints, as "checkpoint-500" and "epoch=3-step=90". Other numbers may be a run's.
_COUNTED = re.compile(r"(checkpoint|ckpt|step|epoch|iter|iteration|round|batch)[-_=. ]{0,2}\d", re.I)
#: Lightning's folder for all checkpoints of one start: no checkpoint.
_VERSION = re.compile(r"version_\d+")
#: Of ours, and beside each checkpoint.
_OURS = (MARKER_NAME, SCRIPT_PROGRESS_NAME, SCRIPT_RESULT_NAME)


@dataclass(frozen=True)
class StoredObject:
    """One object in a checkpoint folder: its key, its size in bytes, and when it was written."""

    key: str
    size: int
    written: datetime


@dataclass(frozen=True)
class StoredCheckpoint:
    """
    The newest checkpoint in a folder, as far as names tell what belongs together.

    :param newest: the object that was written last.
    :param objects: all that belong to it, by key.
    """

    newest: StoredObject
    objects: tuple[StoredObject, ...]


def restored_start(history: History, attempt: Attempt) -> Start | None:
    """
    Return the start that failed straight after a restore; None where the failure has another look.

    It follows an interruption, or a job that something else than the script ended: where the script itself failed
    before, the checkpoint is not what is new.
    """
    start = attempt.starts[-1] if attempt.starts else None
    if start is None or start.training is None or start.trained(attempt.ended) > AT_ONCE_SECONDS:
        return None
    if len(attempt.starts) > 1:
        return start
    before = [each for each in history.attempts if each.number < attempt.number and each.trained]
    return start if before and before[-1].outcome not in SCRIPT_OUTCOMES else None


def newest_checkpoint(objects: Iterable[StoredObject], folder: str) -> StoredCheckpoint | None:
    """
    Return the newest checkpoint; None where there is none.

    What belongs together: all in the outermost folder that is named by a step, as ``checkpoint-500/``; else the files
    beside each other that are, and whose names differ in their endings alone, as ``ckpt-5.index`` and
    ``ckpt-5.data-00000-of-00001``. Where no name tells of steps, any number counts likewise. What is empty belongs to
    it: a checkpoint that was cut off may be.

    :param folder: the key that all of them begin with, with a slash at its end.
    """
    there = [each for each in objects if each.key.rpartition("/")[2] not in _OURS]
    readable = [each for each in there if is_checkpoint(each.key, each.size or _size_of_empty(each.key))]
    if not readable:
        return None
    newest = max(readable, key=lambda each: (each.written, each.key))
    stem = _stem(newest.key, folder)
    return StoredCheckpoint(newest, tuple(each for each in there if _stem(each.key, folder) == stem))


def is_suspect(found: StoredCheckpoint, start: Start) -> bool:
    """Return whether a start read it and wrote nothing newer."""
    return start.training is not None and found.newest.written + _SECOND < start.training


def _size_of_empty(key: str) -> int:
    """Return 1 for an empty object that has the name of a checkpoint, and 0 for a mere sign, such as ``_SUCCESS``."""
    name = key.rpartition("/")[2]
    return int(_without_endings(name) != name or _has_digit(name))


def _stem(key: str, folder: str) -> str:
    """Return what the keys of one checkpoint have in common."""
    *folders, name = key[len(folder) :].split("/")
    counted = [place for place, each in enumerate((*folders, name)) if _COUNTED.search(each)]
    if not counted:
        counted = [place for place, each in enumerate(folders) if _has_digit(each) and not _VERSION.fullmatch(each)]
    if counted and counted[0] < len(folders):
        return "/".join([*folders[: counted[0]], _without_endings(folders[counted[0]])])
    stem = _without_endings(name)
    whole = name if stem == name or not _has_digit(stem) else stem
    return "/".join([*folders, whole])


def _has_digit(name: str) -> bool:
    return any(letter.isdigit() for letter in name)


def _without_endings(name: str) -> str:
    return _ENDINGS.sub("", name) or name
