"""One list of a checkpoint folder, as a value: what of it may be checkpoints, and what is not known to be."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from airflow_spot.core.run_marker import MARKER_NAME

#: One list of S3 shows so many objects. A folder that has more is not judged.
LOOK_LIMIT = 1000
#: What the library for scripts writes beside its checkpoints (PROGRESS_NAME of airflow_spot.checkpoint).
SCRIPT_PROGRESS_NAME = "airflow-spot-progress.json"
#: And what a function of ``@task.sagemaker_spot`` returned (RESULT_NAME of airflow_spot.checkpoint.for_taskflow).
SCRIPT_RESULT_NAME = "airflow-spot-result.json"
#: Characters of a hash that stand for one state of an object.
MARK_LENGTH = 6
#: Names that scripts give to what is not written to its end. Some give them to checkpoints, too.
HALF_WRITTEN = (".tmp", ".temp", ".part", ".partial", ".incomplete", "~")
#: With those of what SageMaker puts beside checkpoints for itself (recorded).
UNFINISHED = (".sagemaker-uploading", ".sagemaker-uploaded", ".sagemaker-ignore", *HALF_WRITTEN)
#: What TensorBoard's writers, and Lightning's, put there by themselves, under another name in each start: nothing can
#: resume from it. Other logs are not known by their names: a script may keep its state in a metrics.csv.
_LOGS = re.compile(r"events\.out\.tfevents\..*|hparams\.yaml", re.S)


def is_named_otherwise(key: str) -> bool:
    """Return whether an object's name says that it is no checkpoint: a run's marker, a report, a known log."""
    name = key.rpartition("/")[2]
    return name in ("", MARKER_NAME, SCRIPT_PROGRESS_NAME, SCRIPT_RESULT_NAME) or _LOGS.fullmatch(name) is not None


def is_checkpoint(key: str, size: int) -> bool:
    """Return whether an object may be part of a checkpoint: no marker or known log, not empty, not half written."""
    return size > 0 and not is_named_otherwise(key) and not key.endswith(UNFINISHED)


def mark_of(key: str, size: int, etag: str) -> str:
    """Return six characters for one state of an object: another key, size or ETag gives others."""
    made = hashlib.blake2b(f"{key}\n{size}\n{etag}".encode(errors="surrogatepass"), digest_size=5).digest()
    return base64.urlsafe_b64encode(made).decode()[:MARK_LENGTH]


#: What the library for scripts calls its checkpoints (_MANIFEST and _DATA of airflow_spot.checkpoint): by their steps.
_OF_STEP = re.compile(r"(?:^|/)step-(\d{12})-[0-9a-f]{12}\.(?:json|data)(?:/|$)")


def step_of(key: str) -> int | None:
    """Return the step of a checkpoint that the library for scripts wrote; None of any other object."""
    found = _OF_STEP.search(key)
    return int(found.group(1)) if found else None


#: What is written within so many seconds of one another is one checkpoint: it may have many files.
TOGETHER_SECONDS = 5.0
#: Moments that a look tells of at most, the newest.
MOMENTS_TOLD = 100


@dataclass(frozen=True)
class FolderLook:
    """
    What one list of a checkpoint folder shows.

    :param at: when it was looked.
    :param objects: when each was written, by its mark; only what may be part of a checkpoint.
    :param steps: of the objects whose names tell it, by mark.
    :param doubtful: when the newest was written that has the name of a half-written file; None where there is none.
        It counts for nothing: a name does not prove that a start left something, nor that it left nothing.
    :param problem: why it does not show the folder, or not all of it; empty where it does.
    """

    at: datetime
    objects: Mapping[str, datetime] = field(default_factory=dict)
    doubtful: datetime | None = None
    problem: str = ""
    steps: Mapping[str, int] = field(default_factory=dict)

    def new_since(self, seen: Iterable[str]) -> tuple[tuple[datetime, int | None], ...]:
        """
        Return when checkpoints were written that looks before this one did not show, and of which step; oldest first.

        :param seen: the marks of what was there.
        """
        known = set(seen)
        found: list[tuple[datetime, int | None]] = []
        new = ((moment, self.steps.get(mark)) for mark, moment in self.objects.items() if mark not in known)
        for moment, step in sorted(new, key=lambda one: one[0]):
            at, of = found[-1] if found else (moment, None)
            near = bool(found) and (moment - at).total_seconds() <= TOGETHER_SECONDS
            if near and (step is None or of is None or step == of):
                found[-1] = (moment, of if step is None else step)
            else:
                found.append((moment, step))
        return tuple(found[-MOMENTS_TOLD:])

    @classmethod
    def of(cls, items: Iterable[Mapping[str, Any]], at: datetime, *, more: bool = False) -> FolderLook:
        """
        Read it from what ListObjectsV2 returned.

        :param more: the folder has more objects than the list.
        """
        if more:
            return cls(at, problem=f"it has more than {LOOK_LIMIT:,} objects")
        items = tuple(items)
        named = [item["LastModified"] for item in items if item["Size"] > 0 and item["Key"].endswith(HALF_WRITTEN)]
        objects, steps = {}, {}
        for item in items:
            if is_checkpoint(item["Key"], item["Size"]):
                mark = mark_of(item["Key"], item["Size"], str(item.get("ETag")))
                objects[mark] = item["LastModified"]
                if (step := step_of(item["Key"])) is not None:
                    steps[mark] = step
        return cls(at, objects, max(named, default=None), steps=steps)
