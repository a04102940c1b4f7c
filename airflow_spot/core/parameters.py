"""The operator's parameters, read once: literals when the operator is built, templates when it runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any

from airflow_spot.core import spot_rules
from airflow_spot.core.durations import interval, seconds
from airflow_spot.core.ladder import AUTO, has_templates, read_ladder, read_types
from airflow_spot.core.locations import check_queue_url, check_s3_uri, lies_in
from airflow_spot.core.money.prices import read_amount
from airflow_spot.core.own_checkpoints import check_own_checkpoints
from airflow_spot.core.parameter_errors import InvalidParameterError
from airflow_spot.core.plan import SpotSettings, apply_settings, check_config, check_groups
from airflow_spot.core.request_schema import Shape, coerce
from airflow_spot.core.s3_operations import read_s3_operations
from airflow_spot.core.spot_switch import spot_of
from airflow_spot.core.templates import gives_nothing, is_template

_JOB_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")
_RUN_FIELDS = ("dag_id", "run_id", "task_id", "map_index")


def _as_is(name: str, value: Any) -> Any:
    return value


def _truth(name: str, value: Any) -> bool:
    return bool(coerce(value, Shape("boolean"), name))


def _unless_empty(read: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
    """Read text, where an empty one, as a template may render to, stands for "not given"."""
    return lambda name, value: None if value == "" else read(name, value)


def _whole(least: int) -> Callable[[str, Any], int]:
    return lambda name, value: int(coerce(value, Shape("integer", min=least), name))


def _codes(name: str, value: Any) -> tuple[int, ...]:
    given = list(value) if isinstance(value, (tuple, set, frozenset)) else value
    return tuple(coerce(given, Shape("list", item=lambda: Shape("integer")), name))


def _choice(*choices: str) -> Callable[[str, Any], str]:
    def read(name: str, value: Any) -> str:
        if value not in choices:
            *most, last = (f'"{choice}"' for choice in choices)
            raise InvalidParameterError(name, value, f"must be {', '.join(most)} or {last}")
        return str(value)

    return read


def is_config_file(value: Any) -> bool:
    """Return whether a config is the name of a JSON file instead: a path, or the URI of an object in S3."""
    return isinstance(value, str) and value.endswith(".json")


def _config(name: str, value: Any) -> Mapping[str, Any]:
    if is_config_file(value):  # the task reads it before this is read for the last time
        return value  # type: ignore[no-any-return]
    check_config(value)
    return value  # type: ignore[no-any-return]


def _name(name: str, value: Any) -> str:
    if not isinstance(value, str) or not _JOB_NAME.fullmatch(value):
        fix = "the part of it behind training-job/" if str(value).startswith("arn:") else "letters, digits and hyphens"
        raise InvalidParameterError(name, value, f"give a training job's name: {fix}")
    return value


def _resume_from(name: str, value: Any) -> Any:
    if isinstance(value, str):
        return check_s3_uri(name, value) if "/" in value else value
    if not isinstance(value, Mapping) or not {"dag_id", "run_id", "task_id"} <= set(value) <= set(_RUN_FIELDS):
        fix = f"give an S3 URI, a training job's name, or a mapping of {', '.join(_RUN_FIELDS)}"
        raise InvalidParameterError(name, value, fix)
    return dict(value)


@dataclass(frozen=True)
class Parameter:
    """
    How one parameter is read.

    :param read: takes its name and its value, and returns the value as its type.
    :param templated: whether Jinja renders it.
    :param required: whether None is read too, instead of standing for "not given".
    :param default: what it is where it is not given, or its template renders to nothing.
    """

    read: Callable[[str, Any], Any] = _as_is
    templated: bool = True
    required: bool = False
    default: Any = None


#: Every parameter of the operator that is its own, in the order of its signature.
PARAMETERS: Mapping[str, Parameter] = {
    "config": Parameter(_config, required=True),
    "use_spot_instances": Parameter(_truth),
    "max_run": Parameter(seconds),
    "max_wait": Parameter(seconds),
    "use_checkpoints": Parameter(_truth, default=True),
    "checkpoint_s3_uri": Parameter(),
    "checkpoint_local_path": Parameter(),
    "checkpoint_scope": Parameter(_choice("run", "exact"), default="run"),
    "resume": Parameter(_truth, default=True),
    "on_config_change": Parameter(_choice("resume", "restart", "fail")),
    "resume_from": Parameter(_unless_empty(_resume_from)),
    "adopt_job": Parameter(_unless_empty(_name)),
    "checkpoint_retention": Parameter(seconds),
    "model_s3_uri": Parameter(_unless_empty(check_s3_uri)),
    "checkpoint_warning_after": Parameter(seconds),
    "ladder": Parameter(),
    "instance_types": Parameter(read_types),
    "max_total_wait": Parameter(seconds),
    "max_attempts": Parameter(_whole(1), templated=False),
    "max_total_run": Parameter(seconds),
    "max_cost": Parameter(read_amount),
    "max_starts_without_progress": Parameter(_whole(1), templated=False),
    "script_error_retries": Parameter(_whole(0), templated=False),
    "retry_exit_codes": Parameter(_codes, templated=False),
    "entry_point": Parameter(),
    "source_dir": Parameter(),
    "code_location": Parameter(_unless_empty(check_s3_uri)),
    "lint": Parameter(_truth, templated=False, default=True),
    "preflight": Parameter(_choice("warn", "fail", "off"), templated=False),
    "wait_for_completion": Parameter(templated=False),
    "print_log": Parameter(templated=False),
    "check_interval": Parameter(interval, templated=False),
    "events_queue_url": Parameter(_unless_empty(check_queue_url)),
    "max_ingestion_time": Parameter(seconds, templated=False),
    "action_if_job_exists": Parameter(_choice("timestamp", "fail"), templated=False),
    "stop_on_kill": Parameter(templated=False),
    "deferrable": Parameter(templated=False),
}

TEMPLATED = tuple(name for name, parameter in PARAMETERS.items() if parameter.templated)


@dataclass(frozen=True)
class TrainingParameters:
    """
    What a training task was given, each value as its type; see the operator for what each means. Durations in seconds.

    When the operator is built, a value that is a template is still one.
    """

    config: Mapping[str, Any]
    use_spot_instances: bool | None
    max_run: int | None
    max_wait: int | None
    use_checkpoints: bool
    checkpoint_s3_uri: str | None
    checkpoint_local_path: str | None
    checkpoint_scope: str
    resume: bool
    on_config_change: str | None
    resume_from: str | Mapping[str, Any] | None
    adopt_job: str | None
    checkpoint_retention: int | None
    model_s3_uri: str | None
    checkpoint_warning_after: int | None
    ladder: Any
    instance_types: tuple[str, ...] | None
    max_total_wait: int | None
    max_attempts: int | None
    max_total_run: int | None
    max_cost: Decimal | None
    max_starts_without_progress: int | None
    script_error_retries: int
    retry_exit_codes: tuple[int, ...]
    entry_point: str | None
    source_dir: str | None
    code_location: str | None
    lint: bool
    preflight: str | None
    wait_for_completion: bool
    print_log: bool
    check_interval: float | None
    events_queue_url: str | None
    max_ingestion_time: int | None
    action_if_job_exists: str
    stop_on_kill: bool | None
    deferrable: bool

    @property
    def spot_settings(self) -> SpotSettings:
        """Return what is laid over the request."""
        given = {each.name: getattr(self, each.name) for each in fields(SpotSettings)}
        return SpotSettings(**{**given, "ladder": self.rungs})

    @property
    def rungs(self) -> Any:
        """Return the ladder; of an automatic one that is not ordered yet, its types as they were given."""
        return list(self.instance_types or ()) if self.ladder == AUTO else self.ladder


def read_parameters(given: Any, *, rendered: bool = True) -> TrainingParameters:
    """
    Read the parameters of an operator.

    :param given: has them as attributes, such as the operator.
    :param rendered: False leaves templates as they are, and reads the rest.
    :raises InvalidParameterError: naming the parameter, its value and the fix.
    """
    read = TrainingParameters(
        **{name: _read(name, getattr(given, name), parameter, rendered) for name, parameter in PARAMETERS.items()}
    )
    if isinstance(read.config, Mapping) and not has_templates(read.config.get("S3Operations")):
        read_s3_operations(read.config.get("S3Operations"))
    if read.use_checkpoints is False:
        check_own_checkpoints(read, given)
    if read.ladder == AUTO and not read.instance_types:
        raise InvalidParameterError("ladder", AUTO, "name the types to choose from as instance_types")
    if read.instance_types and read.ladder != AUTO and not has_templates([read.ladder, read.instance_types]):
        raise InvalidParameterError("instance_types", list(read.instance_types), 'is for ladder="auto"')
    if read.model_s3_uri is not None:
        _check_model_place(read.model_s3_uri, read.config)
    return read


def _check_model_place(place: str, config: Any) -> None:
    """Check that a folder of model files is not to be copied to one that it lies in, before anything trains."""
    output = config.get("OutputDataConfig") if isinstance(config, Mapping) else None
    if not isinstance(output, Mapping) or output.get("CompressionType") != "NONE" or has_templates([place, output]):
        return
    path = output.get("S3OutputPath")
    if isinstance(path, str) and lies_in(path, place):
        fix = f"must not contain the jobs' output ({path}), whose models are not compressed: name another folder"
        raise InvalidParameterError("model_s3_uri", place, fix)


def check_parameters(given: Any, task_id: str) -> None:
    """
    Check what an operator was given when it is built, as far as it is no template.

    :raises InvalidParameterError: naming the parameter, its value and the fix.
    """
    read = read_parameters(given, rendered=False)
    if read.rungs is not None and not has_templates(read.rungs):
        spot = spot_of(read.config, read.use_spot_instances) if isinstance(read.config, Mapping) else None
        read_ladder(read.rungs, spot=spot if isinstance(spot, bool) else None)
    if read.source_dir is not None and read.entry_point is None:
        raise InvalidParameterError("source_dir", read.source_dir, "name the script in it as entry_point")
    if read.model_s3_uri is not None and read.wait_for_completion is False:
        fix = "needs a task that waits for the model: remove it, or wait_for_completion=False"
        raise InvalidParameterError("model_s3_uri", read.model_s3_uri, fix)
    if is_template(read.config) or is_config_file(read.config):
        return
    check_groups(read.rungs, read.config)
    if all(not is_template(part) for part in read.config.values()):
        spot_rules.check(apply_settings(read.config, read.spot_settings, task_id))


def check_given(given: Mapping[str, Any]) -> None:
    """
    Check each for itself what all members of a mapped task are given, as far as it is no template.

    :raises InvalidParameterError: naming the parameter, its value and the fix.
    """
    check_each(given)
    check_place_of_members(given.get("model_s3_uri"))


def check_each(given: Mapping[str, Any]) -> None:
    """
    Check each for itself what a task is given, as far as it is no template.

    :raises InvalidParameterError: naming the parameter, its value and the fix.
    """
    for name in PARAMETERS.keys() & given.keys():
        _read(name, given[name], PARAMETERS[name], rendered=False)


def check_place_of_members(place: Any) -> None:
    """
    Check that the members of a mapped task do not put their models in one place, as far as it is no template.

    :raises InvalidParameterError: they do.
    """
    if place is not None and not is_template(place):
        fix = "every map index would copy its model there: name a place for each, as with {{ ti.map_index }} in it"
        raise InvalidParameterError("model_s3_uri", place, fix)


def _read(name: str, value: Any, parameter: Parameter, rendered: bool) -> Any:
    if not parameter.required and (value is None or (rendered and parameter.templated and gives_nothing(value))):
        return parameter.default
    if not rendered and parameter.templated and is_template(value):
        return value
    return parameter.read(name, value)
