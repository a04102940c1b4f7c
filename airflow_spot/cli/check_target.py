"""What ``airflow-spot check`` looks at: training tasks of a DAG file, or a config, as requests and a script."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from airflow_spot.core import spot_rules
from airflow_spot.core.identity import RunIdentity
from airflow_spot.core.ladder import apply_rung, has_templates, read_ladder
from airflow_spot.core.money.prices import read_amount
from airflow_spot.core.parameter_errors import InvalidParameterError
from airflow_spot.core.parameters import PARAMETERS, read_parameters
from airflow_spot.core.plan import Plan, SpotSettings, apply_settings, build_plan, section
from airflow_spot.core.request_schema import Shape
from airflow_spot.core.templates import is_template
from airflow_spot.preflight.findings import PreflightFinding, not_checked, of_error
from airflow_spot.preflight.wanted import unknown_fields
from airflow_spot.rehearsal.subject import RehearsalError, Subject, from_request

if TYPE_CHECKING:
    from airflow_spot.aws.source_archive import SourceArchive

_OPERATORS = {"SageMakerTrainingOperator", "SageMakerSpotTrainingOperator"}


@dataclass(frozen=True)
class Target:
    """
    One training task, or one config.

    :param name: for people.
    :param requests: what its jobs ask for: a plan, or a request a rung; None where there is none to look at.
    :param region: that it names itself; empty for none.
    :param findings: what is wrong with it by itself, and what of it is not known.
    :param script: what it runs; None where its script is not at hand.
    :param max_cost: what it says itself of what it may cost; None for nothing, or what is known only when it runs.
    """

    name: str
    requests: Plan | tuple[Mapping[str, Any], ...] | None
    region: str = ""
    findings: tuple[PreflightFinding, ...] = ()
    script: Subject | None = field(default=None, repr=False)
    max_cost: Decimal | None = None

    def archive(self) -> AbstractContextManager[SourceArchive | None] | None:
        """Return what gives the code as it is sent; None where there is none."""
        return None if self.script is None else self.script.archive()


def of_config(path: Path, shape: Shape, source_dir: Path | None = None) -> Target:
    """
    Return a config in a JSON file: CreateTrainingJob's parameters, as the operator takes them.

    :raises RehearsalError: it cannot be read.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RehearsalError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise RehearsalError(f"{path} is not JSON: {error}") from None
    if not isinstance(config, dict):
        raise RehearsalError(f"{path} is not a training job's config: it holds no JSON object")
    given = SimpleNamespace(**{**dict.fromkeys(PARAMETERS), "config": config})
    requests, findings = requests_of(given, shape, RunIdentity("check", "check", "check", path.stem, -1))
    try:
        script, told = from_request(config, path.name, source_dir=source_dir), []
    except (RehearsalError, LookupError, TypeError, ValueError, AttributeError) as error:
        script, told = None, [not_checked("script", "entry_point", "", str(error))]
    return Target(str(path), requests, findings=(*findings, *told), script=script)


def of_dag_file(path: Path, shape: Shape, task_id: str | None, dag_id: str | None) -> list[Target]:
    """
    Return the training tasks of a DAG file.

    :param task_id: the only one; None for all.
    :param dag_id: of its DAG; None for any.
    :raises RehearsalError: the file cannot be imported, or there is no such task.
    """
    from airflow_spot.rehearsal.dag_tasks import dags_in, task_of

    if task_id is not None:
        return [_of_task(path, task_of(path, task_id, dag_id), shape)]
    found = []
    for dag in dags_in(path):
        for task in dag.tasks if dag_id in (None, dag.dag_id) else ():
            if _trains(task):
                found.append(_of_listed(path, task, dag.dag_id, shape))
    if not found:
        raise RehearsalError(f"{path}: no task trains in SageMaker{f' in DAG {dag_id}' if dag_id else ''}")
    return found


def _trains(task: Any) -> bool:
    kind = getattr(task, "operator_class", type(task))
    return isinstance(kind, type) and bool(_OPERATORS & {each.__name__ for each in kind.__mro__})


def _of_listed(path: Path, task: Any, dag_id: str, shape: Shape) -> Target:
    from airflow_spot.rehearsal.dag_tasks import unmapped

    try:
        return _of_task(path, unmapped(task, task.task_id), shape)
    except RehearsalError as error:
        why = (not_checked("request", "task", task.task_id, str(error)),)
        return Target(f"DAG {dag_id}, task {task.task_id}", None, findings=why)


def _of_task(path: Path, task: Any, shape: Shape) -> Target:
    from airflow_spot.operators._config_file import read_beside
    from airflow_spot.rehearsal.dag_file import from_dag_file
    from airflow_spot.rehearsal.dag_tasks import Rendering

    rendering = Rendering(task)
    name = f"DAG {task.dag_id}, task {task.task_id}"
    given = SimpleNamespace(**{each: rendering.value(getattr(task, each, None), each) for each in PARAMETERS})
    region = rendering.value(getattr(task, "region_name", None), "region_name")
    region = region if isinstance(region, str) and not is_template(region) else ""
    try:
        given.config = read_beside(given.config, path.absolute().parent)
    except InvalidParameterError as error:
        return Target(name, None, region, (of_error(error),))
    if isinstance(given.config, str):
        try:
            given.config = json.loads(given.config)
        except ValueError:
            why = (
                "it is known only when the task runs" if is_template(given.config) else "it is read when the task runs"
            )
            return Target(name, None, region, (not_checked("request", "config", "", why),))
    run = RunIdentity("check", task.dag_id, "check", task.task_id, -1)
    requests, findings = requests_of(given, shape, run)
    try:
        script, told = from_dag_file(path, task.task_id, task.dag_id), []
    except RehearsalError as error:
        script, told = None, [not_checked("script", "entry_point", "", str(error))]
    return Target(name, requests, region, (*findings, *told), script, _amount(given.max_cost))


def _amount(given: Any) -> Decimal | None:
    """Return a task's ``max_cost``; one that is wrong is a finding already."""
    try:
        return None if given is None or is_template(given) else read_amount("max_cost", given)
    except InvalidParameterError:
        return None


def requests_of(
    given: Any, shape: Shape, run: RunIdentity
) -> tuple[Plan | tuple[Mapping[str, Any], ...] | None, list[PreflightFinding]]:
    """
    Return the plan of a task, or where that cannot be made yet its requests; and what is wrong with its parameters.

    :param given: has the operator's parameters as attributes, rendered as far as possible.
    :param shape: CreateTrainingJob's input, as botocore's model has it.
    """
    try:
        read = read_parameters(given, rendered=False)
        settings = read.spot_settings
        config = {name: value for name, value in read.config.items() if name != "S3Operations"}
    except (InvalidParameterError, AttributeError, TypeError) as error:
        if isinstance(error, InvalidParameterError):
            return _as_it_is(given.config), [of_error(error)]
        return None, [not_checked("request", "config", "", "it is no mapping")]
    unknown = [each for each in unknown_fields({"config": config, "ladder": settings.ladder}) if not _is_private(each)]
    if not unknown and not any(is_template(getattr(settings, name)) for name in vars(settings)):
        try:
            return _plan(_without_private_templates(config), settings, shape, run), []
        except InvalidParameterError as error:
            found = [of_error(error)]
    else:
        found = []
    try:
        request = apply_settings(config, settings, run.task_id)
    except InvalidParameterError as error:
        return _as_it_is(config), [*found, of_error(error)]
    return tuple(_rungs(request, settings)), found


def _plan(config: dict[str, Any], settings: SpotSettings, shape: Shape, run: RunIdentity) -> Plan:
    """Make the plan; a role by its name, which the task makes an ARN of when it runs, stays one."""
    role = config.get("RoleArn")
    if not isinstance(role, str) or not role or "/" in role:
        return build_plan(config, settings, run, shape)
    plan = build_plan({**config, "RoleArn": f"arn:aws:iam::{'0' * 12}:role/{role}"}, settings, run, shape)
    return replace(plan, request={**plan.request, "RoleArn": role})


def _rungs(request: dict[str, Any], settings: SpotSettings) -> Iterator[Mapping[str, Any]]:
    """Yield a request a rung; what is a template in it stays one."""
    try:
        if settings.ladder is None or has_templates(settings.ladder):
            yield request
            return
        resources = section(request, "ResourceConfig")
        known = {name: value for name, value in resources.items() if not has_templates(value)}
        # A number that nobody knows yet is that of every rung: those that name one are not told from the others.
        unknown = {name: value for name, value in resources.items() if name == "InstanceCount" and name not in known}
        spot, count = request.get("EnableManagedSpotTraining"), str(known.get("InstanceCount") or 1)
        rungs = read_ladder(
            settings.ladder,
            instance_count=int(count) if count.isdecimal() else 1,
            spot=spot if isinstance(spot, bool) else None,
        )
        max_wait = spot_rules.default_max_wait(request, spot_rules.DEFAULT_MAX_RUN)
        laid = [
            apply_rung({**request, "ResourceConfig": known}, rung, preferences=True, max_wait=max_wait)
            for rung in rungs
        ]
        yield from [{**each, "ResourceConfig": {**each["ResourceConfig"], **unknown}} for each in laid]
    except (InvalidParameterError, ValueError):  # said already: the plan could not be made for it
        yield request


def _as_it_is(config: Any) -> tuple[Mapping[str, Any], ...] | None:
    """Return a request of a config that cannot be read in whole: the places that it names can be looked at."""
    return (config,) if isinstance(config, Mapping) else None


def _is_private(field: str) -> bool:
    return field.startswith(("config.HyperParameters", "config.Environment", "config.Tags"))


def _without_private_templates(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config whose hyperparameters and environment are not templates: their values do not matter here."""
    made = dict(config)
    for name in ("HyperParameters", "Environment"):
        if isinstance(values := made.get(name), Mapping):
            made[name] = {key: "-" if has_templates(value) else value for key, value in values.items()}
    if has_templates(made.get("Tags")):
        made.pop("Tags")
    return made
