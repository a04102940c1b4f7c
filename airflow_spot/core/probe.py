"""The request of a probe: a training job that ends at once, and only finds out whether there is capacity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_spot.core.attempt import Attempt
from airflow_spot.core.ladder import Rung
from airflow_spot.core.marks import ENV_ATTEMPT, ENV_ROLE
from airflow_spot.core.outcomes import WORKING_STATUSES
from airflow_spot.core.parameter_errors import Described, InvalidParameterError
from airflow_spot.core.plan import Plan, section
from airflow_spot.core.roles import Role
from airflow_spot.core.try_marks import TryMark

#: It has nothing to do: a container that does not end is ended.
MAX_RUN = 300
#: Seconds that SageMaker lets it wait, then another one is created: more is refused of AWS's own algorithms, which keep
#: no checkpoints.
MAX_WAIT = 3600
#: In every image that can run a shell; it ends with 0.
_COMMAND = ["/bin/sh", "-c", "exit 0"]
#: GB: the least that SageMaker takes.
_VOLUME = 1
_KEPT = ("RoleArn", "OutputDataConfig", "VpcConfig", "EnableNetworkIsolation", "Tags", "TrainingJobName")


def probe_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return what of a training's config a probe needs: no data, no script, no value of the user's.

    :param config: the training's; it is not changed.
    :raises InvalidParameterError: it names no image that could be started.
    """
    algorithm = section(config, "AlgorithmSpecification")
    image = algorithm.get("TrainingImage")
    if not image:
        fix = "a probe starts the training's image: name AlgorithmSpecification.TrainingImage"
        raise InvalidParameterError("config", Described("without an image"), fix)
    login = {"TrainingImageConfig": algorithm["TrainingImageConfig"]} if "TrainingImageConfig" in algorithm else {}
    return {
        **{name: config[name] for name in _KEPT if name in config},
        "AlgorithmSpecification": {
            "TrainingImage": image,
            "TrainingInputMode": "File",
            "ContainerEntrypoint": list(_COMMAND),
            **login,
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": MAX_RUN, "MaxWaitTimeInSeconds": MAX_WAIT},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": _VOLUME},
    }


def probe_ladder(types: Sequence[str], count: int) -> list[Rung]:
    """Return a rung for each type."""
    return [Rung(kind, instance_count=count, spot=True, volume_size=_VOLUME) for kind in types]


def probe_request(plan: Plan, number: int, rung: Rung, this_try: TryMark, why: str) -> dict[str, Any]:
    """
    Return the whole CreateTrainingJob request of a probe.

    :param plan: of a :func:`probe_config`.
    :param number: of the probe: 1, 2, ...
    """
    request = plan.request_for(1, number, rung, this_try, None, why)
    request["TrainingJobName"] = plan.job_name(1, number, Role.PROBE)
    request["Environment"] = {**request["Environment"], ENV_ROLE: str(Role.PROBE), ENV_ATTEMPT: str(number)}
    return request


def was_granted(description: Mapping[str, Any]) -> bool:
    """Return whether a job has had its instances, by what DescribeTrainingJob says."""
    statuses = {str(each.get("Status")) for each in description.get("SecondaryStatusTransitions") or ()}
    return bool(statuses & WORKING_STATUSES) or bool(description.get("TrainingStartTime"))


def next_type(types: Sequence[str], last: Attempt | None, refused: Sequence[str] = ()) -> str | None:
    """
    Return the type that is asked for next: the one after the last probe's; None where all were refused.

    :param refused: those whose create was refused in this look.
    """
    at = types.index(last.placement.instance_type) + 1 if last and last.placement.instance_type in types else 0
    order = [*types[at:], *types[:at]]
    return next((kind for kind in order if kind not in refused), None)
