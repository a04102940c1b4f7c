"""What a job carries so that SageMaker is the ledger: marks in its Environment, and tags. See decision 0001."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_spot.core.identity import RunIdentity, short_hash
from airflow_spot.core.roles import Role
from airflow_spot.core.stop_reasons import StopReason

# DescribeTrainingJob returns the Environment and not the tags, so what makes a job ours stands there.
ENV_PREFIX = "AIRFLOW_SPOT_"
ENV_RUN = "AIRFLOW_SPOT_RUN"
#: For the script: the same in all attempts of a generation, so that they are one run of MLflow or Experiments.
ENV_RUN_ID = "AIRFLOW_SPOT_RUN_ID"
ENV_GENERATION = "AIRFLOW_SPOT_GENERATION"
ENV_ATTEMPT = "AIRFLOW_SPOT_ATTEMPT"
ENV_RUNG = "AIRFLOW_SPOT_RUNG"
ENV_TRY = "AIRFLOW_SPOT_TRY"
ENV_FINGERPRINT = "AIRFLOW_SPOT_FINGERPRINT"
ENV_ROLE = "AIRFLOW_SPOT_ROLE"
ENV_WHY = "AIRFLOW_SPOT_WHY"
ENV_MEMBER = "AIRFLOW_SPOT_MEMBER"

TAG_PREFIX = "airflow-spot:"
TAG_DAG = "airflow-spot:dag"
TAG_RUN = "airflow-spot:run"
TAG_TASK = "airflow-spot:task"
TAG_MAP_INDEX = "airflow-spot:map-index"
TAG_OWNER = "airflow-spot:owner"
TAG_STOP = "airflow-spot:stop"
TAG_DELIVERED = "airflow-spot:delivered"
TAG_ROLE = "airflow-spot:role"
TAG_REQUEST = "airflow-spot:request"

#: How many tags and Environment entries of SageMaker's 50 and 100 the package needs for itself.
TAGS_USED = 9
ENVIRONMENT_USED = 10

TAG_VALUE_LIMIT = 256
#: What SageMaker takes of an Environment value, in characters.
ENVIRONMENT_VALUE_LIMIT = 512
_CUT = "=="  # never occurs in an encoded value, so a cut one shows
_SCRIPT = ("sagemaker_program", "sagemaker_submit_directory")


@dataclass(frozen=True)
class StopMark:
    """
    Why we stop a job, written before StopTrainingJob: else our own stop would read as a person's after a crash.

    :param reason: a :class:`StopReason`, or the word of a newer version.
    """

    reason: str
    try_number: int

    @property
    def withdrawn(self) -> bool:
        """Whether a later try took it back: the stop that it announced never came."""
        return self.reason == StopReason.WITHDRAWN

    def __str__(self) -> str:
        return f"{self.reason} {self.try_number}"

    @classmethod
    def parse(cls, text: str | None) -> StopMark | None:
        """Read a mark; None where there is none or it is not ours."""
        match = re.fullmatch(r"([a-z-]+) (\d+)", text or "")
        return cls(match[1], int(match[2])) if match else None


@dataclass(frozen=True)
class RequestMark:
    """
    What a person asks of a run, set before a marked stop: whoever decides next reads it, once.

    :param what: ``next-rung`` or ``on-demand``.
    :param attempt: the number of the attempt that it was asked of; it says nothing to any other.
    """

    what: str
    attempt: int

    def __str__(self) -> str:
        return f"{self.what} {self.attempt}"

    @classmethod
    def parse(cls, text: str | None) -> RequestMark | None:
        """Read a mark; None where there is none or it is not ours."""
        match = re.fullmatch(r"([a-z-]+) (\d+)", text or "")
        return cls(match[1], int(match[2])) if match else None


def reason_text(why: str) -> str:
    """Return why a job is created as an Environment value: on one line, cut between characters."""
    text = " ".join(why.split())
    return text if len(text) <= ENVIRONMENT_VALUE_LIMIT else f"{text[: ENVIRONMENT_VALUE_LIMIT - 1]}…"


def encode_tag(text: str) -> str:
    """
    Write any text as a legal tag value: ``=`` and two hex digits stand for each byte that AWS does not take.

    Text too long for a tag is cut, and ends in ``==`` and a hash of the whole.
    """
    parts = [
        char if re.fullmatch(r"[A-Za-z0-9_.:/+@ -]", char) else "".join(f"={b:02X}" for b in char.encode())
        for char in text
    ]
    whole = "".join(parts)
    if len(whole) <= TAG_VALUE_LIMIT:
        return whole
    kept = ""
    for part in parts:
        if len(kept) + len(part) > TAG_VALUE_LIMIT - len(_CUT) - 8:
            break
        kept += part
    return f"{kept}{_CUT}{short_hash(text)}"


def decode_tag(value: str) -> str:
    """Read what :func:`encode_tag` wrote; a cut text comes back as far as it goes, with an ellipsis."""
    value, cut, _ = value.partition(_CUT)
    raw = re.sub(rb"=([0-9A-F]{2})", lambda match: bytes.fromhex(match[1].decode()), value.encode())
    return raw.decode(errors="replace") + ("…" if cut else "")


def run_tags(run: RunIdentity, owner: int, role: Role = Role.ATTEMPT) -> list[dict[str, str]]:
    """Make the tags that a job of a run is created with."""
    values = {
        TAG_DAG: encode_tag(run.dag_id),
        TAG_RUN: encode_tag(run.run_id),
        TAG_TASK: encode_tag(run.task_id),
        TAG_MAP_INDEX: str(run.map_index),
        TAG_OWNER: str(owner),
        TAG_ROLE: str(role),
    }
    return [{"Key": key, "Value": value} for key, value in values.items()]


def task_of(tags: Mapping[str, str]) -> dict[str, Any]:
    """Name the task instance of a job by its tags, as its ids; "?" where they may not be read."""
    index = tags.get(TAG_MAP_INDEX, "-1")
    return {
        "dag_id": decode_tag(tags.get(TAG_DAG, "?")),
        "run_id": decode_tag(tags.get(TAG_RUN, "?")),
        "task_id": decode_tag(tags.get(TAG_TASK, "?")),
        "map_index": int(index) if index.lstrip("-").isdecimal() else -1,
    }


def tag_map(tags: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Turn the list that ListTags returns into a mapping."""
    return {tag["Key"]: tag["Value"] for tag in tags}


def fingerprint(request: Mapping[str, Any]) -> str:
    """
    Sum up what makes a training the same: image, script, hyperparameters, channels; not name, times, instance.

    :return: a short hash for each, so that a difference can be named.
    """
    given = request.get("HyperParameters") or {}
    parts = {
        "image": request.get("AlgorithmSpecification"),
        # The name of the script's archive holds the hash of its content.
        "script": {name: value for name, value in given.items() if name in _SCRIPT},
        "hyperparameters": {name: value for name, value in given.items() if not name.startswith("sagemaker_")},
        "channels": request.get("InputDataConfig"),
    }
    return " ".join(f"{name}:{short_hash(value)}" for name, value in parts.items())


def changed_fields(ours: str, theirs: str) -> list[str]:
    """Name the parts in which two fingerprints differ."""
    mine, other = (dict(part.split(":", 1) for part in text.split() if ":" in part) for text in (ours, theirs))
    return [name for name in mine if mine[name] != other.get(name)]
