"""The validated request of a run: built once, from which every attempt's request follows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from airflow_spot.core import spot_rules
from airflow_spot.core.durations import seconds
from airflow_spot.core.identity import JobName, RunIdentity, checkpoint_prefix, default_name, legal_prefix, run_id
from airflow_spot.core.ladder import Rung, apply_rung, read_ladder
from airflow_spot.core.locations import check_s3_uri
from airflow_spot.core.marks import (
    ENV_ATTEMPT,
    ENV_FINGERPRINT,
    ENV_GENERATION,
    ENV_MEMBER,
    ENV_ROLE,
    ENV_RUN,
    ENV_RUN_ID,
    ENV_RUNG,
    ENV_TRY,
    ENV_WHY,
    fingerprint,
    reason_text,
    run_tags,
)
from airflow_spot.core.outcomes import instance_count
from airflow_spot.core.parameter_errors import Described, InvalidParameterError, kind_of
from airflow_spot.core.placement import Placement
from airflow_spot.core.request_schema import Shape, coerce
from airflow_spot.core.roles import Role
from airflow_spot.core.secrets.redaction import redact
from airflow_spot.core.spot_switch import spot_of
from airflow_spot.core.templates import gives_nothing, is_template, plain_copy
from airflow_spot.core.try_marks import TryMark

DEFAULT_CHECKPOINT_PATH = "/opt/ml/checkpoints"


@dataclass(frozen=True)
class SpotSettings:
    """
    What the operator's own parameters say, over what the request says; None leaves the request's word.

    :param use_spot_instances: managed spot training, or on-demand. Default: as the request says, else spot.
    :param max_run: seconds that a job may train, over all its restarts.
    :param max_wait: seconds that a job may wait and train. Default with spot: ``max_run`` and a day.
    :param use_checkpoints: whether SageMaker keeps the script's checkpoints; False leaves CheckpointConfig out.
    :param checkpoint_s3_uri: the base below which each run keeps its checkpoints. Default: ``checkpoints``
        below S3OutputPath.
    :param checkpoint_local_path: where the script writes them in the container.
    :param checkpoint_scope: ``"run"`` gives each run a folder of its own below the base; ``"exact"`` uses the
        base as it is.
    :param ladder: where attempts may run, in order; None for the config's own placement.
    """

    use_spot_instances: Any = None
    max_run: Any = None
    max_wait: Any = None
    use_checkpoints: Any = True
    checkpoint_s3_uri: Any = None
    checkpoint_local_path: Any = None
    checkpoint_scope: Any = "run"
    ladder: Any = None


@dataclass(frozen=True)
class Plan:
    """
    A run's validated request.

    :param run: whose it is.
    :param request: CreateTrainingJob's parameters but for name, marks and the checkpoint folder.
    :param prefix: of the job names.
    :param ladder: where attempts may run.
    :param checkpoint_base: the folder below which runs keep their checkpoints; None where SageMaker keeps none.
    :param preferences: whether the installed botocore knows ``InstancePreferences``.
    :param member: of a mapped task, a hash of what tells its member: what ``map_index_template`` renders to.
    :param incomplete: its script is not on this worker: it is good for a job that is there, and makes none.
    """

    run: RunIdentity
    # Not shown, as it holds all values.
    request: Mapping[str, Any] = field(repr=False)
    prefix: str
    ladder: tuple[Rung, ...]
    checkpoint_base: str | None
    checkpoint_scope: str
    preferences: bool = False
    member: str = ""
    incomplete: bool = False

    @property
    def fingerprint(self) -> str:
        """What makes the training the same."""
        return fingerprint(self.request)

    @property
    def max_run(self) -> int:
        """Return for how many seconds a job may train."""
        stopping = self.request.get("StoppingCondition") or {}
        return int(stopping.get("MaxRuntimeInSeconds") or spot_rules.DEFAULT_MAX_RUN)

    @property
    def placements(self) -> tuple[Placement, ...]:
        """Return where attempts may run: of each rung its instances, or each of the types that it may take."""
        found: list[Placement] = []
        for rung in self.ladder:
            request = _on_rung(self.request, rung, self.preferences)
            spot, resources = bool(request.get("EnableManagedSpotTraining")), request["ResourceConfig"]
            kinds = [each["InstanceType"] for each in resources.get("InstancePreferences") or ()]
            count = instance_count(resources)
            found += [Placement(kind, count, spot) for kind in kinds] or [Placement.of_resources(resources, spot)]
        return tuple(dict.fromkeys(found))

    def job_name(self, generation: int, number: int, role: Role = Role.ATTEMPT) -> str:
        """Return the name of a job before it exists."""
        return str(JobName(self.prefix, self.run.key, generation, number, role))

    def checkpoint_s3_uri(self, generation: int) -> str | None:
        """
        Return where a generation would keep its checkpoints if it began now; once it has, its attempts tell.

        :return: None where SageMaker keeps none.
        """
        if self.checkpoint_base is None or self.checkpoint_scope == "exact":
            return self.checkpoint_base
        return checkpoint_prefix(self.checkpoint_base, self.run, generation)

    def is_shared(self, folder: str) -> bool:
        """Return whether other runs may write to a folder too: it is not one that only this run has."""
        return self.run.key not in folder.split("/")

    def request_for(
        self,
        generation: int,
        attempt: int,
        rung: Rung,
        this_try: TryMark,
        checkpoint_s3_uri: str | None = None,
        why: str = "",
    ) -> dict[str, Any]:
        """
        Return the whole CreateTrainingJob request of one attempt.

        :param checkpoint_s3_uri: where the generation keeps its checkpoints; None where the attempt is its first, or
            SageMaker keeps none.
        :param why: why it is created, as it stands in the job itself, without values of the request.
        """
        request = _on_rung(self.request, rung, self.preferences)
        request["TrainingJobName"] = self.job_name(generation, attempt)
        if self.checkpoint_base is not None:
            request["CheckpointConfig"] = {
                **request.get("CheckpointConfig", {}),
                "S3Uri": checkpoint_s3_uri or self.checkpoint_s3_uri(generation),
            }
        reason = reason_text(redact(why, request))
        request["Environment"] = {
            **request.get("Environment", {}),
            ENV_RUN: self.run.key,
            ENV_RUN_ID: run_id(self.run.key, generation),
            ENV_GENERATION: str(generation),
            ENV_ATTEMPT: str(attempt),
            ENV_RUNG: str(rung),
            ENV_TRY: str(this_try),
            ENV_FINGERPRINT: self.fingerprint,
            ENV_ROLE: str(Role.ATTEMPT),
            **({ENV_WHY: reason} if reason else {}),
            **({ENV_MEMBER: self.member} if self.member else {}),
        }
        request["Tags"] = [*request.get("Tags", []), *run_tags(self.run, this_try.number)]
        return request


def apply_settings(config: Mapping[str, Any], settings: SpotSettings, task_id: str) -> dict[str, Any]:
    """
    Lay the operator's parameters over a user's ``config``, and the defaults below both.

    Works on templates too: what is still one is left for later.

    :param config: the stock operator's ``config``. It is not changed.
    :param task_id: for ``TrainingJobName`` where the config has none.
    :raises InvalidParameterError: a parameter is no duration, or the config or a section of it is no mapping.
    """
    check_config(config)
    request = plain_copy({name: value for name, value in config.items() if name != "S3Operations"})
    request.setdefault("TrainingJobName", default_name(task_id))
    request["EnableManagedSpotTraining"] = spot = spot_of(config, settings.use_spot_instances)
    stopping = {
        name: value for name, value in section(request, "StoppingCondition").items() if not gives_nothing(value)
    }
    for name, value in (("MaxRuntimeInSeconds", settings.max_run), ("MaxWaitTimeInSeconds", settings.max_wait)):
        if value is not None:
            stopping[name] = value
    stopping.setdefault("MaxRuntimeInSeconds", spot_rules.default_max_run({**request, "StoppingCondition": stopping}))
    if spot is True and "MaxWaitTimeInSeconds" not in stopping:
        max_run = stopping["MaxRuntimeInSeconds"]
        if not is_template(max_run):
            stopping["MaxWaitTimeInSeconds"] = _default_max_wait(request, max_run)
    if spot is False and settings.ladder is None:
        stopping.pop("MaxWaitTimeInSeconds", None)  # it is for spot only; a rung of a ladder may be on spot
    request["StoppingCondition"] = stopping
    return _with_checkpoints(request, settings)


def build_plan(
    config: Mapping[str, Any],
    settings: SpotSettings,
    run: RunIdentity,
    shape: Shape,
    member: str = "",
) -> Plan:
    """
    Validate and coerce a rendered request; nothing is sent before this has passed.

    :param config: the user's ``config``, templates rendered. It is not changed.
    :param settings: the operator's parameters.
    :param run: whose request it is.
    :param shape: CreateTrainingJob's input, as botocore's model has it.
    :param member: of a mapped task, what tells its member.
    :raises InvalidParameterError: naming the first field that is wrong, its value and the fix.
    """
    request = apply_settings(config, settings, run.task_id)
    if section(request, "OutputDataConfig").get("S3OutputPath") is None:
        # Else its absence would show as one of the checkpoints' folder, which is made of it.
        raise InvalidParameterError("OutputDataConfig.S3OutputPath", Described("missing"), "SageMaker requires it")
    prefix = legal_prefix(str(request["TrainingJobName"]))
    # Of legal length for the check only: an attempt's name is made later.
    request["TrainingJobName"] = prefix[:36].rstrip("-")
    request = coerce(request, shape)
    preferences = "InstancePreferences" in shape.members["ResourceConfig"]().members
    if settings.ladder is None:
        spot_rules.check(request)
    resources = request.get("ResourceConfig") or {}
    if settings.ladder is None and not any(
        resources.get(name) for name in ("InstanceType", "InstanceGroups", "InstancePreferences")
    ):
        raise InvalidParameterError(
            "ResourceConfig.InstanceType", resources.get("InstanceType"), "name an instance type"
        )
    ladder = _ladder(settings.ladder, request, shape, preferences)
    del request["TrainingJobName"]
    plan = Plan(
        run=run,
        request=request,
        prefix=prefix,
        ladder=ladder,
        checkpoint_base=request["CheckpointConfig"]["S3Uri"] if "CheckpointConfig" in request else None,
        checkpoint_scope=settings.checkpoint_scope,
        preferences=preferences,
        member=member,
    )
    if (folder := plan.checkpoint_s3_uri(1)) is not None:
        # The base may fit where the run's folder below it does not; every generation's is of one length.
        uri = shape.members["CheckpointConfig"]().members["S3Uri"]()
        coerce(folder, uri, "CheckpointConfig.S3Uri")
    return plan


def _default_max_wait(request: Mapping[str, Any], max_run: Any) -> int:
    return spot_rules.default_max_wait(request, seconds("StoppingCondition.MaxRuntimeInSeconds", max_run))


def _with_checkpoints(request: dict[str, Any], settings: SpotSettings) -> dict[str, Any]:
    if settings.use_checkpoints is False:
        request.pop("CheckpointConfig", None)  # an empty one: any other is refused
        return request
    checkpoints = section(request, "CheckpointConfig")
    if settings.checkpoint_s3_uri is not None:
        checkpoints["S3Uri"] = settings.checkpoint_s3_uri
    if "S3Uri" not in checkpoints:
        output = section(request, "OutputDataConfig").get("S3OutputPath")
        if isinstance(output, str) and not is_template(output):
            check_s3_uri("OutputDataConfig.S3OutputPath", output)
            checkpoints["S3Uri"] = f"{output.rstrip('/')}/checkpoints"
    if settings.checkpoint_local_path is not None:
        checkpoints["LocalPath"] = settings.checkpoint_local_path
    checkpoints.setdefault("LocalPath", DEFAULT_CHECKPOINT_PATH)
    request["CheckpointConfig"] = checkpoints
    return request


def section(request: Mapping[str, Any], name: str) -> dict[str, Any]:
    """
    Take a section of a request; empty where there is none.

    :raises InvalidParameterError: it is no mapping.
    """
    found = request.get(name)
    if found is not None and not isinstance(found, Mapping):
        raise InvalidParameterError(name, found, "must be a mapping")
    return dict(found or {})


def check_config(config: Any) -> None:
    """
    Check that a config is a mapping.

    :raises InvalidParameterError: it is not, such as a template that was rendered to text. It may hold secrets: only
        its type is shown.
    """
    if not isinstance(config, Mapping):
        native = "; a template gives one with render_template_as_native_obj=True on the DAG"
        hint = native if isinstance(config, str) else ""
        raise InvalidParameterError("config", kind_of(config), f"must be a mapping{hint}")


def _ladder(given: Any, request: Mapping[str, Any], shape: Shape, preferences: bool) -> tuple[Rung, ...]:
    """Read the ladder, and make every rung's request once: what is wrong with the last one is met before the first."""
    if given is None:
        return (_rung(request),)
    check_groups(given, request)
    count = int((request.get("ResourceConfig") or {}).get("InstanceCount") or 1)
    rungs = read_ladder(given, instance_count=count, spot=bool(request.get("EnableManagedSpotTraining")))
    ladder = tuple(_as_text(rung, shape) for rung in rungs)
    for i, rung in enumerate(ladder):
        try:
            spot_rules.check(coerce(_on_rung(request, rung, preferences), shape))
        except InvalidParameterError as error:
            raise InvalidParameterError(f"ladder[{i}]: {error.name}", error.value, error.fix) from None
    return ladder


def _as_text(rung: Rung, shape: Shape) -> Rung:
    """Make text of what a rung lays over text: 16 of a batch size."""
    laid = {"hyperparameters": "HyperParameters", "environment": "Environment"}
    return replace(
        rung,
        **{
            name: coerce(value, shape.members[field](), field)
            for name, field in laid.items()
            if (value := getattr(rung, name)) is not None
        },
    )


def check_groups(ladder: Any, config: Mapping[str, Any]) -> None:
    """
    Check that a config with a ladder has no instance groups, which a rung's one instance type would replace.

    :raises InvalidParameterError: it has.
    """
    resources = config.get("ResourceConfig")
    groups = resources.get("InstanceGroups") if isinstance(resources, Mapping) else None
    if groups and ladder is not None and not is_template(ladder):
        raise InvalidParameterError(
            "ResourceConfig.InstanceGroups",
            groups,
            "cannot be used with a ladder, whose rungs have one instance type each: remove one of the two",
        )


def _on_rung(request: Mapping[str, Any], rung: Rung, preferences: bool) -> dict[str, Any]:
    max_run = (request.get("StoppingCondition") or {}).get("MaxRuntimeInSeconds", spot_rules.DEFAULT_MAX_RUN)
    return apply_rung(request, rung, preferences=preferences, max_wait=_default_max_wait(request, max_run))


def _rung(request: Mapping[str, Any]) -> Rung:
    place = Placement.of_resources(request["ResourceConfig"], bool(request.get("EnableManagedSpotTraining")))
    return Rung(place.instance_type, place.instance_count, place.spot, groups=place.groups, as_requested=True)
