"""What is checked: the requests of a run, one a rung, and what of AWS they name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from airflow_spot.core.placement import Placement
from airflow_spot.core.plan import Plan
from airflow_spot.core.spot_rules import DEFAULT_MAX_RUN
from airflow_spot.core.templates import is_template
from airflow_spot.core.try_marks import TryMark
from airflow_spot.core.urls import without_query

_S3 = re.compile(r"s3://([^/]+)/?(.*)", re.DOTALL)
_ECR = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr(?:-fips)?\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/"
    r"(?P<repository>[a-z0-9._/-]+?)(?:@(?P<digest>sha256:[0-9a-f]{64})|:(?P<tag>[\w.-]+))?"
)


@dataclass(frozen=True)
class Rung:
    """
    One rung's request.

    :param name: of the rung.
    :param request: of CreateTrainingJob.
    """

    name: str
    request: Mapping[str, Any]

    @property
    def placement(self) -> Placement:
        """Return the instances that it asks for."""
        return Placement.of_resources(_resources(self.request), self.on_spot)

    @property
    def on_spot(self) -> bool:
        """Whether it is managed spot training."""
        return bool(self.request.get("EnableManagedSpotTraining"))

    @property
    def max_run(self) -> int | None:
        """Return for how many seconds it may train; None where that is known only when the task runs."""
        given = _section(self.request, "StoppingCondition").get("MaxRuntimeInSeconds")
        if given is None:
            return DEFAULT_MAX_RUN
        return _count(given) or None

    @property
    def instances(self) -> tuple[tuple[str, int], ...]:
        """
        Return how many of each type it takes at most: of types in the order of preference, one is taken.

        :return: empty where types or count are known only when the task runs.
        """
        given = _section(self.request, "ResourceConfig").get("InstanceCount")
        if given is not None and not _count(given):
            return ()  # nothing is calculated with a number that nobody knows
        if preferred := _resources(self.request).get("InstancePreferences"):
            return tuple((each["InstanceType"], each["InstanceCount"]) for each in preferred)
        return tuple(each for each in self.placement.instances if each[0].startswith("ml."))

    @property
    def other_channels(self) -> tuple[tuple[str, str], ...]:
        """Return field and address, without its secrets, of the channels that are no S3 URI: file systems, the web."""
        found = []
        for i, channel in enumerate(_listed(self.request.get("InputDataConfig"))):
            uri = _section(_section(channel, "DataSource"), "S3DataSource").get("S3Uri")
            if not _s3(uri) and not is_template(uri):
                shown = without_query(uri) if isinstance(uri, str) else ""
                found.append((f"InputDataConfig[{i}].DataSource", shown))
        return tuple(found)

    @property
    def is_choice(self) -> bool:
        """Whether one of its types is taken, and not all."""
        return bool(_resources(self.request).get("InstancePreferences"))


@dataclass(frozen=True)
class Place:
    """
    A place in S3 that the request names.

    :param kind: ``data`` is read, ``output`` is written, ``checkpoints`` are both.
    """

    field: str
    uri: str
    kind: str
    data_type: str = "S3Prefix"

    @property
    def bucket(self) -> str:
        """Return its bucket; empty where it is no S3 URI."""
        match = _S3.fullmatch(self.uri)
        return match[1] if match else ""

    @property
    def key(self) -> str:
        """Return what follows the bucket."""
        match = _S3.fullmatch(self.uri)
        return match[2] if match else ""


@dataclass(frozen=True)
class EcrImage:
    """An image in ECR."""

    account: str
    region: str
    repository: str
    tag: str
    digest: str

    @property
    def id(self) -> dict[str, str]:
        """Return it as ECR's ``imageIds`` have it."""
        return {"imageDigest": self.digest} if self.digest else {"imageTag": self.tag or "latest"}


@dataclass(frozen=True)
class Wanted:
    """
    What a run asks of AWS.

    :param rungs: its requests; all agree in role, channels and places, unless a rung says otherwise.
    """

    rungs: tuple[Rung, ...]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Return the names of the rungs."""
        return tuple(rung.name for rung in self.rungs)

    @cached_property
    def role(self) -> str:
        """Return the role, an ARN or a name; empty where there is none, or it is known only when the task runs."""
        return next((role for role in self._all("RoleArn") if isinstance(role, str) and not is_template(role)), "")

    @cached_property
    def images(self) -> dict[str, tuple[str, ...]]:
        """Return the training images, each with the rungs that have it; with none where all have."""
        found: dict[str, list[str]] = {}
        for rung in self.rungs:
            uri = _section(rung.request, "AlgorithmSpecification").get("TrainingImage")
            if isinstance(uri, str) and not is_template(uri):
                found.setdefault(uri, []).append(rung.name)
        return {uri: () if len(names) == len(self.rungs) else tuple(names) for uri, names in found.items()}

    @cached_property
    def types(self) -> tuple[str, ...]:
        """Return the instance types."""
        return tuple(dict.fromkeys(kind for rung in self.rungs for kind, _ in rung.instances))

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """Return the places in S3 that are known."""
        return tuple(dict.fromkeys(place for rung in self.rungs for place in _places(rung.request)))

    def _all(self, field: str) -> Iterator[Any]:
        return (rung.request[field] for rung in self.rungs if rung.request.get(field))


def read_wanted(plan_or_requests: Plan | Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> Wanted:
    """Return what a plan, a request, or a request a rung asks for."""
    if isinstance(plan_or_requests, Plan):
        plan, this_try = plan_or_requests, TryMark(1, 0)
        return Wanted(tuple(Rung(str(rung), plan.request_for(1, 1, rung, this_try)) for rung in plan.ladder))
    requests = [plan_or_requests] if isinstance(plan_or_requests, Mapping) else plan_or_requests
    rungs = [Rung("", request) for request in requests]
    return Wanted(tuple(Rung(str(rung.placement), rung.request) for rung in rungs))


def read_image(uri: str) -> EcrImage | None:
    """Return an image's place in ECR; None where it is elsewhere."""
    match = _ECR.fullmatch(uri)
    if match is None:
        return None
    return EcrImage(match["account"], match["region"], match["repository"], match["tag"] or "", match["digest"] or "")


def unknown_fields(value: Any, path: str = "") -> Iterator[str]:
    """Yield the fields of a request that are templates still: they are known only when the task runs."""
    if is_template(value) and not isinstance(value, (Mapping, list, tuple)):
        yield path
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from unknown_fields(inner, f"{path}.{name}" if path else str(name))
    elif isinstance(value, (list, tuple)):
        for i, inner in enumerate(value):
            yield from unknown_fields(inner, f"{path}[{i}]")


def _places(request: Mapping[str, Any]) -> Iterator[Place]:
    for i, channel in enumerate(_listed(request.get("InputDataConfig"))):
        source = _section(_section(channel, "DataSource"), "S3DataSource")
        if uri := _s3(source.get("S3Uri")):
            field = f"InputDataConfig[{i}].DataSource.S3DataSource.S3Uri"
            yield Place(field, uri, "data", str(source.get("S3DataType") or "S3Prefix"))
    for field, kind in (("OutputDataConfig.S3OutputPath", "output"), ("CheckpointConfig.S3Uri", "checkpoints")):
        section, _, name = field.partition(".")
        if uri := _s3(_section(request, section).get(name)):
            yield Place(field, uri, kind)


def _resources(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return of ResourceConfig what tells instances, as far as it is what it should be: the rest is told as wrong."""
    found: dict[str, Any] = {}
    given = _section(request, "ResourceConfig")
    if isinstance(kind := given.get("InstanceType"), str) and not is_template(kind):
        found["InstanceType"] = kind
    if count := _count(given.get("InstanceCount")):
        found["InstanceCount"] = count
    for name in ("InstanceGroups", "InstancePreferences"):
        some = [
            {"InstanceType": kind, "InstanceCount": _count(each.get("InstanceCount")) or 1}
            for each in _listed(given.get(name))
            if isinstance(each, Mapping) and isinstance(kind := each.get("InstanceType"), str)
        ]
        if some:
            found[name] = some
    return found


def _count(value: Any) -> int:
    """Return how many; 0 where that is not known, or no number."""
    return int(str(value)) if not isinstance(value, bool) and str(value).isdecimal() else 0


def _s3(uri: Any) -> str:
    """Return what is an S3 URI, and empty text for anything else."""
    return uri if isinstance(uri, str) and not is_template(uri) and _S3.fullmatch(uri) else ""


def _section(request: Any, name: str) -> Mapping[str, Any]:
    found = request.get(name) if isinstance(request, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, (list, tuple)) else ()
