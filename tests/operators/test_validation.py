"""What cannot be right is refused by name: when the DAG is parsed, or, rendered, before anything is sent."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest

from airflow_spot.core.identity import JobName
from airflow_spot.core.ladder import Rung
from airflow_spot.core.parameter_errors import InvalidParameterError
from airflow_spot.errors import RequestError
from airflow_spot.operators.training import SageMakerSpotTrainingOperator
from tests.operators.test_endings import Hook
from tests.support.requests import stock_config
from tests.support.sagemaker import DictionarySageMaker
from tests.support.task import TaskInstance

GROUPS = {"InstanceGroups": [{"InstanceGroupName": "a", "InstanceType": "ml.m5.large", "InstanceCount": 2}]}


def operator(config: Any = None, task_id: str = "train", **parameters: Any) -> SageMakerSpotTrainingOperator:
    """A task, as a DAG's author writes it, on a SageMaker of its own."""
    made = SageMakerSpotTrainingOperator(
        task_id=task_id,
        config=stock_config("bucket") if config is None else config,
        aws_conn_id=None,
        region_name="us-east-1",
        print_log=False,
        **{"wait_for_completion": False, **parameters},
    )
    made.__dict__["hook"] = Hook(DictionarySageMaker())
    return made


def run(task: SageMakerSpotTrainingOperator) -> dict[str, Any]:
    """The one job that a task which does not wait creates."""
    context: Any = {"ti": TaskInstance(task.task_id)}
    task.execute(context)
    (job,) = task.hook.service.jobs.values()  # type: ignore[attr-defined]
    return dict(job)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("check_interval", 0, "is 0: must be seconds, above 0"),
        ("check_interval", -5, "is -5: must be seconds, above 0"),
        ("check_interval", float("nan"), "is nan: must be seconds, above 0"),
        ("check_interval", float("inf"), "is inf: must be seconds, above 0"),
        ("check_interval", True, "is True: must be seconds, above 0"),
        ("check_interval", "abc", "is 'abc': must be seconds, above 0"),
        ("max_ingestion_time", 0, "is 0: give at least one second"),
        ("max_ingestion_time", -5, "is -5: give at least one second"),
        ("max_ingestion_time", "soon", "is 'soon': give seconds, a timedelta"),
        ("max_ingestion_time", "{{ var.value.time }}", "give seconds, a timedelta"),  # of no field that is rendered
    ],
)
def test_a_wrong_time_is_met_when_the_dag_is_parsed_and_when_the_task_runs(name: str, value: Any, says: str) -> None:
    with pytest.raises(InvalidParameterError, match=re.escape(says)) as refused:
        operator(**{name: value})
    assert refused.value.name == name
    late = operator()
    setattr(late, name, value)
    with pytest.raises(RequestError, match=re.escape(f"{says}") + ".*Nothing was sent to SageMaker"):
        run(late)


@pytest.mark.parametrize(
    "parameters",
    [
        {"check_interval": "30"},
        {"check_interval": 0.5},
        {"max_ingestion_time": "6h"},
        {"max_ingestion_time": timedelta(hours=1)},
        {"max_ingestion_time": 3600},
    ],
)
def test_times_that_are_right(parameters: dict[str, Any]) -> None:
    assert run(operator(**parameters))["TrainingJobStatus"] == "InProgress"


@pytest.mark.parametrize(
    ("value", "kind"),
    [("{'Environment': {'TOKEN': 's3cr3t'}}", "text"), (["s3cr3t"], "a list"), (None, "nothing"), (5, "a number")],
)
@pytest.mark.parametrize("more", [{}, {"entry_point": "train.py"}])
def test_a_config_that_is_no_mapping_is_refused_and_not_shown(value: Any, kind: str, more: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameterError, match=f"config is {kind}: must be a mapping") as parsed:
        operator(**more).__class__(task_id="train", config=value, **more)
    late = operator(**more)
    late.config = value
    with pytest.raises(RequestError, match=r"config is .*: must be a mapping.*Nothing was sent") as rendered:
        run(late)
    assert "s3cr3t" not in f"{parsed.value}{rendered.value}"


def test_a_config_that_is_rendered_later_is_left() -> None:
    template: Any = "{{ var.json.config }}"
    assert operator(template).config == template


@pytest.mark.parametrize("field", ["OutputDataConfig", "HyperParameters"])
def test_a_section_that_is_no_mapping_is_named(field: str) -> None:
    late = operator(entry_point="train.py", source_dir="s3://bucket/code.tar.gz")
    late.config = {**stock_config("bucket"), field: "{'password': 's3cr3t'}"}
    with pytest.raises(RequestError, match=f"{field}.*must be a mapping"):
        run(late)


def test_instance_groups_and_a_ladder_exclude_each_other() -> None:
    config = {**stock_config("bucket"), "ResourceConfig": GROUPS}
    with pytest.raises(
        InvalidParameterError, match="ladder, whose rungs have one instance type each: remove one of the two"
    ):
        operator(config, ladder=["ml.m5.large"])
    late = operator(config, ladder="{{ params.ladder }}")
    late.ladder = '["ml.m5.large"]'
    with pytest.raises(RequestError, match=r"InstanceGroups.*remove one of the two. Nothing was sent"):
        run(late)
    assert run(operator(config))["ResourceConfig"] == GROUPS


@pytest.mark.parametrize(
    ("use_spot", "rung", "spot"),
    [
        (True, "ml.m5.large", True),
        (False, "ml.m5.large", False),
        ("False", {"instance_type": "ml.m5.large"}, False),
        (False, Rung("ml.m5.large", wait="5m"), False),
        (False, Rung("ml.m5.large", instance_types=["ml.m5.large", "ml.m5.xlarge"]), False),
        # A rung that says so itself is as it says.
        (False, Rung("ml.m5.large", spot=True), True),
        (False, {"instance_type": "ml.m5.large", "spot": "True"}, True),
        (True, Rung.on_demand("ml.m5.large"), False),
        (True, Rung("ml.m5.large", spot=False), False),
    ],
)
def test_a_rung_that_does_not_say_is_as_the_task_says(use_spot: Any, rung: Any, spot: bool) -> None:
    job = run(operator(use_spot_instances=use_spot, ladder=[rung]))
    assert job["EnableManagedSpotTraining"] is spot
    assert ("MaxWaitTimeInSeconds" in job["StoppingCondition"]) is spot


def test_on_which_market_is_left_open_while_it_is_a_template() -> None:
    kinds = ["ml.m5.large", "ml.m5.xlarge"]
    operator(use_spot_instances="{{ params.spot }}", ladder=[Rung(kinds[0], instance_types=kinds)])
    with pytest.raises(InvalidParameterError, match="for on-demand only"):
        operator(use_spot_instances=True, ladder=[Rung(kinds[0], instance_types=kinds)])


@pytest.mark.parametrize(
    ("task_id", "prefix"), [("训练", "training"), ("__", "training"), ("train_1", "train-1"), ("группа.train", "train")]
)
def test_a_task_whose_id_can_be_no_name_has_one_all_the_same(task_id: str, prefix: str) -> None:
    config = {name: value for name, value in stock_config("bucket").items() if name != "TrainingJobName"}
    name = JobName.parse(run(operator(config, task_id))["TrainingJobName"])
    assert name is not None
    assert name.prefix == prefix


def test_a_name_that_the_user_gave_is_refused_where_it_can_be_none() -> None:
    with pytest.raises(InvalidParameterError, match="TrainingJobName is '训练'"):
        operator({**stock_config("bucket"), "TrainingJobName": "训练"})


@pytest.mark.parametrize(
    ("rendered", "spot", "line"),
    [
        ("False", False, "max_wait is left out: it is for spot only, and this training is on-demand"),
        ("True", True, None),
        ("", True, None),
        ("None", True, None),
        (None, True, None),
    ],
)
def test_a_switch_at_run_time_may_be_off_or_say_nothing(
    rendered: Any, spot: bool, line: str | None, said: list[str]
) -> None:
    task = operator(use_spot_instances="{{ params.spot }}", max_wait="2h")
    task.use_spot_instances = rendered
    job = run(task)
    assert job["EnableManagedSpotTraining"] is spot
    assert ("MaxWaitTimeInSeconds" in job["StoppingCondition"]) is spot
    assert [each for each in said if "max_wait" in each] == ([line] if line else [])


def test_the_configs_word_holds_and_one_line_says_where_the_parameter_wins(said: list[str]) -> None:
    config = {**stock_config("bucket"), "EnableManagedSpotTraining": False}
    assert run(operator(config))["EnableManagedSpotTraining"] is False
    line = "use_spot_instances=True overrides EnableManagedSpotTraining=False of the config"
    assert line not in said
    assert run(operator(config, use_spot_instances=True))["EnableManagedSpotTraining"] is True
    assert said.count(line) == 1


@pytest.mark.parametrize(
    ("operations", "says"),
    [
        (["x"], "S3Operations is a list: must be a mapping"),
        ({"S3Upload": {"Path": "a"}}, "S3Operations.S3Upload is a mapping: must be a list"),
        ({"S3Uploads": []}, "S3Operations.S3Uploads is an unknown field: did you mean S3Upload?"),
        ({"S3CreateBucket": [{}]}, "S3CreateBucket[0].Bucket is missing: S3CreateBucket needs Bucket, each as text"),
        (
            {"S3Upload": [{"Path": "a", "Bucket": "b"}]},
            "S3Operations.S3Upload[0].Key is missing: S3Upload needs Path, Bucket, Key, each as text",
        ),
        (
            {"S3Upload": [{"Path": "a", "Bucket": "b", "Key": "c", "tar": True}]},
            "S3Operations.S3Upload[0].tar is an unknown field: did you mean Tar?",
        ),
        (
            {"S3Upload": [{"Path": "a", "Bucket": "b", "Key": "c", "Tar": "maybe"}]},
            "S3Operations.S3Upload[0].Tar is 'maybe': must be true or false",
        ),
    ],
)
def test_a_wrong_s3_operation_is_met_when_the_dag_is_parsed_and_when_the_task_runs(operations: Any, says: str) -> None:
    config = {**stock_config("bucket"), "S3Operations": operations}
    with pytest.raises(InvalidParameterError, match=re.escape(says)):
        operator(config)
    late = operator({**config, "S3Operations": "{{ params.operations }}"})
    late.config = config
    with pytest.raises(RequestError, match=re.escape(says) + r"\.? Nothing was sent to SageMaker"):
        run(late)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"OutputDataConfig": None}, "OutputDataConfig.S3OutputPath is missing: SageMaker requires it. Nothing was"),
        ({"OutputDataConfig": {}}, "OutputDataConfig.S3OutputPath is missing: SageMaker requires it. Nothing was"),
        ({"RoleArn": None}, "RoleArn is missing: SageMaker requires it. Nothing was"),
        ({"Hyperparameters": {}}, "Hyperparameters is an unknown field: did you mean HyperParameters? Nothing was"),
    ],
)
def test_what_is_wrong_is_said_in_right_and_whole_sentences(config: dict[str, Any], says: str) -> None:
    late = operator("{{ var.json.config }}")
    late.config = {**stock_config("bucket"), **config}
    with pytest.raises(RequestError, match=re.escape(says)):
        run(late)
