"""What the SageMaker SDK sends, made into a config: no times in its names, and code at a key by its content."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

#: What the SDKs put behind a base name: "-2026-11-28-12-59-26-458" (2.x) and "-20261128130010" (3.x).
_TIME = re.compile(r"-(\d{4}(-\d{2}){5}-\d{3}|\d{14})$")
#: Behind the names of profiler rules: seconds since 1970.
_SECONDS = re.compile(r"(?<=-)\d{10}$")
#: A hyperparameter of SDK 2 that is another in each job, and that containers take from their environment.
_JOB_NAME = "sagemaker_job_name"
#: What the exported code lies below.
_FOLDER = "code"


@dataclass(frozen=True)
class Upload:
    """A file that the SDK uploads: to which bucket and key, and a hash of its content."""

    bucket: str
    key: str
    digest: str


@dataclass(frozen=True)
class SdkRequest:
    """
    A request of the SDK as a task's config.

    :param config: CreateTrainingJob's parameters.
    :param keys: where each file is to lie: new key by bucket and the SDK's key.
    :param told: what was changed, and what still holds a time, a line each.
    """

    config: Mapping[str, Any]
    keys: Mapping[tuple[str, str], str]
    told: tuple[str, ...]


def base_name(job_name: str) -> str:
    """Return the name of a job without the time behind it."""
    return _TIME.sub("", job_name)


def as_config(request: Mapping[str, Any], uploads: Iterable[Upload], digest: str) -> SdkRequest:
    """
    Make a config of a request.

    Two exports of the same trainer give the same, so that a clear does not take it for a changed one.

    :param request: what CreateTrainingJob was called with.
    :param uploads: the files that were uploaded for it.
    :param digest: a hash of all of them, in whatever order.
    """
    job = str(request.get("TrainingJobName") or "")
    base = base_name(job)
    told = [f"TrainingJobName: {base}, without the time"] if base != job else []
    timed = re.compile(rf"({re.escape(base)}/)?{re.escape(job)}(?=/)") if job != base else None
    place = f"{base}/{_FOLDER}/{digest}"
    keys = {
        (each.bucket, each.key): timed.sub(lambda _: place, each.key, count=1) if timed else each.key
        for each in uploads
    }
    moved = [f"s3://{bucket}/{key}" for (bucket, key), new in keys.items() if new != key]

    def changed(value: Any, path: str) -> Any:
        if isinstance(value, Mapping):
            return {
                name: changed(inner, f"{path}.{name}" if path else name)
                for name, inner in value.items()
                if not (path == "HyperParameters" and name == _JOB_NAME)
            }
        if isinstance(value, (list, tuple)):
            return [changed(inner, f"{path}[{place}]") for place, inner in enumerate(value)]
        return changed_text(value, path) if isinstance(value, str) else value

    def changed_text(value: str, path: str) -> str:
        if path.endswith("RuleConfigurationName") and (bare := _SECONDS.sub("export", value)) != value:
            told.append(f"{path}: {bare}, without the time")
            return bare
        if timed is None or job not in value:
            return value
        if any(old.startswith(_uri_in(value)) for old in moved):
            return timed.sub(lambda _: place, value, count=1)
        # Not shown: a hyperparameter's value may be a secret.
        told.append(f"{path}: it still holds the job's name with its time: each export gives another")
        return value

    config = changed({name: value for name, value in request.items() if name != "TrainingJobName"}, "")
    if _JOB_NAME in (request.get("HyperParameters") or {}):
        told.append(f"HyperParameters.{_JOB_NAME}: left out: it is another in each job")
    return SdkRequest({"TrainingJobName": base, **config}, keys, tuple(told))


def _uri_in(value: str) -> str:
    """Return the URI in a value, which SDK 2 writes as JSON among the hyperparameters."""
    return value.strip('"')
