"""Subclasses of the stock operator whose import changed: their steps are called, or refused when the DAG is parsed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook
from airflow.providers.common.compat.sdk import DAG, TaskDeferred

from airflow_spot.core.parameter_errors import InvalidParameterError
from airflow_spot.errors import RequestError
from airflow_spot.operators.training import SageMakerSpotTrainingOperator as SageMakerTrainingOperator
from tests.operators.scene import Hook, resume
from tests.support.requests import ROLE, stock_config
from tests.support.sagemaker import DictionarySageMaker
from tests.support.task import TaskInstance


def made(kind: type, service: DictionarySageMaker, **parameters: Any) -> Any:
    defaults: dict[str, Any] = {"task_id": "train", "print_log": False, "aws_conn_id": None, "deferrable": True}
    config = parameters.pop("config", None) or stock_config("bucket")
    operator = kind(config=config, **{**defaults, **parameters})
    operator.__dict__["hook"] = Hook(service)
    return operator


def defer(operator: Any) -> Any:
    context: Any = {"ti": TaskInstance("train")}
    with pytest.raises(TaskDeferred) as wait:
        operator.execute(context)
    return wait.value.trigger


class Preprocesses(SageMakerTrainingOperator):
    def preprocess_config(self) -> None:
        super().preprocess_config()
        self.config["Tags"] = [{"Key": "team", "Value": "ml"}]
        self.config["HyperParameters"]["epochs"] = 5


def test_preprocess_config_is_called_in_each_worker_and_the_dags_config_is_not_changed(
    service: DictionarySageMaker, said: list[str]
) -> None:
    operator = made(Preprocesses, service)
    trigger = defer(operator)
    (job,) = service.jobs.values()
    assert job["HyperParameters"] == {"epochs": "5"}
    assert service.tags_of(job["TrainingJobName"])["team"] == "ml"
    assert operator.config == stock_config("bucket")
    with pytest.raises(TaskDeferred):
        resume(made(Preprocesses, service), TaskInstance("train"), trigger)
    assert not [line for line in said if "changed" in line]  # the same training as before the deferral


class KeepsRole(SageMakerTrainingOperator):
    def expand_role(self) -> None:
        self.config["RoleArn"] = ROLE


def test_expand_role_is_called(service: DictionarySageMaker) -> None:
    defer(made(KeepsRole, service, config={**stock_config("bucket"), "RoleArn": "by-name"}))
    (job,) = service.jobs.values()
    assert job["RoleArn"] == ROLE


class CallsAllSteps(SageMakerTrainingOperator):
    def _create_integer_fields(self) -> None:
        super()._create_integer_fields()
        self.integer_fields.append(["ResourceConfig", "VolumeSizeInGB"])

    def execute(self, context: Any) -> Any:
        self.log.info("before")
        return super().execute(context)

    def execute_complete(self, context: Any, event: Any = None) -> Any:
        return super().execute_complete(context, event)

    def on_kill(self) -> None:
        super().on_kill()


def test_overrides_that_call_what_they_override_are_right(service: DictionarySageMaker) -> None:
    defer(made(CallsAllSteps, service))
    assert len(service.jobs) == 1


def names(self: Any, *args: Any) -> str:
    return "a-name"


def kills(self: Any) -> None:
    self.hook.conn.stop_training_job(TrainingJobName=self.config["TrainingJobName"])


def completes(self: Any, context: Any, event: Any = None) -> Any:
    return event


@pytest.mark.parametrize(
    ("name", "override", "says"),
    [
        ("_get_unique_job_name", names, "is never called: job names follow from the run"),
        ("_check_if_job_exists", names, "is never called: job names follow from the run"),
        ("serialize_result", names, "is never called: change what execute and execute_complete"),
        ("on_kill", kills, r"does not call super\(\).on_kill\(\): call it, or remove the override: it stops the job"),
        ("execute_complete", completes, r"does not call super\(\).execute_complete\(\)"),
        ("aws_hook_class", SageMakerHook, "is SageMakerHook: must be a subclass of airflow_spot.hooks"),
    ],
)
def test_what_is_not_called_is_refused_when_the_dag_is_parsed(
    name: str, override: Any, says: str, service: DictionarySageMaker
) -> None:
    kind = type("Mine", (SageMakerTrainingOperator,), {name: override})
    with pytest.raises(InvalidParameterError, match=rf"Mine\.{name} .*{says}"):
        made(kind, service)


@pytest.mark.parametrize(("name", "override"), [("_get_unique_job_name", names), ("on_kill", kills)])
def test_and_so_is_it_where_the_task_is_mapped(name: str, override: Any) -> None:
    """Airflow makes no operator of a mapped task before a worker runs a member of it."""
    kind = type("Mine", (SageMakerTrainingOperator,), {name: override})
    with pytest.raises(InvalidParameterError, match=rf"Mine\.{name} "):
        kind.partial(task_id="train", config=stock_config("bucket"))


@pytest.mark.parametrize("wrong", [{"max_run": "soon"}, {"checkpoint_scope": "all"}, {"model_s3_uri": "/models"}])
def test_what_all_members_are_given_is_read_when_the_dag_is_parsed(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameterError, match=next(iter(wrong))):
        SageMakerTrainingOperator.partial(task_id="train", **wrong)
    with pytest.raises(InvalidParameterError, match=r"model_s3_uri .* every map index would copy its model there"):
        SageMakerTrainingOperator.partial(task_id="train", model_s3_uri="s3://bucket/models/")
    with DAG("a_dag", schedule=None):
        given = {"max_run": "2h", "max_wait": "{{ params.wait }}", "retries": 3}
        given["model_s3_uri"] = "s3://bucket/{{ ti.map_index }}/"
        SageMakerTrainingOperator.partial(task_id="train", **given).expand(config=[stock_config("bucket")])


class ChangesInExecute(SageMakerTrainingOperator):
    def execute(self, context: Any) -> Any:
        self.config["HyperParameters"]["epochs"] = 5
        return super().execute(context)


@pytest.mark.parametrize("deferrable", [True, False])
def test_a_config_that_execute_changes_is_refused_where_a_deferral_would_lose_it(
    deferrable: bool, service: DictionarySageMaker
) -> None:
    operator = made(ChangesInExecute, service, deferrable=deferrable, wait_for_completion=deferrable)
    context: Any = {"ti": TaskInstance("train")}
    operator.render_template_fields(context)
    if deferrable:
        with pytest.raises(RequestError, match=r"ChangesInExecute.execute changes the config.*preprocess_config\(\)"):
            operator.execute(context)
        assert not service.jobs
    else:
        operator.execute(context)
        (job,) = service.jobs.values()
        assert job["HyperParameters"] == {"epochs": "5"}


@pytest.mark.parametrize("by", ["config", "kwargs", "max_run"])
def test_and_so_is_it_in_a_mapped_task(by: str, service: DictionarySageMaker) -> None:
    """Rendered by Airflow's own mapped operator, which makes the member's operator and hands it on in the context."""
    config = stock_config("bucket")
    with DAG("a_dag", schedule=None) as dag:
        if by == "config":
            mapped = ChangesInExecute.partial(task_id="train", deferrable=True).expand(config=[config])
        elif by == "kwargs":
            mapped = ChangesInExecute.partial(task_id="train").expand_kwargs([{"config": config, "deferrable": True}])
        else:
            mapped = ChangesInExecute.partial(task_id="train", deferrable=True, config=config).expand(max_run=[3600])
    ti = TaskInstance("train", map_index=0)
    context: Any = {"ti": ti, "task": mapped, "dag": dag, "dag_run": SimpleNamespace(conf={}), "params": {}}
    mapped.render_template_fields(context)
    member = context["task"]
    member.__dict__["hook"] = Hook(service)
    with pytest.raises(RequestError, match=r"ChangesInExecute\.execute changes the config"):
        member.execute(context)
    assert not service.jobs
