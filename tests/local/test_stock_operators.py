"""The Amazon provider's own operators, unchanged, against Local SageMaker."""

from __future__ import annotations

import io
import tarfile
import time
import uuid
from typing import Any

import pytest
from airflow.providers.amazon.aws.hooks import sagemaker as sagemaker_hook
from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook
from airflow.providers.amazon.aws.operators.sagemaker import (
    SageMakerEndpointConfigOperator,
    SageMakerEndpointOperator,
    SageMakerModelOperator,
    SageMakerProcessingOperator,
    SageMakerTrainingOperator,
    SageMakerTransformOperator,
    SageMakerTuningOperator,
)
from airflow.providers.amazon.aws.sensors.sagemaker import (
    SageMakerEndpointSensor,
    SageMakerTransformSensor,
    SageMakerTuningSensor,
)

from airflow_spot.compat.sdk import AirflowException
from airflow_spot.local import LocalSageMaker
from tests.local.hosting.test_endpoints import ADDER, archive
from tests.local.jobs import until
from tests.support.requests import ROLE, stock_config
from tests.support.service import MARKET

CONTEXT: Any = {}


@pytest.fixture
def name() -> str:
    return f"stock-{uuid.uuid4().hex[:8]}"


def put(local: LocalSageMaker, bucket: str, key: str, body: str | bytes) -> str:
    local.client("s3").put_object(Bucket=bucket, Key=key, Body=body)
    return f"s3://{bucket}/{key}"


def training_config(local: LocalSageMaker, bucket: str, name: str, script: str) -> dict[str, Any]:
    code = put(local, bucket, "code/sourcedir.tar.gz", archive({"train.py": script}))
    config = stock_config(bucket, name, sagemaker_program="train.py", sagemaker_submit_directory=code)
    put(local, bucket, "data/rows.csv", "1,2\n")
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{bucket}/data", "S3DataDistributionType": "FullyReplicated"}
    config["InputDataConfig"] = [{"ChannelName": "train", "DataSource": {"S3DataSource": source}}]
    return config


def test_processing(local: LocalSageMaker, bucket: str, name: str) -> None:
    script = "import shutil\nshutil.copy('/opt/ml/processing/input/rows.csv', '/opt/ml/processing/output')\n"
    inputs = {"code": put(local, bucket, "code/script.py", script), "data": put(local, bucket, "in/rows.csv", "1,2\n")}
    operator = SageMakerProcessingOperator(
        task_id="process",
        config={
            "ProcessingJobName": name,
            "RoleArn": ROLE,
            "AppSpecification": {
                "ImageUri": "image",
                "ContainerEntrypoint": ["python3", "/opt/ml/processing/code/script.py"],
            },
            "ProcessingInputs": [
                {
                    "InputName": part,
                    "S3Input": {
                        "S3Uri": uri,
                        "LocalPath": f"/opt/ml/processing/{'code' if part == 'code' else 'input'}",
                        "S3DataType": "S3Prefix",
                        "S3InputMode": "File",
                    },
                }
                for part, uri in inputs.items()
            ],
            "ProcessingOutputConfig": {
                "Outputs": [
                    {
                        "OutputName": "rows",
                        "S3Output": {
                            "S3Uri": f"s3://{bucket}/out",
                            "LocalPath": "/opt/ml/processing/output",
                            "S3UploadMode": "EndOfJob",
                        },
                    }
                ]
            },
            # As templates leave them: the operator makes integers of these.
            "ProcessingResources": {
                "ClusterConfig": {"InstanceCount": "1", "InstanceType": "ml.m5.large", "VolumeSizeInGB": "1"}
            },
        },
        check_interval=1,
        deferrable=False,
    )
    result = operator.execute(CONTEXT)
    assert result["Processing"]["ProcessingJobStatus"] == "Completed"
    copied = local.client("s3").get_object(Bucket=bucket, Key="out/rows.csv")["Body"].read()
    assert copied == b"1,2\n"


@pytest.mark.slow
def test_processing_takes_another_name_when_its_own_is_taken(local: LocalSageMaker, bucket: str, name: str) -> None:
    config = {
        "ProcessingJobName": name,
        "RoleArn": ROLE,
        "AppSpecification": {"ImageUri": "image", "ContainerEntrypoint": ["python3", "-c", "pass"]},
        "ProcessingResources": {
            "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
        },
    }
    names = []
    for _ in range(2):
        operator = SageMakerProcessingOperator(task_id="p", config=dict(config), check_interval=1, deferrable=False)
        names.append(operator.execute(CONTEXT)["Processing"]["ProcessingJobName"])
    assert names[0] == name
    assert names[1].startswith(f"{name}-")


class HurriedClock:
    """The stock hook looks at a job whose log it shows every 30 s, by its own clock; here every second."""

    sleep = staticmethod(time.sleep)

    @staticmethod
    def monotonic() -> float:
        return time.monotonic() * 30


@pytest.mark.slow
def test_training_shows_the_jobs_log(
    local: LocalSageMaker,
    bucket: str,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sagemaker_hook, "time", HurriedClock)
    script = """
        import os
        print("rows", open(os.environ["SM_CHANNEL_TRAIN"] + "/rows.csv").read().strip())
        open(os.environ["SM_MODEL_DIR"] + "/weights", "w").write("w")
    """
    operator = SageMakerTrainingOperator(
        task_id="train", config=training_config(local, bucket, name, script), check_interval=1, deferrable=False
    )
    training = operator.execute(CONTEXT)["Training"]
    assert training["TrainingJobStatus"] == "Completed"
    key = training["ModelArtifacts"]["S3ModelArtifacts"].removeprefix(f"s3://{bucket}/")
    model = local.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(model)) as tar:
        assert tar.getnames() == ["weights"]
    output = capfd.readouterr()
    assert "rows 1,2" in output.out + output.err


@pytest.mark.slow
def test_a_failed_training_fails_the_task_with_the_reason(local: LocalSageMaker, bucket: str, name: str) -> None:
    config = training_config(local, bucket, name, "raise SystemExit(3)")
    operator = SageMakerTrainingOperator(
        task_id="train", config=config, print_log=False, check_interval=1, deferrable=False
    )
    with pytest.raises(AirflowException, match="AlgorithmError"):
        operator.execute(CONTEXT)


def tuning_config(local: LocalSageMaker, bucket: str, name: str, script: str) -> dict[str, Any]:
    training = training_config(local, bucket, "unused", script)
    definition = {key: training[key] for key in ("InputDataConfig", "OutputDataConfig")}
    algorithm = {**training["AlgorithmSpecification"], "MetricDefinitions": [{"Name": "loss", "Regex": r"loss=(\S+)"}]}
    return {
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobConfig": {
            "Strategy": "Random",
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "loss"},
            # As templates leave them: the operator makes integers of these.
            "ResourceLimits": {"MaxNumberOfTrainingJobs": "3", "MaxParallelTrainingJobs": "3"},
            "ParameterRanges": {"ContinuousParameterRanges": [{"Name": "x", "MinValue": "0", "MaxValue": "1"}]},
        },
        "TrainingJobDefinition": {
            **definition,
            "AlgorithmSpecification": algorithm,
            "StaticHyperParameters": training["HyperParameters"],
            "RoleArn": ROLE,
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": "1", "VolumeSizeInGB": "1"},
            "EnableManagedSpotTraining": True,
            "StoppingCondition": {"MaxRuntimeInSeconds": "60", "MaxWaitTimeInSeconds": 120},
        },
    }


@pytest.mark.slow
def test_tuning_and_its_sensor(local: LocalSageMaker, bucket: str, name: str) -> None:
    script = "import os\nprint('loss=' + os.environ['SM_HP_X'])\n"
    operator = SageMakerTuningOperator(
        task_id="tune", config=tuning_config(local, bucket, name, script), check_interval=1, deferrable=False
    )
    tuning = operator.execute(CONTEXT)["Tuning"]
    assert tuning["HyperParameterTuningJobStatus"] == "Completed"
    pages = local.client("sagemaker").get_paginator("list_training_jobs_for_hyper_parameter_tuning_job")
    values = [
        float(each["TunedHyperParameters"]["x"])
        for each in pages.paginate(HyperParameterTuningJobName=name).search("TrainingJobSummaries[]")
    ]
    assert len(values) == 3
    assert float(tuning["BestTrainingJob"]["TunedHyperParameters"]["x"]) == min(values)
    assert SageMakerTuningSensor(task_id="wait", job_name=name).poke(CONTEXT) is True


@pytest.mark.slow
def test_a_failed_tuning_fails_operator_and_sensor_with_the_reason(
    local: LocalSageMaker, bucket: str, name: str
) -> None:
    config = tuning_config(local, bucket, name, "raise SystemExit(1)")
    operator = SageMakerTuningOperator(task_id="tune", config=config, wait_for_completion=False, deferrable=False)
    local.set_market("never")  # it does not fail before the operator has described it
    try:
        assert operator.execute(CONTEXT)["Tuning"]["HyperParameterTuningJobStatus"] == "InProgress"
    finally:
        local.set_market(MARKET)
    sensor = SageMakerTuningSensor(task_id="wait", job_name=name)
    with pytest.raises(AirflowException, match="No training job succeeded after 3 attempts"):
        until(lambda: sensor.poke(CONTEXT), "the tuning job ends")
    again = SageMakerTuningOperator(
        task_id="tune",
        config=tuning_config(local, bucket, f"{name}-again", "raise SystemExit(1)"),
        check_interval=1,
        deferrable=False,
    )
    with pytest.raises(AirflowException, match="No training job succeeded"):
        again.execute(CONTEXT)


@pytest.mark.slow
def test_model_configuration_and_endpoint(local: LocalSageMaker, bucket: str, name: str) -> None:
    data = put(local, bucket, "model.tar.gz", archive({"weight": "10", "code/inference.py": ADDER}))
    container = {"Image": "image", "ModelDataUrl": data, "Environment": {"COLOUR": "green"}}
    model = SageMakerModelOperator(
        task_id="model", config={"ModelName": name, "ExecutionRoleArn": ROLE, "PrimaryContainer": container}
    ).execute(CONTEXT)
    assert model["Model"]["ModelName"] == name
    variant = {"VariantName": "v", "ModelName": name, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    configuration = SageMakerEndpointConfigOperator(
        task_id="configure", config={"EndpointConfigName": name, "ProductionVariants": [variant]}
    ).execute(CONTEXT)
    assert configuration["EndpointConfig"]["EndpointConfigName"] == name
    endpoint = SageMakerEndpointOperator(
        task_id="deploy",
        config={"EndpointName": name, "EndpointConfigName": name},
        check_interval=1,
        deferrable=False,
    ).execute(CONTEXT)
    assert endpoint["Endpoint"]["EndpointStatus"] == "InService"
    answer = local.client("sagemaker-runtime").invoke_endpoint(
        EndpointName=name, ContentType="application/json", Body="[1]"
    )
    assert answer["Body"].read() == b"[11]"
    delete_endpoint(name)


def delete_endpoint(name: str) -> None:
    client = SageMakerHook(aws_conn_id="aws_default").conn
    client.delete_endpoint(EndpointName=name)
    client.get_waiter("endpoint_deleted").wait(EndpointName=name, WaiterConfig={"Delay": 1})


def adder_config(local: LocalSageMaker, bucket: str, name: str, weight: int) -> dict[str, Any]:
    """Everything that an endpoint takes, for a model that adds a number."""
    data = put(local, bucket, f"{name}.tar.gz", archive({"weight": str(weight), "code/inference.py": ADDER}))
    container = {"Image": "image", "ModelDataUrl": data, "Environment": {"COLOUR": "green"}}
    # As templates leave it: the operator makes an integer of the count.
    variant = {"VariantName": "v", "ModelName": name, "InstanceType": "ml.m5.large", "InitialInstanceCount": "1"}
    return {
        "Model": {"ModelName": name, "ExecutionRoleArn": ROLE, "PrimaryContainer": container},
        "EndpointConfig": {"EndpointConfigName": name, "ProductionVariants": [variant]},
        "Endpoint": {"EndpointConfigName": name},
    }


@pytest.mark.slow
@pytest.mark.parametrize("operation", ["update", "create"])
def test_an_endpoint_is_updated(local: LocalSageMaker, bucket: str, name: str, operation: str) -> None:
    """By name, or because the operator finds that the one to create is there."""
    for step, weight in (("create", 10), (operation, 20)):
        config = adder_config(local, bucket, f"{name}-{weight}", weight)
        config["Endpoint"]["EndpointName"] = name
        result = SageMakerEndpointOperator(
            task_id="deploy", config=config, operation=step, check_interval=1, deferrable=False
        ).execute(CONTEXT)
        assert result["Endpoint"]["EndpointStatus"] == "InService"
        assert result["Endpoint"]["EndpointConfigName"] == f"{name}-{weight}"
        assert SageMakerEndpointSensor(task_id="wait", endpoint_name=name).poke(CONTEXT)
    answer = local.client("sagemaker-runtime").invoke_endpoint(
        EndpointName=name, ContentType="application/json", Body="[1]"
    )
    assert answer["Body"].read() == b"[21]"
    delete_endpoint(name)


def transform_config(local: LocalSageMaker, bucket: str, name: str, rows: str) -> dict[str, Any]:
    put(local, bucket, "in/rows.json", rows)
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{bucket}/in"}
    return {
        "Model": adder_config(local, bucket, name, 10)["Model"],
        "Transform": {
            "TransformJobName": name,
            "ModelName": name,
            "TransformInput": {
                "DataSource": {"S3DataSource": source},
                "ContentType": "application/json",
                "SplitType": "Line",
            },
            "TransformOutput": {"S3OutputPath": f"s3://{bucket}/out", "AssembleWith": "Line"},
            "BatchStrategy": "SingleRecord",
            # As templates leave them.
            "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": "1"},
            "MaxPayloadInMB": "1",
            "MaxConcurrentTransforms": "2",
        },
    }


@pytest.mark.slow
def test_transform_with_its_model(local: LocalSageMaker, bucket: str, name: str) -> None:
    names = []
    for _ in range(2):
        operator = SageMakerTransformOperator(
            task_id="transform",
            config=transform_config(local, bucket, name, "[1]\n[2, 3]\n"),
            check_interval=1,
            deferrable=False,
            do_xcom_push=False,  # of its link: no task runs here
        )
        result = operator.execute(CONTEXT)
        assert result["Transform"]["TransformJobStatus"] == "Completed"
        assert result["Model"]["ModelName"] == result["Transform"]["ModelName"]
        names.append(result["Transform"]["TransformJobName"])
        assert SageMakerTransformSensor(task_id="wait", job_name=names[-1]).poke(CONTEXT)
    written = local.client("s3").get_object(Bucket=bucket, Key="out/rows.json.out")["Body"].read()
    assert written == b"[11]\n[12, 13]\n"
    # Job and model take other names when theirs are taken.
    assert names[0] == name
    assert names[1].startswith(f"{name}-")


@pytest.mark.slow
def test_a_failed_transform_fails_the_task_and_the_sensor_with_the_reason(
    local: LocalSageMaker, bucket: str, name: str
) -> None:
    config = transform_config(local, bucket, name, "not json\n")
    operator = SageMakerTransformOperator(
        task_id="transform", config=config, check_interval=1, deferrable=False, do_xcom_push=False
    )
    with pytest.raises(AirflowException, match="AlgorithmError: See job logs"):
        operator.execute(CONTEXT)
    with pytest.raises(AirflowException, match="AlgorithmError: See job logs"):
        SageMakerTransformSensor(task_id="wait", job_name=name).poke(CONTEXT)
