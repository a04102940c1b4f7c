"""
The Amazon provider's own operators, unchanged and deferrable, and its sensors, where aiobotocore is.

One process of the environment of ``bench/stock.py`` runs them all. The sensors have no deferrable mode, nor have the
operators that wait for nothing. The operators' other mode is in ``test_stock_operators.py``.
"""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_spot.local import LocalSageMaker
from bench import stock
from tests.local.hosting.test_endpoints import archive
from tests.support.requests import ROLE, stock_config

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

ROOT = Path(__file__).parents[2]
HELD = """
    import os, time
    while not os.path.exists({release!r}):
        time.sleep(0.05)
"""
"""What a script begins with, so that nothing ends before the task waits for it, however long that takes."""
TRAIN = """
    print("loss:", int(os.environ.get("SM_HP_DEPTH", 3)) - 1, flush=True)
    open(os.environ["SM_MODEL_DIR"] + "/weights", "w").write("w")
"""
DOUBLE = """
    def model_fn(model_dir):
        return 2
    def input_fn(body, content_type):
        return [float(line) for line in body.split()]
    def predict_fn(data, model):
        return [model * number for number in data]
    def output_fn(prediction, accept):
        return "".join(f"{number}\\n" for number in prediction)
"""


class Stock:
    """
    The process that runs them, the service that it talks to, and what a test puts there for it.

    :ivar release: the file that what a task waits for waits for, and that is there once the task waits.
    """

    def __init__(self, local: LocalSageMaker, python: Path) -> None:
        self.local = local
        self.release = local.dir / "release"  # where the service's own files are, each job sees it
        self.bucket = f"bucket-{uuid.uuid4().hex[:12]}"
        self.s3, self.sagemaker = local.client("s3"), local.client("sagemaker")
        self.s3.create_bucket(Bucket=self.bucket)
        environ = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        self.process = subprocess.Popen(
            [python, "-m", "tests.support.stock_worker"],
            cwd=ROOT,
            env={**environ, **local.environ, "AIRFLOW_CONN_AWS_DEFAULT": "aws://", "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, kind: str, **arguments: Any) -> dict[str, Any]:
        """Run a task; return ``result`` or ``error``, and ``deferred``."""
        assert self.process.stdin is not None and self.process.stdout is not None
        task = {"class": kind, "arguments": arguments, "release": str(self.release)}
        self.process.stdin.write(json.dumps(task) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, "the worker has ended"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def put(self, key: str, body: str | bytes) -> str:
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=body)
        return f"s3://{self.bucket}/{key}"

    def held(self, script: str) -> str:
        return HELD.format(release=str(self.release)) + script

    def training(self, name: str, script: str = TRAIN) -> dict[str, Any]:
        code = self.put(f"{name}/sourcedir.tar.gz", archive({"train.py": self.held(script)}))
        return stock_config(self.bucket, name, sagemaker_program="train.py", sagemaker_submit_directory=code)

    def model(self, name: str) -> dict[str, Any]:
        data = self.put(f"{name}/model.tar.gz", archive({"code/inference.py": self.held(DOUBLE)}))
        return {"ModelName": name, "ExecutionRoleArn": ROLE, "PrimaryContainer": {"Image": "i", "ModelDataUrl": data}}

    def endpoint_config(self, name: str) -> dict[str, Any]:
        variant = {"VariantName": "v", "ModelName": name, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
        return {"EndpointConfigName": name, "ProductionVariants": [variant]}

    def endpoint(self, name: str) -> dict[str, Any]:
        return {
            "Model": self.model(name),
            "EndpointConfig": self.endpoint_config(name),
            "Endpoint": {"EndpointName": name, "EndpointConfigName": name},
        }

    def processing(self, name: str) -> dict[str, Any]:
        return {
            "ProcessingJobName": name,
            "RoleArn": ROLE,
            "AppSpecification": {
                "ImageUri": "i",
                "ContainerEntrypoint": ["sh", "-c", f"until [ -e {self.release} ]; do sleep 0.05; done"],
            },
            "ProcessingResources": {
                "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
            },
        }

    def tuning(self, name: str) -> dict[str, Any]:
        training = self.training(name)
        # The stock hook looks at the channels, and fails where there are none.
        rows = self.put(f"{name}/rows/part.csv", "1,2\n").rpartition("/")[0]
        channel = {"ChannelName": "train", "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": rows}}}
        ranges = {"IntegerParameterRanges": [{"Name": "depth", "MinValue": "2", "MaxValue": "5"}]}
        definitions = [{"Name": "loss", "Regex": "loss: ([0-9]+)"}]
        return {
            "HyperParameterTuningJobName": name,
            "HyperParameterTuningJobConfig": {
                "Strategy": "Random",
                "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "loss"},
                "ResourceLimits": {"MaxNumberOfTrainingJobs": 2, "MaxParallelTrainingJobs": 2},
                "ParameterRanges": ranges,
            },
            "TrainingJobDefinition": {
                "StaticHyperParameters": training["HyperParameters"],
                "AlgorithmSpecification": {**training["AlgorithmSpecification"], "MetricDefinitions": definitions},
                "InputDataConfig": [channel],
                "EnableManagedSpotTraining": True,
                "CheckpointConfig": {"S3Uri": f"s3://{self.bucket}/checkpoints/{name}"},
                "StoppingCondition": {"MaxRuntimeInSeconds": 120, "MaxWaitTimeInSeconds": 240},
                **{key: training[key] for key in ("RoleArn", "OutputDataConfig", "ResourceConfig")},
            },
        }

    def transform(self, name: str) -> dict[str, Any]:
        rows = self.put(f"{name}/rows/part.csv", "1\n2\n3\n")
        source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": rows.rpartition("/")[0]}}
        return {
            "Model": self.model(name),
            "Transform": {
                "TransformJobName": name,
                "ModelName": name,
                "TransformInput": {"DataSource": source, "ContentType": "text/csv", "SplitType": "Line"},
                "TransformOutput": {"S3OutputPath": f"s3://{self.bucket}/{name}/out", "AssembleWith": "Line"},
                "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
            },
        }


@pytest.fixture(scope="module")
def stock_tasks(local: LocalSageMaker) -> Iterator[Stock]:
    try:
        python = stock.interpreter(print)
    except stock.NotMade as error:
        pytest.skip(f"no environment for the stock operators: {error}")
    tasks = Stock(local, python)
    yield tasks
    tasks.process.kill()
    tasks.process.wait()
    for endpoint in local.client("sagemaker").list_endpoints()["Endpoints"]:
        local.client("sagemaker").delete_endpoint(EndpointName=endpoint["EndpointName"])


@pytest.fixture
def name(stock_tasks: Stock) -> str:
    stock_tasks.release.unlink(missing_ok=True)
    return f"stock-{uuid.uuid4().hex[:8]}"


DEFERRED: dict[str, Any] = {"deferrable": True, "check_interval": 1}


def done(answer: dict[str, Any]) -> dict[str, Any]:
    """The result of a task that was deferred, and ended well."""
    assert "error" not in answer, answer["error"]
    assert answer["deferred"] == ["SageMakerTrigger"]
    result: dict[str, Any] = answer["result"]
    return result


def test_training(stock_tasks: Stock, name: str) -> None:
    answer = stock_tasks.run(
        "SageMakerTrainingOperator", config=stock_tasks.training(name), print_log=False, **DEFERRED
    )
    assert done(answer)["Training"]["TrainingJobStatus"] == "Completed"


def test_a_training_that_fails(stock_tasks: Stock, name: str) -> None:
    config = stock_tasks.training(name, "    raise SystemExit(3)")
    answer = stock_tasks.run("SageMakerTrainingOperator", config=config, print_log=False, **DEFERRED)
    assert "AlgorithmError" in answer["error"]
    assert answer["deferred"] == ["SageMakerTrigger"]


def test_processing(stock_tasks: Stock, name: str) -> None:
    answer = stock_tasks.run("SageMakerProcessingOperator", config=stock_tasks.processing(name), **DEFERRED)
    assert done(answer)["Processing"]["ProcessingJobStatus"] == "Completed"


def test_tuning(stock_tasks: Stock, name: str) -> None:
    answer = stock_tasks.run("SageMakerTuningOperator", config=stock_tasks.tuning(name), **DEFERRED)
    tuning = done(answer)["Tuning"]
    assert tuning["HyperParameterTuningJobStatus"] == "Completed"
    assert tuning["TrainingJobStatusCounters"]["Completed"] == 2
    assert tuning["BestTrainingJob"]["FinalHyperParameterTuningJobObjectiveMetric"]["MetricName"] == "loss"


def test_transform(stock_tasks: Stock, name: str) -> None:
    answer = stock_tasks.run("SageMakerTransformOperator", config=stock_tasks.transform(name), **DEFERRED)
    result = done(answer)
    assert result["Transform"]["TransformJobStatus"] == "Completed"
    assert result["Model"]["ModelName"] == name
    out = stock_tasks.s3.get_object(Bucket=stock_tasks.bucket, Key=f"{name}/out/part.csv.out")["Body"].read()
    assert [float(line) for line in out.split()] == [2, 4, 6]


def test_a_model_and_an_endpoint_configuration(stock_tasks: Stock, name: str) -> None:
    model = stock_tasks.run("SageMakerModelOperator", config=stock_tasks.model(name))
    assert model["result"]["Model"]["ModelName"] == name
    config = stock_tasks.run("SageMakerEndpointConfigOperator", config=stock_tasks.endpoint_config(name))
    assert config["result"]["EndpointConfig"]["EndpointConfigName"] == name


def test_an_endpoint_is_created_and_updated(stock_tasks: Stock, name: str) -> None:
    made = stock_tasks.run("SageMakerEndpointOperator", config=stock_tasks.endpoint(name), **DEFERRED)
    assert done(made)["Endpoint"]["EndpointStatus"] == "InService"
    stock_tasks.release.unlink()  # the update loads the model again
    stock_tasks.sagemaker.create_endpoint_config(
        **{**stock_tasks.endpoint_config(name), "EndpointConfigName": f"{name}-2"}
    )
    updated = stock_tasks.run(
        "SageMakerEndpointOperator",
        config={"EndpointName": name, "EndpointConfigName": f"{name}-2"},
        operation="update",
        **DEFERRED,
    )
    result = done(updated)
    assert result["Endpoint"]["EndpointStatus"] == "InService"
    assert result["EndpointConfig"]["EndpointConfigName"] == f"{name}-2"


def _training(tasks: Stock, name: str) -> None:
    tasks.sagemaker.create_training_job(**tasks.training(name))


def _processing(tasks: Stock, name: str) -> None:
    tasks.sagemaker.create_processing_job(**tasks.processing(name))


def _tuning(tasks: Stock, name: str) -> None:
    tasks.sagemaker.create_hyper_parameter_tuning_job(**tasks.tuning(name))


def _transform(tasks: Stock, name: str) -> None:
    config = tasks.transform(name)
    tasks.sagemaker.create_model(**config["Model"])
    tasks.sagemaker.create_transform_job(**config["Transform"])


def _endpoint(tasks: Stock, name: str) -> None:
    config = tasks.endpoint(name)
    tasks.sagemaker.create_model(**config["Model"])
    tasks.sagemaker.create_endpoint_config(**config["EndpointConfig"])
    tasks.sagemaker.create_endpoint(**config["Endpoint"])


@pytest.mark.parametrize(
    ("kind", "begin"),
    [
        ("Training", _training),
        ("Processing", _processing),
        ("Tuning", _tuning),
        ("Transform", _transform),
        ("Endpoint", _endpoint),
    ],
)
def test_sensors(stock_tasks: Stock, name: str, kind: str, begin: Callable[[Stock, str], None]) -> None:
    begin(stock_tasks, name)
    arguments: dict[str, Any] = {"endpoint_name" if kind == "Endpoint" else "job_name": name}
    if kind == "Training":
        arguments["print_log"] = False  # with it, the sensor looks at the job every 30 s
    answer = stock_tasks.run(f"SageMaker{kind}Sensor", poke_interval=0.5, timeout=60, **arguments)
    assert "error" not in answer, answer["error"]


@pytest.mark.parametrize("kind", ["Training", "Processing", "Tuning", "Transform", "Endpoint"])
def test_sensors_of_what_is_not_there(stock_tasks: Stock, name: str, kind: str) -> None:
    named = "endpoint_name" if kind == "Endpoint" else "job_name"
    answer = stock_tasks.run(f"SageMaker{kind}Sensor", poke_interval=0.5, timeout=60, **{named: name})
    assert "ClientError" in answer["error"]
