"""Who a run is: its key, the names of its jobs, its place in S3. Settled: see docs/decisions/0001-identity.md."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import unicodedata
from dataclasses import dataclass, field
from datetime import datetime

from airflow_spot.core.parameter_errors import InvalidParameterError
from airflow_spot.core.roles import Role

#: In every job name, so that one ``NameContains`` finds all jobs of this package in an account.
MARKER = "afspot"
NAME_LIMIT = 63
#: Of the job names of a task whose id holds no letter or digit that a name may.
DEFAULT_PREFIX = "training"
KEY_LENGTH = 10

_NAME = re.compile(
    rf"(?P<prefix>[a-zA-Z0-9](?:-*[a-zA-Z0-9])*)-{MARKER}-(?P<key>[a-z2-7]{{{KEY_LENGTH}}})"
    rf"-(?P<generation>[1-9]\d*)-(?P<role>[{''.join(role.letter for role in Role)}]?)(?P<number>[1-9]\d*)"
)
#: The longest that is kept of an id in a folder's name; a hash of the whole id follows.
_SEGMENT_LENGTH = 40


@dataclass(frozen=True)
class RunIdentity:
    """
    One logical training: one Airflow task instance over all its tries.

    :param namespace: tells apart two deployments that share an AWS account.
    :param dag_id: and the next three: the task instance.
    :param map_index: -1 where the task is not mapped.
    :param since: no job of it was created before; None where that is not known. It is no part of who the run is.
    """

    namespace: str
    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1
    since: datetime | None = field(default=None, compare=False, repr=False)

    @property
    def key(self) -> str:
        """Ten characters (50 bits) that stand for the run; JSON keeps ``("a", "bc")`` from ``("ab", "c")``."""
        parts = [self.namespace, self.dag_id, self.run_id, self.task_id, self.map_index]
        return _digest(json.dumps(parts, ensure_ascii=True), KEY_LENGTH)


@dataclass(frozen=True)
class JobName:
    """
    The name of a job of a run, known before the job exists.

    ``<prefix>-<marker>-<key>-<generation>-<attempt>``; of a probe ``...-<generation>-p<number>``.

    :param number: of the job among those of its role and generation: 1, 2, ...
    """

    prefix: str
    key: str
    generation: int
    number: int
    role: Role = Role.ATTEMPT

    def __str__(self) -> str:
        tail = f"-{MARKER}-{self.key}-{self.generation}-{self.role.letter}{self.number}"
        return self.prefix[: NAME_LIMIT - len(tail)].rstrip("-") + tail

    @classmethod
    def parse(cls, text: str) -> JobName | None:
        """Read a job name; None where the job is not one of ours."""
        match = _NAME.fullmatch(text)
        if match is None:
            return None
        role = Role.of_letter(match["role"])
        return cls(match["prefix"], match["key"], int(match["generation"]), int(match["number"]), role)


def name_filter(key: str) -> str:
    """What ``NameContains`` has to be to list every job of a run."""
    return f"{MARKER}-{key}-"


def run_id(key: str, generation: int) -> str:
    """Return the name of a generation of a run: it stands in the names of all its jobs."""
    return f"{name_filter(key)}{generation}"


def legal_prefix(text: str) -> str:
    """
    Make a job name's prefix of the user's ``TrainingJobName``, whatever it holds.

    :raises InvalidParameterError: nothing legal is left of it.
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    prefix = re.sub(r"[^a-zA-Z0-9]+", "-", plain).strip("-")
    if not prefix:
        raise InvalidParameterError("TrainingJobName", text, "must hold at least one letter a-z or digit")
    return prefix


def default_name(task_id: str) -> str:
    """Return what a task's jobs are called where the user does not: as the task, as far as its id can be a name."""
    try:
        legal_prefix(task_id)
    except InvalidParameterError:
        return DEFAULT_PREFIX
    return task_id


def run_folder(base: str, run: RunIdentity) -> str:
    """
    Return the folder below which all generations of a run keep their checkpoints, and which holds its marker.

    Different tasks and deployments never share a folder: each segment ends in a hash of the whole id.

    :param base: the folder below which it lies, an S3 URI.
    :return: an S3 URI without a slash at its end.
    """
    return "/".join((base.rstrip("/"), *map(_segment, (run.namespace, run.dag_id, run.task_id)), run.key))


def checkpoint_prefix(base: str, run: RunIdentity, generation: int, role: Role = Role.ATTEMPT) -> str:
    """
    Return where a generation of a run keeps its checkpoints.

    The generation is of fixed width: S3 matches by prefix, and ``g1`` would be one of ``g10``. A standby's folder is a
    sibling of it.

    :param base: the folder below which it lies, an S3 URI.
    :return: an S3 URI without a slash at its end, at most about 200 characters longer than the base.
    """
    return f"{run_folder(base, run)}/g{generation:04d}{role.letter}"


def checkpoint_base(folder: str, run: RunIdentity) -> str | None:
    """Return the base of a folder that :func:`checkpoint_prefix` made for a run; None where it made none such."""
    parent = folder.rstrip("/").rpartition("/")[0]
    tail = run_folder("", run)
    return parent.removesuffix(tail) if parent.endswith(tail) else None


def _segment(text: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", text)[:_SEGMENT_LENGTH]
    return f"{plain}-{_digest(text, 8)}"


def _digest(text: str, length: int) -> str:
    return base64.b32encode(hashlib.sha256(text.encode()).digest()).decode().lower()[:length]


def short_hash(value: object) -> str:
    """Eight characters that change when a JSON value does."""
    return _digest(json.dumps(value, sort_keys=True, default=str), 8)
