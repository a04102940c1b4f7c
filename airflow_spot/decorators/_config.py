"""The config of a task that is a function: CreateTrainingJob's parameters, by the words of the SDK."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_spot.core.parameter_errors import Described, InvalidParameterError, kind_of
from airflow_spot.core.parameters import is_config_file
from airflow_spot.core.templates import is_template

#: Gigabytes, as in SageMaker's SDK.
VOLUME_SIZE = 30
#: Each with its section and field of the request.
_FIELDS = {
    "image": ("AlgorithmSpecification", "TrainingImage"),
    "instance_type": ("ResourceConfig", "InstanceType"),
    "instance_count": ("ResourceConfig", "InstanceCount"),
    "volume_size": ("ResourceConfig", "VolumeSizeInGB"),
    "role": ("", "RoleArn"),
    "output_path": ("OutputDataConfig", "S3OutputPath"),
}
#: What no job goes without, here or in the config.
_REQUIRED = {
    "image": "the image that the function runs in",
    "role": "the role of the job",
    "output_path": "the S3 folder below which code, checkpoints and models go",
}
#: What stands for a part of the config.
SHORT = (*_FIELDS, "inputs")


def make_config(config: Any, short: Mapping[str, Any]) -> Any:
    """
    Lay what was given by its short name over a config, and defaults below both. The config is not changed.

    :param config: None for an empty one.
    :param short: by name, see ``SHORT``; None where it was not given.
    :raises InvalidParameterError: something has no place in the config, which is a template there.
    """
    given = {name: value for name, value in short.items() if value is not None}
    if config is not None and not isinstance(config, Mapping):
        if given and (is_template(config) or is_config_file(config)):
            name = next(iter(given))
            fix = f"the config is a template or a file, which nothing is laid over: name it there, or remove {name}"
            raise InvalidParameterError(name, given[name], fix)
        return config  # what is wrong with it is said where it is read
    made = dict(config or {})
    for name, value in given.items():
        if name == "inputs":
            made["InputDataConfig"] = _channels(made.get("InputDataConfig"), value)
            continue
        section, field = _FIELDS[name]
        if section:
            made[section] = {**_section(made, section, name), field: value}
        else:
            made[field] = value
    _default(made, "AlgorithmSpecification", TrainingInputMode="File")
    if not _has(made, "ResourceConfig", "InstanceGroups"):
        _default(made, "ResourceConfig", InstanceCount=1, VolumeSizeInGB=VOLUME_SIZE)
    return made


def check_required(config: Any) -> None:
    """
    Check that a config has what no job goes without, as far as it is no template.

    :raises InvalidParameterError: something is missing, by its short name.
    """
    if not isinstance(config, Mapping):
        return
    for name, what in _REQUIRED.items():
        section, field = _FIELDS[name]
        place = config.get(section, {}) if section else config
        if isinstance(place, Mapping) and place.get(field) is None:
            where = f"{section}.{field}" if section else field
            raise InvalidParameterError(name, Described("missing"), f"give {what}, or {where} in config")


def _section(config: Mapping[str, Any], section: str, name: str) -> Mapping[str, Any]:
    found = config.get(section)
    if found is None or isinstance(found, Mapping):
        return found or {}
    raise InvalidParameterError(section, kind_of(found), f"must be a mapping, to have {name} in it")


def _has(config: Mapping[str, Any], section: str, field: str) -> bool:
    found = config.get(section)
    return isinstance(found, Mapping) and bool(found.get(field))


def _default(config: dict[str, Any], section: str, **values: Any) -> None:
    found = config.get(section)
    if found is None or isinstance(found, Mapping):
        config[section] = {**values, **(found or {})}


def _channels(there: Any, inputs: Any) -> list[Any]:
    """Return a request's channels with those that were given by name and URI."""
    if not isinstance(inputs, Mapping):
        raise InvalidParameterError("inputs", kind_of(inputs), 'name each channel: {"train": "s3://bucket/train/"}')
    if there is not None and not isinstance(there, (list, tuple)):
        raise InvalidParameterError("InputDataConfig", kind_of(there), "must be a list, to have inputs in it")
    kept = [each for each in there or () if not (isinstance(each, Mapping) and each.get("ChannelName") in inputs)]
    source = {"S3DataType": "S3Prefix", "S3DataDistributionType": "FullyReplicated"}
    return [
        *kept,
        *(
            {"ChannelName": name, "DataSource": {"S3DataSource": {**source, "S3Uri": uri}}}
            for name, uri in inputs.items()
        ),
    ]
