"""Which checkpoint folders may go: a choice from what S3 and SageMaker say, made without either."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from airflow_spot.core.identity import KEY_LENGTH
from airflow_spot.core.locations import check_s3_uri

_SEGMENT = r"[A-Za-z0-9._-]+-[a-z2-7]{8}"
_FOLDER = re.compile(rf"(?:{_SEGMENT}/){{3}}[a-z2-7]{{{KEY_LENGTH}}}/g\d{{4,}}s?")
_DEPTH = 5


@dataclass(frozen=True)
class CheckpointFolder:
    """
    The checkpoints of one generation of a run.

    :param uri: an S3 URI without a slash at its end.
    :param newest: when an object in it last changed.
    :param bytes: what its objects come to.
    :param more: it has more objects than were counted, as far as whoever counted would tell.
    """

    uri: str
    newest: datetime
    bytes: int
    objects: int
    more: bool = False

    @property
    def task(self) -> str:
        """The folder of its DAG and task."""
        return self.uri.rsplit("/", 2)[0]

    @property
    def key(self) -> str:
        """The key of its run."""
        return self.uri.rsplit("/", 2)[1]

    @property
    def run_folder(self) -> str:
        """The folder of its run, which holds the marker."""
        return self.uri.rsplit("/", 1)[0]


def folder_of(path: str) -> str | None:
    """
    Name the generation's folder that an object lies in.

    :param path: the object's key below the checkpoint base.
    :return: ``<namespace>/<dag>/<task>/<run key>/g<generation>``; None where the object is not of our layout.
    """
    parts = path.split("/")
    folder = "/".join(parts[:_DEPTH])
    return folder if len(parts) > _DEPTH and _FOLDER.fullmatch(folder) else None


def overlaps(one: str, other: str) -> bool:
    """Return whether two S3 URIs are one folder, or one lies in the other; ``g1`` does not lie in ``g10``."""
    first, second = (f"{uri.rstrip('/')}/" for uri in (one, other))
    return first.startswith(second) or second.startswith(first)


def to_delete(
    folders: Iterable[CheckpointFolder],
    in_use: Iterable[str],
    now: datetime,
    *,
    older_than: timedelta,
    keep_newest: int = 0,
) -> list[CheckpointFolder]:
    """
    Choose the folders that may go.

    :param in_use: S3 URIs that live jobs write to, or that are to stay for another reason.
    :param older_than: nothing in the folder has changed for so long.
    :param keep_newest: so many of each task's folders stay, whatever their age.
    :return: oldest first.
    """
    used = [uri for uri in in_use if uri]
    by_task: dict[str, list[CheckpointFolder]] = defaultdict(list)
    for folder in folders:
        by_task[folder.task].append(folder)
    chosen = [
        folder
        for of_task in by_task.values()
        for folder in sorted(of_task, key=lambda one: (one.newest, one.uri), reverse=True)[max(0, keep_newest) :]
        if now - folder.newest > older_than and not any(overlaps(folder.uri, uri) for uri in used)
    ]
    return sorted(chosen, key=lambda one: (one.newest, one.uri))


def lifecycle_configuration(base: str, days: int) -> dict[str, object]:
    """
    Make an S3 lifecycle configuration that lets checkpoints expire. S3 knows nothing of live jobs.

    :param base: the checkpoint base, an S3 URI with a prefix: a rule for a whole bucket would take all that is in it.
    :param days: after the last change of each file, not of the folder; longer than any run.
    :raises InvalidParameterError: the base is no S3 URI.
    :raises ValueError: it has no prefix, or days is below 1.
    """
    prefix = check_s3_uri("--base", base).removeprefix("s3://").partition("/")[2].strip("/")
    if not prefix:
        raise ValueError(f"--base {base}: name a folder in the bucket, or the rule would delete all that is in it")
    if days < 1:
        raise ValueError(f"--older-than: S3 counts in whole days; give at least 1d, not {days}d")
    return {
        "Rules": [
            {
                "ID": "airflow-spot-checkpoints",
                "Status": "Enabled",
                "Filter": {"Prefix": f"{prefix}/"},
                "Expiration": {"Days": days},
                "NoncurrentVersionExpiration": {"NoncurrentDays": 1},
                "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": min(days, 7)},
            }
        ]
    }
