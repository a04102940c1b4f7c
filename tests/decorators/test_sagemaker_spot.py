"""``@task.sagemaker_spot`` in a DAG, and as a job of Local SageMaker: real processes, interrupted, resumed, retried."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred
from airflow.sdk import DAG, task, task_group

from airflow_spot.core.parameter_errors import InvalidParameterError
from airflow_spot.core.parameters import PARAMETERS
from airflow_spot.core.script_lint import lint
from airflow_spot.decorators.training import FACTS, PROGRAM, SageMakerSpotDecoratedOperator, script_of
from airflow_spot.errors import NonRetryableSpotError, RequestError, ScriptError
from airflow_spot.local import LocalSageMaker
from airflow_spot.operators.training import SageMakerSpotTrainingOperator
from tests.operators.test_training import in_background, outcome_of, output, running_job, wait_for
from tests.support.requests import ROLE
from tests.support.task import TaskInstance, run_task

if TYPE_CHECKING:
    from airflow_spot.checkpoint import Checkpointer


def count(steps: int, hold: int = 0, *, seconds: float = 0.05, checkpoint: Checkpointer) -> dict[str, Any]:
    """Count, and continue where a start before this one was; in its first start, wait at a step for whoever ends it."""
    import json
    import time
    from pathlib import Path

    found = checkpoint.load(lambda path: json.loads(Path(path).read_text()))
    state = found.state if found else {"sum": 0, "starts": []}
    first = found.step if found else 0
    state["starts"].append(first)
    for step in range(first + 1, steps + 1):
        time.sleep(seconds)
        state["sum"] += step
        checkpoint.save(step, lambda path: Path(path).write_text(json.dumps(state)))
        while step == hold and first == 0:
            time.sleep(0.1)
    return state


def plain(value: Any) -> Any:
    return {"value": value}


SHORT: dict[str, Any] = {"image": "image", "instance_type": "ml.m5.xlarge", "role": ROLE, "max_run": "1h"}


def operator(bucket: str, function: Any, *args: Any, decorated: dict[str, Any] | None = None, **kwargs: Any) -> Any:
    """The task of a call, made again for each try."""
    parameters = {**SHORT, "output_path": f"s3://{bucket}/output", "check_interval": 1, "task_id": "train"}
    made = task.sagemaker_spot(**{**parameters, **(decorated or {})})(function)
    return made(*args, **kwargs).operator


# ---- in a DAG: what is accepted, and what is refused when it is parsed


def test_airflow_offers_it_and_it_is_the_operator() -> None:
    made = operator("bucket", plain, 1)
    assert isinstance(made, SageMakerSpotDecoratedOperator) and isinstance(made, SageMakerSpotTrainingOperator)
    assert made.config["AlgorithmSpecification"]["TrainingImage"] == "image"
    assert made.config["OutputDataConfig"] == {"S3OutputPath": "s3://bucket/output"}
    assert task.sagemaker_spot(plain)  # without parentheses too


def test_every_parameter_of_the_operator_is_taken_or_refused_with_a_reason() -> None:
    given = {
        "config": {"RoleArn": ROLE},
        "use_spot_instances": False,
        "max_run": "2h",
        "max_wait": "3h",
        "use_checkpoints": True,
        "checkpoint_s3_uri": "s3://bucket/c",
        "checkpoint_local_path": "/opt/ml/here",
        "checkpoint_scope": "exact",
        "resume": False,
        "on_config_change": "fail",
        "resume_from": "s3://bucket/before",
        "checkpoint_retention": "30d",
        "model_s3_uri": "s3://bucket/model/",
        "checkpoint_warning_after": "1h",
        "ladder": "auto",
        "instance_types": ["ml.m5.xlarge"],
        "max_total_wait": "1d",
        "max_attempts": 3,
        "max_total_run": "1d",
        "max_cost": 50,
        "max_starts_without_progress": 4,
        "script_error_retries": 1,
        "retry_exit_codes": [3],
        "source_dir": "scripts",
        "code_location": "s3://bucket/code",
        "lint": False,
        "preflight": "off",
        "wait_for_completion": True,
        "print_log": False,
        "check_interval": 5.0,
        "events_queue_url": "https://sqs.us-east-1.amazonaws.com/123456789012/q",
        "max_ingestion_time": "1d",
        "action_if_job_exists": "timestamp",
        "stop_on_kill": False,
        "deferrable": True,
    }
    made = operator("bucket", plain, 1, decorated=given)
    for name, value in given.items():
        assert getattr(made, name) == value or name == "config", name
    assert made.config["RoleArn"] == ROLE
    for name in ("entry_point", "adopt_job"):
        with pytest.raises(InvalidParameterError, match=f"{name} is 'x'"):
            operator("bucket", plain, 1, decorated={name: "x"})
    assert {*given, "entry_point", "adopt_job"} == set(PARAMETERS)


@pytest.mark.parametrize(
    ("decorated", "said"),
    [
        ({"max_run": "soon"}, "max_run is 'soon'"),
        ({"source_dir": "s3://bucket/code.tar.gz"}, "source_dir is .*: the function is put into it"),
        ({"requirements": "xgboost"}, r"requirements is 'xgboost': give a list of lines for pip"),
        ({"requirements": ["a\nb"]}, "requirements is"),
        ({"model_s3_uri": "s3://bucket/m/", "wait_for_completion": False}, "needs a task that waits"),
        ({"max_run": "2h", "max_wait": "1h"}, "MaxWaitTimeInSeconds"),
        (
            {"config": {"AlgorithmSpecification": {"ContainerEntrypoint": ["/bin/bash"]}}},
            "AlgorithmSpecification.ContainerEntrypoint: the function would not run",
        ),
        (
            {"use_checkpoints": False, "config": {"OutputDataConfig": {"CompressionType": "NONE"}}},
            "OutputDataConfig.CompressionType is 'NONE': without checkpoints the result is in",
        ),
    ],
)
def test_a_wrong_parameter_is_refused_when_the_dag_is_parsed(decorated: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidParameterError, match=said):
        operator("bucket", plain, 1, decorated=decorated)


def test_of_a_mapped_task_it_is_refused_when_the_function_is_decorated() -> None:
    """Airflow makes no operator of it then."""
    with pytest.raises(InvalidParameterError, match="max_run is 'soon'"):
        task.sagemaker_spot(max_run="soon")(plain)
    with pytest.raises(InvalidParameterError, match="a lambda"):
        task.sagemaker_spot()(lambda: 1)
    with pytest.raises(InvalidParameterError, match=r"count\(checkpoint\) is injected for checkpoints that SageMaker"):
        task.sagemaker_spot(use_checkpoints=False)(count)


def test_arguments_are_checked_at_the_call() -> None:
    with pytest.raises(InvalidParameterError, match=r"plain\(value\) is an object of PosixPath"):
        operator("bucket", plain, Path("x"))
    with pytest.raises(TypeError, match="steps"):
        operator("bucket", count)
    with pytest.raises(TypeError, match="checkpoint"):
        operator("bucket", count, 3, checkpoint=1)


def test_mapped_grouped_overridden_and_hinted() -> None:
    @task.sagemaker_spot(**SHORT, output_path="s3://bucket/output")
    def score(seed: Annotated[int, "any"], depth: int, checkpoint: Checkpointer) -> dict[str, float]:
        checkpoint.latest()
        return {"accuracy": 1.0 / (seed + depth)}

    @task
    def seeds() -> list[int]:
        return [1, 2]

    with DAG("a_dag", schedule=None) as dag:

        @task_group
        def group() -> None:
            once = score(1, 2)
            score.override(task_id="other", instance_type="ml.g5.xlarge", retries=2)(seed=once["accuracy"], depth=2)

        group()
        score.partial(depth="{{ params.depth }}").expand(seed=seeds())
        with pytest.raises(TypeError, match="checkpoint"):
            score.expand(checkpoint=[1])
    other: Any = dag.get_task("group.other")
    assert other.config["ResourceConfig"]["InstanceType"] == "ml.g5.xlarge"
    assert other.multiple_outputs and other.retries == 2
    assert other.upstream_task_ids == {"group.score"}
    mapped: Any = dag.get_task("score")
    assert mapped.upstream_task_ids == {"seeds"}
    member = mapped.unmap({"op_kwargs": {"seed": 2}})
    assert (member.op_kwargs, member.config["RoleArn"]) == ({"depth": "{{ params.depth }}", "seed": 2}, ROLE)
    dag.validate()


def test_members_of_a_mapped_task_do_not_share_a_place_for_their_models() -> None:
    with DAG("a_dag", schedule=None) as dag:
        task.sagemaker_spot(**SHORT, output_path="s3://bucket/o", model_s3_uri="s3://bucket/model/")(plain).expand(
            value=[1, 2]
        )
    with pytest.raises(InvalidParameterError, match="every map index would copy its model there"):
        dag.get_task("plain").unmap({"op_kwargs": {"value": 1}})


def test_default_args_fill_in_what_is_not_given() -> None:
    with DAG("a_dag", schedule=None, default_args={"role": "common", "image": "theirs", "max_run": "3h"}) as dag:
        task.sagemaker_spot(image="mine", instance_type="ml.m5.xlarge", output_path="s3://bucket/o")(plain)(1)
    made: Any = dag.get_task("plain")
    assert (made.config["RoleArn"], made.config["AlgorithmSpecification"]["TrainingImage"]) == ("common", "mine")
    assert made.max_run == "3h"


def test_a_dag_with_it_is_serialized(tmp_path: Path) -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    with DAG("a_dag", schedule=None) as dag:
        made = task.sagemaker_spot(**SHORT, output_path="s3://bucket/output", requirements=["numpy"])(count)
        made(3)
        made.override(task_id="mapped").partial(hold=1).expand(steps=[1, 2])
    kept = json.loads(json.dumps(DagSerialization.to_dict(dag)))
    assert {each["__var"]["task_id"] for each in kept["dag"]["tasks"]} == {"count", "mapped"}


def test_the_script_changes_with_the_function_alone() -> None:
    def here(value: Any) -> Any:
        return {"value": value}

    assert script_of(here) == script_of(here)
    assert script_of(plain).replace("plain", "here") == script_of(here), "wherever it stands, and however deep"


def test_a_function_may_be_named_as_what_calls_it(tmp_path: Path) -> None:
    def _call() -> Any:
        return 1

    text = script_of(_call)
    assert "__call.result = _call(*__call.args" in text
    compile(text, "script", "exec")


def test_a_hint_of_a_dict_goes_into_the_job() -> None:
    made = operator("bucket", count, 3).made_files((), {"steps": 3}, None)
    assert json.loads(made["airflow_spot_call.json"])["mapping"] is True


def test_the_lint_sees_the_checkpointer_and_what_a_function_does_without_one() -> None:
    def forgets(rounds: int) -> Any:
        import torch

        for round in range(rounds):
            torch.save({"round": round}, "/tmp/state.pt")

    def found(function: Any) -> list[str]:
        return [each.rule for each in lint({PROGRAM: script_of(function).encode()}, PROGRAM).findings]

    assert found(count) == []
    assert found(forgets) == ["no-checkpoint-path"]


# ---- as a job


@pytest.mark.parametrize("deferrable", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_it_goes_on_after_an_interruption_and_its_result_is_the_tasks(
    local: LocalSageMaker, bucket: str, ti: TaskInstance, deferrable: bool
) -> None:
    made = operator(bucket, count, 8, hold=3, decorated={"deferrable": deferrable})
    background = in_background(lambda: run_task(made, ti))
    name = running_job(local, ti)
    wait_for(local, lambda: [line for line in output(local, name) if "checkpoint of step 3" in line], "three steps")
    local.interrupt(name)
    result = outcome_of(background)
    assert result == {"sum": sum(range(9)), "starts": [0, 3]}
    facts = ti.xcoms[FACTS]
    assert facts["Spot"]["interruptions"] == 1
    assert facts["Training"]["TrainingJobName"] == name
    assert len(facts["Spot"]["attempts"]) == 1


def test_a_retry_after_a_lost_worker_gets_the_result_of_the_same_job(
    local: LocalSageMaker, bucket: str, ti: TaskInstance
) -> None:
    """The first worker is gone after it has created the job, the second one before it hands over the result."""
    with pytest.raises(TaskDeferred) as wait:
        operator(bucket, count, 20, decorated={"deferrable": True}).execute({"ti": ti, "task_instance": ti})
    (job,) = wait.value.trigger.serialize()[1]["jobs"]
    second = ti.retried()
    lost = operator(bucket, count, 20)
    lost._to_return = lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt())  # the process ends there
    with pytest.raises(KeyboardInterrupt):
        run_task(lost, second)
    third = second.retried()
    result = run_task(operator(bucket, count, 20), third)
    assert result == {"sum": sum(range(21)), "starts": [0]}
    assert [each["job_name"] for each in third.xcoms[FACTS]["Spot"]["attempts"]] == [job["name"]]
    # A clear after that trains anew, and gives the new job's result.
    cleared = third.cleared()
    assert run_task(operator(bucket, count, 5), cleared) == {"sum": 15, "starts": [0]}
    assert cleared.xcoms[FACTS]["Spot"]["generation"] == 2


@pytest.mark.slow  # an environment is made for the requirements
def test_without_checkpoints_and_with_a_folder_requirements_and_hyperparameters(
    local: LocalSageMaker, bucket: str, ti: TaskInstance, tmp_path: Path
) -> None:
    def helped(names: list[str], *more: int, **rest: Any) -> Any:
        import sys
        from pathlib import Path

        import helper

        required = (Path(__file__).parent / "requirements.txt").read_text()
        return [helper.VALUE, names, more, rest, required, "--rate" in sys.argv]

    (tmp_path / "helper.py").write_text("VALUE = 5\n")
    decorated = {
        "source_dir": str(tmp_path),
        "requirements": ["# nothing"],
        "use_checkpoints": False,
        "config": {"HyperParameters": {"rate": "1"}},
    }
    made = operator(bucket, helped, ["ü"], 1, 2, decorated=decorated, x={"y": None})
    assert run_task(made, ti) == [5, ["ü"], [1, 2], {"x": {"y": None}}, "# nothing\n", True]
    assert ti.xcoms[FACTS]["Spot"]["checkpoint_s3_uri"] is None


def test_a_result_that_is_none_fails_the_job_with_its_name(
    local: LocalSageMaker, bucket: str, ti: TaskInstance
) -> None:
    def wrong() -> Any:
        return {"model": object()}

    with pytest.raises(ScriptError, match=r"the result of wrong\['model'\] is an object of object"):
        run_task(operator(bucket, wrong), ti)


def test_a_process_that_ends_itself_leaves_no_result(local: LocalSageMaker, bucket: str, ti: TaskInstance) -> None:
    def gone() -> Any:
        import os

        os._exit(0)

    with pytest.raises(NonRetryableSpotError, match="completed without a result of gone: there is no s3://"):
        run_task(operator(bucket, gone), ti)


def test_an_argument_that_shows_itself_at_run_time_only_is_refused_before_a_job(
    local: LocalSageMaker, bucket: str, ti: TaskInstance
) -> None:
    made = operator(bucket, plain, "{{ a template }}")
    made.op_args = [Path("x")]
    with pytest.raises(RequestError, match=r"plain\(value\) is an object of PosixPath.*"):
        run_task(made, ti)


def test_it_may_be_left_running(local: LocalSageMaker, bucket: str, ti: TaskInstance) -> None:
    assert run_task(operator(bucket, count, 3, hold=1, decorated={"wait_for_completion": False}), ti) is None
    assert ti.xcoms[FACTS]["Training"]["TrainingJobStatus"] == "InProgress"


@pytest.mark.parametrize("use_checkpoints", [True, False])
@pytest.mark.local_sagemaker(isolation="relocate")
def test_it_trains_where_a_machine_has_no_opt_ml(
    local_sagemaker: LocalSageMaker, ti: TaskInstance, monkeypatch: pytest.MonkeyPatch, use_checkpoints: bool
) -> None:
    """On macOS, and in the containers of docker-compose.yaml: checkpoints and result find their places all the same."""
    local_sagemaker.client("s3").create_bucket(Bucket="relocated")
    made = operator("relocated", count if use_checkpoints else plain, 3, decorated={"use_checkpoints": use_checkpoints})
    assert run_task(made, ti) == ({"sum": 6, "starts": [0]} if use_checkpoints else {"value": 3})
