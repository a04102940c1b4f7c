"""Where attempts may run, in order: the rungs of a ladder, and what each changes in the request."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass, field, fields, replace
from datetime import timedelta
from typing import Any

from airflow_spot.core.durations import seconds
from airflow_spot.core.identity import short_hash
from airflow_spot.core.parameter_errors import Described, InvalidParameterError, kind_of
from airflow_spot.core.placement import Placement
from airflow_spot.core.request_schema import Shape, coerce
from airflow_spot.core.templates import is_template, plain_copy

#: What :attr:`Rung.on` may say.
ON_OUT_OF_MEMORY = "out_of_memory"
#: InstancePreferences takes one to five types. Source: ResourceConfig in SageMaker's API reference.
PREFERENCES_LIMIT = 5

_TRUTH, _WHOLE, _TEXTS = Shape("boolean"), Shape("integer", min=1), Shape("list", item=lambda: Shape("string"))

#: In the place of a ladder: the types of ``instance_types``, in the order that AWS's figures give them.
AUTO = "auto"


@dataclass(frozen=True)
class Rung:
    """
    Where attempts may run; one step of a ladder.

    Parameters that are left out are as in the operator's ``config``.

    :param instance_type: such as ``"ml.g5.2xlarge"``.
    :param instance_count: how many. Another count than the other rungs' is dangerous where checkpoints are sharded
        by rank: the operator warns.
    :param spot: managed spot training, or on-demand. Left out, as ``use_spot_instances`` says.
    :param attempts: how often to try here, one after the other, before the next rung.
    :param wait: how long an attempt here may wait for capacity before the next rung is tried: seconds, a
        ``timedelta``, or text such as ``"30m"``. It is the operator's own timer, which a job that trains never
        meets; without it, SageMaker's ``max_wait`` is the end of the wait.
    :param subnets: and ``security_group_ids``: of the VPC, where another one has capacity.
    :param volume_size: GB of storage per instance.
    :param image_uri: the training image, say for another architecture.
    :param hyperparameters: laid over the config's, such as a smaller batch for a smaller GPU.
    :param environment: laid over the config's.
    :param instance_types: for on-demand, all types that may be taken, in the order of preference; see
        :meth:`on_demand`.
    :param on: ``"out_of_memory"``: only for what used up the memory of another rung, such as a larger type; attempts
        then stay on such rungs. Left out, for all others.
    """

    instance_type: str
    instance_count: Any = None
    spot: Any = None
    attempts: Any = 1
    wait: Any = None
    subnets: Sequence[str] = ()
    security_group_ids: Sequence[str] = ()
    volume_size: Any = None
    image_uri: str | None = None
    # Not shown: Airflow shows what a task was given in its UI, and their values may be secrets.
    hyperparameters: Mapping[str, Any] | None = field(default=None, repr=False, hash=False)
    environment: Mapping[str, Any] | None = field(default=None, repr=False, hash=False)
    instance_types: Sequence[str] = ()
    on: str | None = None
    #: Which one it is among rungs that are otherwise the same.
    nth: int = field(default=1, repr=False)
    #: The request's own placement, which nothing replaces.
    as_requested: bool = field(default=False, repr=False)
    #: The instances of a heterogeneous cluster, which only a request has.
    groups: tuple[tuple[str, int], ...] = field(default=(), repr=False)

    @classmethod
    def on_demand(cls, instance_types: str | Sequence[str], **more: Any) -> Rung:
        """
        Make an on-demand rung, for the end of a ladder.

        :param instance_types: one, or up to five in the order of preference: where the installed botocore knows
            ``InstancePreferences``, SageMaker takes the first that it has; else only the first is asked for.
        :param more: a rung's other parameters.
        :raises InvalidParameterError: no type is named, or more than five.
        """
        types = [instance_types] if isinstance(instance_types, str) else instance_types
        if not isinstance(types, (list, tuple)) or not 1 <= len(types) <= PREFERENCES_LIMIT:
            raise InvalidParameterError(
                "Rung.on_demand", _shown(types), f"name one to {PREFERENCES_LIMIT} instance types"
            )
        return cls(types[0], spot=False, instance_types=tuple(types), **more)

    @property
    def on_spot(self) -> bool:
        """Whether it is managed spot training; where nothing says otherwise, it is."""
        return self.spot is None or bool(self.spot)

    @property
    def placement(self) -> Placement:
        """The instances it asks for."""
        return Placement(self.instance_type, int(self.instance_count or 1), self.on_spot, self.groups)

    @property
    def placements(self) -> tuple[Placement, ...]:
        """The instances of each type that it may take."""
        if len(self.instance_types) < 2:
            return (self.placement,)
        return tuple(replace(self.placement, instance_type=str(kind)) for kind in self.instance_types)

    def __str__(self) -> str:
        """Name it: unique in its ladder, and the same as long as it asks for the same."""
        changes = {
            name: value
            for name in ("subnets", "security_group_ids", "volume_size", "image_uri", "hyperparameters", "environment")
            if (value := getattr(self, name))
        }
        also = f" or {len(self.instance_types) - 1} other" if len(self.instance_types) > 1 else ""
        what = f" [{short_hash(changes)[:4]}]" if changes else ""
        return f"{self.placement}{also}{what}{f' ({self.nth})' if self.nth > 1 else ''}"


_NAMES = {each.name for each in fields(Rung)} - {"nth", "as_requested", "groups"}


def has_templates(value: Any) -> bool:
    """Return whether a ladder, or a part of it, is known only when the task runs."""
    if isinstance(value, Rung):
        return any(has_templates(getattr(value, name)) for name in _NAMES)
    if isinstance(value, Mapping):
        return any(has_templates(inner) for inner in value.values())
    if isinstance(value, (list, tuple)):
        return any(has_templates(inner) for inner in value)
    return is_template(value)


def read_types(name: str, value: Any) -> tuple[str, ...]:
    """
    Read instance types: a list, or text with commas; each once.

    :raises InvalidParameterError: there is none, or one is no type of SageMaker's.
    """
    given = value.split(",") if isinstance(value, str) else value
    if not isinstance(given, (list, tuple)):
        raise InvalidParameterError(name, value, "must be a list of types such as ml.g5.2xlarge")
    found = tuple(dict.fromkeys(str(kind).strip() for kind in given if str(kind).strip()))
    wrong = next((kind for kind in found if not kind.startswith("ml.") and not is_template(kind)), None)
    if not found or wrong is not None:
        raise InvalidParameterError(name, wrong or value, "name types such as ml.g5.2xlarge")
    return found


def read_ladder(value: Any, *, instance_count: int = 1, spot: bool | None = True) -> tuple[Rung, ...]:
    """
    Read a ladder as people and templates write it.

    :param value: a list, or JSON text of one, whose items are a :class:`Rung`, an instance type, a mapping
        of a rung's parameters, or ``{"on_demand": [types], ...}``.
    :param instance_count: of the rungs that name none.
    :param spot: of the rungs that do not say; None where that is not known yet.
    :raises InvalidParameterError: naming the rung, its field, the value and the fix; no part of an environment is
        shown.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            where = f" (line {error.lineno}, column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
            text = Described(f"text of {len(value)} characters")
            raise InvalidParameterError("ladder", text, f"must be a list of rungs, or JSON of one{where}") from None
    if not isinstance(value, (list, tuple)) or not value:
        raise InvalidParameterError("ladder", _shown(value), "must be a list of at least one rung")
    rungs: list[Rung] = []
    for i, item in enumerate(value):
        try:
            rung = _checked(f"ladder[{i}]", _as_rung(f"ladder[{i}]", item), instance_count, spot)
        except InvalidParameterError as error:
            raise InvalidParameterError(error.name, _shown(error.value), error.fix) from None
        same = sum(1 for other in rungs if str(replace(other, nth=1)) == str(rung))
        rungs.append(replace(rung, nth=same + 1))
    if all(rung.on for rung in rungs):
        raise InvalidParameterError(
            "ladder", Described("only rungs with on"), "name at least one rung without: where to begin"
        )
    return tuple(rungs)


def _shown(value: Any) -> Any:
    """Show a wrong value where it can be no environment, nor a part of one; else say what it is."""
    if value is None or isinstance(value, (bool, int, float, timedelta, Described)):
        return value
    if isinstance(value, str):
        return value if re.fullmatch(r"[\w .:-]{0,64}", value) else Described(f"text of {len(value)} characters")
    return Described(f"{kind_of(value)} of {len(value)}") if isinstance(value, Sized) else kind_of(value)


def _as_rung(where: str, item: Any) -> Rung:
    if isinstance(item, Rung):
        return item
    if isinstance(item, str):
        return Rung(item)
    if not isinstance(item, Mapping):
        raise InvalidParameterError(
            where, item, "must be a Rung, an instance type, or a mapping of a rung's parameters"
        )
    given = dict(item)
    demand = given.pop("on_demand", None)
    unknown = sorted(set(map(str, given)) - _NAMES)
    if unknown:
        raise InvalidParameterError(
            f"{where}.{unknown[0]}", Described("an unknown field"), f"a rung has {', '.join(sorted(_NAMES))}"
        )
    if demand is not None and not isinstance(demand, bool):
        for name in ("instance_type", "instance_types", "spot"):
            if name in given:
                raise InvalidParameterError(
                    f"{where}.{name}", given[name], "on_demand says it already: remove one of them"
                )
        return Rung.on_demand(demand, **given)
    if demand:
        given["spot"] = False
    if "instance_type" not in given:
        raise InvalidParameterError(f"{where}.instance_type", None, "name an instance type")
    return Rung(**given)


def _checked(where: str, rung: Rung, instance_count: int, spot: bool | None) -> Rung:
    """Coerce every field to its type, whatever a template made of it."""
    for name in ("hyperparameters", "environment"):
        given = getattr(rung, name)
        if given is not None and not isinstance(given, Mapping):
            raise InvalidParameterError(f"{where}.{name}", kind_of(given), "must be a mapping")
    kind = rung.instance_type
    if not isinstance(kind, str) or not kind.startswith("ml."):
        raise InvalidParameterError(f"{where}.instance_type", kind, "SageMaker's types begin with ml., as ml.g5.xlarge")
    types = {"spot": _TRUTH, "attempts": _WHOLE, "instance_count": _WHOLE, "volume_size": _WHOLE}
    types |= dict.fromkeys(("subnets", "security_group_ids", "instance_types"), _TEXTS)
    left_out = {
        "instance_count": rung.instance_count or instance_count,
        "spot": spot if rung.spot is None else rung.spot,
    }
    given = {name: getattr(rung, name) for name in types} | left_out
    read = {
        name: coerce(list(value) if isinstance(value, tuple) else value, types[name], f"{where}.{name}")
        for name, value in given.items()
        if value is not None
    }
    read = {name: tuple(value) if isinstance(value, list) else value for name, value in read.items()}
    if read.get("spot") and len(read.get("instance_types", ())) > 1:
        raise InvalidParameterError(
            f"{where}.instance_types", list(read["instance_types"]), "for on-demand only: give each spot type a rung"
        )
    if rung.on not in (None, ON_OUT_OF_MEMORY):
        raise InvalidParameterError(f"{where}.on", rung.on, f'is "{ON_OUT_OF_MEMORY}", or is left out')
    wait = None if rung.wait is None else float(seconds(f"{where}.wait", rung.wait))
    return replace(rung, **read, wait=wait)


def apply_rung(request: Mapping[str, Any], rung: Rung, *, preferences: bool, max_wait: int) -> dict[str, Any]:
    """
    Make the request of one rung.

    :param request: the plan's. It is not changed.
    :param preferences: whether the installed botocore knows ``InstancePreferences``.
    :param max_wait: ``MaxWaitTimeInSeconds`` for a spot rung where the request has none.
    :raises InvalidParameterError: subnets without security groups.
    """
    made: dict[str, Any] = plain_copy(request)
    if rung.as_requested:
        return made
    made["ResourceConfig"] = _resources(made.get("ResourceConfig") or {}, rung, preferences)
    stopping = made.setdefault("StoppingCondition", {})
    made["EnableManagedSpotTraining"] = rung.on_spot
    if rung.on_spot:
        stopping.setdefault("MaxWaitTimeInSeconds", max_wait)
    else:
        stopping.pop("MaxWaitTimeInSeconds", None)
    if rung.subnets or rung.security_group_ids:
        vpc = made.get("VpcConfig") or {}
        groups = list(rung.security_group_ids) or vpc.get("SecurityGroupIds")
        subnets = list(rung.subnets) or vpc.get("Subnets")
        if not groups or not subnets:
            raise InvalidParameterError(
                "security_group_ids", groups, "a VPC needs subnets and security groups: name both"
            )
        made["VpcConfig"] = {"Subnets": subnets, "SecurityGroupIds": groups}
    if rung.image_uri:
        made["AlgorithmSpecification"] = {**made.get("AlgorithmSpecification", {}), "TrainingImage": rung.image_uri}
    for name, more in (("HyperParameters", rung.hyperparameters), ("Environment", rung.environment)):
        if more:
            made[name] = {**made.get(name, {}), **more}
    return made


def _resources(given: Mapping[str, Any], rung: Rung, preferences: bool) -> dict[str, Any]:
    left_out = {"InstanceType", "InstanceCount", "InstanceGroups", "InstancePreferences"}
    # Warm pools cannot be used with spot; on the on-demand rung they would keep on costing.
    left_out |= {"KeepAlivePeriodInSeconds"} if rung.on_spot else set()
    resources = {name: value for name, value in given.items() if name not in left_out}
    count = int(rung.instance_count or given.get("InstanceCount") or 1)
    if preferences and len(rung.instance_types) > 1:
        resources["InstancePreferences"] = [
            {"InstanceType": each, "InstanceCount": count} for each in rung.instance_types
        ]
    else:
        resources.update(InstanceType=rung.instance_type, InstanceCount=count)
    if rung.volume_size:
        resources["VolumeSizeInGB"] = rung.volume_size
    return resources


def counts_differ(ladder: Sequence[Rung]) -> bool:
    """Return whether the rungs have different instance counts: a checkpoint sharded by rank does not fit them all."""
    return len({rung.placement.instance_count for rung in ladder}) > 1
