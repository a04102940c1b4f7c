"""Who a run is: its key, the names of its jobs, its place in S3. Settled: see docs/decisions/0001-identity.md."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import unicodedata
from dataclasses import dataclass

from airflow_spot.core.parameter_errors import InvalidParameterError

#: In every job name, so that one ``NameContains`` finds all jobs of this package in an account.
MARKER = "afspot"
NAME_LIMIT = 63
#: Of the job names of a task whose id holds no letter or digit that a name may.
DEFAULT_PREFIX = "training"
KEY_LENGTH = 10

_NAME = re.compile(
    rf"(?P<prefix>[a-zA-Z0-9](?:-*[a-zA-Z0-9])*)-{MARKER}-(?P<key>[a-z2-7]{{{KEY_LENGTH}}})"
    r"-(?P<generation>[1-9]\d*)-(?P<attempt>[1-9]\d*)"
)


@dataclass(frozen=True)
class RunIdentity:
    """
    One logical training: one Airflow task instance over all its tries.

    :param namespace: tells apart two deployments that share an AWS account.
    :param dag_id: and the next three: the task instance.
    :param map_index: -1 where the task is not mapped.
    """

    namespace: str
    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1

    @property
    def key(self) -> str:
        """Ten characters (50 bits) that stand for the run; JSON keeps ``("a", "bc")`` from ``("ab", "c")``."""
        parts = [self.namespace, self.dag_id, self.run_id, self.task_id, self.map_index]
        return _digest(json.dumps(parts, ensure_ascii=True), KEY_LENGTH)


@dataclass(frozen=True)
class JobName:
    """The name of an attempt, ``<prefix>-<marker>-<key>-<generation>-<attempt>``: known before the job exists."""

    prefix: str
    key: str
    generation: int
    attempt: int

    def __str__(self) -> str:
        tail = f"-{MARKER}-{self.key}-{self.generation}-{self.attempt}"
        return self.prefix[: NAME_LIMIT - len(tail)].rstrip("-") + tail

    @classmethod
    def parse(cls, text: str) -> JobName | None:
        """Read a job name; None where the job is not one of ours."""
        match = _NAME.fullmatch(text)
        if match is None:
            return None
        return cls(match["prefix"], match["key"], int(match["generation"]), int(match["attempt"]))


def name_filter(key: str) -> str:
    """What ``NameContains`` has to be to list every job of a run."""
    return f"{MARKER}-{key}-"


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
    """Say what a task's jobs are called where the user does not: as the task, as far as its id can be a name."""
    try:
        legal_prefix(task_id)
    except InvalidParameterError:
        return DEFAULT_PREFIX
    return task_id


def checkpoint_prefix(base: str, run: RunIdentity, generation: int) -> str:
    """
    Say where a generation of a run keeps its checkpoints.

    The generation is of fixed width: S3 matches by prefix, and ``g1`` would be one of ``g10``.

    :param base: the folder below which it lies, an S3 URI.
    :return: an S3 URI without a slash at its end, at most about 200 characters longer than the base.
    """
    folders = (_segment(run.dag_id), _segment(run.task_id), run.key, f"g{generation:04d}")
    return "/".join((base.rstrip("/"), *folders))


def _segment(text: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", text)[:60]
    return plain if plain.strip(".") else "_"  # "." and ".." are legal ids, and lead out of the folder


def _digest(text: str, length: int) -> str:
    return base64.b32encode(hashlib.sha256(text.encode()).digest()).decode().lower()[:length]


def short_hash(value: object) -> str:
    """Eight characters that change when a JSON value does."""
    return _digest(json.dumps(value, sort_keys=True, default=str), 8)
