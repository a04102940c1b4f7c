"""Models, endpoint configurations, endpoints and invocations, by stock boto3."""

from __future__ import annotations

import io
import json
import sys
import tarfile
import textwrap
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, WaiterError

from airflow_spot.local import LocalSageMaker
from airflow_spot.local.serving.supervisor import FIRST_PAUSE_SECONDS
from tests.local.jobs import ROLE, Jobs, alive, until
from tests.local.test_service import job_processes

ADDER = """
    import json, os
    def model_fn(model_dir):
        print("loading", os.environ["COLOUR"])
        return int(open(os.path.join(model_dir, "weight")).read())
    def input_fn(body, content_type):
        if content_type != "application/json":
            raise ValueError(f"not {content_type}")
        return json.loads(body)
    def predict_fn(data, model):
        return [number + model for number in data]
    def output_fn(prediction, accept):
        return json.dumps(prediction), accept
"""


HELD = {
    "code/inference.py": """
        import os, time
        def model_fn(model_dir):
            while not os.path.exists(os.environ["RELEASE"]):
                time.sleep(0.02)
            return lambda data: data
    """
}
"""Is loaded once a file is there."""


class Endpoints:
    """Deploys small models and asks them."""

    def __init__(self, jobs: Jobs) -> None:
        self.jobs = jobs
        self.sagemaker = jobs.sagemaker
        self.runtime = jobs.sm.client("sagemaker-runtime")
        self.made: list[str] = []

    def model(self, files: dict[str, str], *, image: str = "image:1", environment: dict[str, str] | None = None) -> str:
        """Create a model from the files of its model.tar.gz, and an endpoint configuration of the same name."""
        name = f"model-{uuid.uuid4().hex[:8]}"
        self.sagemaker.create_model(
            ModelName=name,
            ExecutionRoleArn=ROLE,
            PrimaryContainer={
                "Image": image,
                "ModelDataUrl": self.jobs.put(f"{name}/model.tar.gz", archive(files)),
                "Environment": environment or {},
            },
        )
        variant = {"VariantName": "only", "ModelName": name, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
        self.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
        return name

    def deploy(self, files: dict[str, str], **options: Any) -> str:
        name = self.model(files, **options)
        self.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
        self.made.append(name)
        return name

    def serve(self, files: dict[str, str], **options: Any) -> str:
        name = self.deploy(files, **options)
        self.wait("endpoint_in_service", name)
        return name

    def wait(self, waiter: str, name: str) -> None:
        """Use one of boto3's waiters, at a shorter interval than its own."""
        self.sagemaker.get_waiter(waiter).wait(EndpointName=name, WaiterConfig={"Delay": 0.1, "MaxAttempts": 1200})

    def failed(self, name: str) -> str:
        """Wait until an endpoint has failed; returns why."""

        def reason() -> str | None:
            answer = self.sagemaker.describe_endpoint(EndpointName=name)
            assert answer["EndpointStatus"] != "InService"
            return answer["FailureReason"] if answer["EndpointStatus"] == "Failed" else None

        return until(reason, f"{name} fails")

    def ask(self, name: str, data: Any, **options: Any) -> Any:
        answer = self.runtime.invoke_endpoint(
            EndpointName=name, **{"ContentType": "application/json", "Body": json.dumps(data), **options}
        )
        return json.loads(answer["Body"].read())


def archive(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, text in files.items():
            data = textwrap.dedent(text).encode()
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def adder(weight: int = 10) -> dict[str, str]:
    return {"weight": str(weight), "code/inference.py": ADDER}


COLOUR = {"COLOUR": "green"}


@pytest.fixture
def endpoints(jobs: Jobs) -> Iterator[Endpoints]:
    made = Endpoints(jobs)
    yield made
    for name in made.made:
        until(lambda name=name: ended(made, name), f"{name} is deleted")  # type: ignore[misc]


def ended(endpoints: Endpoints, name: str) -> bool:
    """Delete an endpoint as soon as SageMaker lets us; whether it is gone."""
    try:
        endpoints.sagemaker.delete_endpoint(EndpointName=name)
    except ClientError as error:
        return "Could not find" in str(error)
    return False


def test_a_model_is_served_until_its_endpoint_is_deleted(endpoints: Endpoints) -> None:
    name = endpoints.serve(adder(), environment=COLOUR)
    answer = endpoints.sagemaker.describe_endpoint(EndpointName=name)
    assert answer["EndpointStatus"] == "InService"
    assert answer["EndpointConfigName"] == name
    assert answer["ProductionVariants"][0]["DeployedImages"][0]["SpecifiedImage"] == "image:1"
    assert endpoints.ask(name, [1, 2]) == [11, 12]
    endpoints.sagemaker.delete_endpoint(EndpointName=name)
    endpoints.wait("endpoint_deleted", name)
    group = f"/aws/sagemaker/Endpoints/{name}"
    stream = endpoints.jobs.logs.describe_log_streams(logGroupName=group)["logStreams"][0]["logStreamName"]
    lines = endpoints.jobs.logs.get_log_events(logGroupName=group, logStreamName=stream)["events"]
    assert lines[0]["message"] == "loading green"
    with pytest.raises(ClientError, match="not found") as unknown:
        endpoints.ask(name, [1])
    assert unknown.value.response["Error"]["Code"] == "ValidationError"


def test_an_endpoint_is_creating_until_it_answers_ping_and_cannot_be_deleted_before(
    endpoints: Endpoints, tmp_path: Path
) -> None:
    release = tmp_path / "release"
    name = endpoints.deploy(HELD, environment={"RELEASE": str(release)})
    assert endpoints.sagemaker.describe_endpoint(EndpointName=name)["EndpointStatus"] == "Creating"
    with pytest.raises(ClientError, match="not found"):
        endpoints.ask(name, [])
    with pytest.raises(ClientError, match="Cannot update in-progress endpoint"):
        endpoints.sagemaker.delete_endpoint(EndpointName=name)
    release.touch()
    endpoints.wait("endpoint_in_service", name)


def test_a_model_that_does_not_load_fails_its_endpoint(endpoints: Endpoints) -> None:
    name = endpoints.deploy({"code/inference.py": "def model_fn(model_dir):\n    raise RuntimeError('no weights')\n"})
    with pytest.raises(WaiterError, match="Failed"):
        endpoints.wait("endpoint_in_service", name)
    assert "did not pass the ping health check" in endpoints.failed(name)


def test_nothing_to_serve_is_explained(endpoints: Endpoints) -> None:
    reason = endpoints.failed(endpoints.deploy({"weight": "1"}))
    assert "inference.py" in reason and "--image" in reason and "'image:1'" in reason


def test_missing_model_data_is_named(endpoints: Endpoints) -> None:
    name = endpoints.model(adder())
    endpoints.jobs.s3.delete_object(Bucket="bucket", Key=f"{name}/model.tar.gz")
    endpoints.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    endpoints.made.append(name)
    assert f"s3://bucket/{name}/model.tar.gz" in endpoints.failed(name)


def test_code_from_s3_as_the_sdk_sets_it(endpoints: Endpoints) -> None:
    code = endpoints.jobs.put("serving/sourcedir.tar.gz", archive({"serve_it.py": ADDER}))
    environment = {"SAGEMAKER_PROGRAM": "serve_it.py", "SAGEMAKER_SUBMIT_DIRECTORY": code, **COLOUR}
    name = endpoints.serve({"weight": "5"}, environment=environment)
    assert endpoints.ask(name, [1]) == [6]


def test_defaults_of_the_inference_toolkit(endpoints: Endpoints) -> None:
    name = endpoints.serve({"code/inference.py": "def model_fn(model_dir):\n    return lambda data: data * 2\n"})
    assert endpoints.ask(name, [[1, 2], [3, 4]]) == [[2, 4], [6, 8]]
    assert endpoints.ask(name, None, ContentType="text/csv", Body="1,2\n3,4\n") == [[2, 4], [6, 8]]
    csv = endpoints.runtime.invoke_endpoint(EndpointName=name, ContentType="text/csv", Accept="text/csv", Body="1,2")
    assert csv["Body"].read().split() == [b"2.0", b"4.0"]
    assert csv["ContentType"] == "text/csv"
    assert csv["InvokedProductionVariant"] == "only"
    with pytest.raises(ClientError) as refused:
        endpoints.ask(name, None, ContentType="image/png", Body=b"x")
    assert refused.value.response["OriginalStatusCode"] == 415


def test_transform_fn_stands_for_the_three(endpoints: Endpoints) -> None:
    script = """
        def model_fn(model_dir, context):
            return "model"
        def transform_fn(model, body, content_type, accept):
            return f'["{model}", "{content_type}", {len(body)}]'
    """
    name = endpoints.serve({"code/inference.py": script})
    assert endpoints.ask(name, None, ContentType="application/x-raw", Body=b"abc") == ["model", "application/x-raw", 3]


def test_an_error_of_the_script_is_a_model_error(endpoints: Endpoints) -> None:
    name = endpoints.serve(adder(), environment=COLOUR)
    with pytest.raises(ClientError) as failed:
        endpoints.ask(name, None, ContentType="text/plain", Body="x")
    response = failed.value.response
    assert response["Error"]["Code"] == "ModelError"
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert response["OriginalStatusCode"] == 500
    assert response["OriginalMessage"] == "ValueError: not text/plain"
    assert endpoints.ask(name, [1]) == [11]


FRAGILE = """
    import json, os, time
    LOADED = "/opt/ml/loaded"
    def model_fn(model_dir):
        times = int(open(LOADED).read()) + 1 if os.path.exists(LOADED) else 1
        with open(LOADED, "w") as file:
            file.write(str(times))
        if times == 2:
            os._exit(7)
        while times == 3 and not os.path.exists(os.environ["RELEASE"]):
            time.sleep(0.02)
        return times
    def transform_fn(times, body, content_type, accept):
        if json.loads(body) == "die":
            os._exit(9)
        return json.dumps(times)
"""
"""Dies when it is told to, and at its second start; its third one waits for a file."""


def test_a_container_that_dies_is_started_anew_and_its_endpoint_stays_in_service(
    endpoints: Endpoints, tmp_path: Path
) -> None:
    release = tmp_path / "release"
    name = endpoints.serve({"code/inference.py": FRAGILE}, environment={"RELEASE": str(release)})
    # What it serves is what it was deployed with.
    endpoints.jobs.s3.delete_object(Bucket="bucket", Key=f"{name}/model.tar.gz")
    statuses: list[str] = []

    def answer() -> Any:
        statuses.append(endpoints.sagemaker.describe_endpoint(EndpointName=name)["EndpointStatus"])
        try:
            return endpoints.ask(name, "hello")
        except ClientError as error:
            assert error.response["Error"]["Code"] == "ModelError"
            return None

    with pytest.raises(ClientError) as failed:
        endpoints.ask(name, "die")
    assert failed.value.response["Error"]["Code"] == "ModelError"
    assert answer() is None
    release.touch()
    assert until(answer, "the container is back") == 3
    assert set(statuses) == {"InService"}
    assert "FailureReason" not in endpoints.sagemaker.describe_endpoint(EndpointName=name)
    codes = [line["code"] for line in endpoints.jobs.events("process", job=name, action="exited")]
    assert codes == [9, 7]
    processes = endpoints.jobs.events("process", job=name, action="started")
    assert [line["start"] for line in processes] == [1, 2, 3]
    assert processes[2]["time"] - processes[1]["time"] >= 2 * FIRST_PAUSE_SECONDS
    # Deleted while it is down, it does not come back.
    with pytest.raises(ClientError):
        endpoints.ask(name, "die")
    until(lambda: ended(endpoints, name), "it is deleted")
    assert not any(alive(line["pid"]) for line in endpoints.jobs.events("process", job=name, action="started"))


def test_names_are_taken_once_in_the_words_that_the_stock_operator_reads(endpoints: Endpoints) -> None:
    name = endpoints.serve(adder(), environment=COLOUR)
    sagemaker = endpoints.sagemaker
    container = {"Image": "image:1"}
    variants = [{"VariantName": "v", "ModelName": name, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}]
    for kind, create in (
        ("model", lambda: sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container)),
        (
            "endpoint configuration",
            lambda: sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=variants),
        ),
        ("endpoint", lambda: sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)),
    ):
        with pytest.raises(ClientError) as taken:
            create()
        assert taken.value.response["Error"]["Code"] == "ValidationException"
        assert taken.value.response["Error"]["Message"].startswith(f"Cannot create already existing {kind}")


@pytest.mark.parametrize(
    "data",
    [
        {"ModelDataUrl": "s3://bucket/output/my-job/output/model.tar.gz"},
        {"ModelDataUrl": "s3://no-such-bucket/model.tar.gz"},
        {
            "ModelDataSource": {
                "S3DataSource": {"S3Uri": "s3://bucket/none/", "S3DataType": "S3Prefix", "CompressionType": "None"}
            }
        },
    ],
)
def test_a_model_without_its_data_is_refused_in_the_words_of_the_service(
    endpoints: Endpoints, data: dict[str, Any]
) -> None:
    """As where a DAG computes the place from a name that is not its job's."""
    with pytest.raises(ClientError) as refused:
        endpoints.sagemaker.create_model(
            ModelName="m", ExecutionRoleArn=ROLE, PrimaryContainer={"Image": "image:1", **data}
        )
    error = refused.value.response["Error"]
    uri = data.get("ModelDataUrl") or data["ModelDataSource"]["S3DataSource"]["S3Uri"]
    assert (error["Code"], error["Message"]) == ("ValidationException", f"Could not find model data at {uri}.")


def test_unknown_names(endpoints: Endpoints) -> None:
    sagemaker = endpoints.sagemaker
    for call in (
        lambda: sagemaker.describe_model(ModelName="nobody"),
        lambda: sagemaker.delete_model(ModelName="nobody"),
        lambda: sagemaker.describe_endpoint_config(EndpointConfigName="nobody"),
        lambda: sagemaker.describe_endpoint(EndpointName="nobody"),
        lambda: sagemaker.delete_endpoint(EndpointName="nobody"),
        lambda: sagemaker.create_endpoint(EndpointName="x", EndpointConfigName="nobody"),
    ):
        with pytest.raises(ClientError, match=r"Could not find .*nobody") as unknown:
            call()
        assert unknown.value.response["Error"]["Code"] == "ValidationException"


def test_model_and_configuration_are_described_and_deleted(endpoints: Endpoints) -> None:
    name = endpoints.model(adder(), environment=COLOUR)
    model = endpoints.sagemaker.describe_model(ModelName=name)
    assert model["PrimaryContainer"]["Environment"] == COLOUR
    assert model["ModelArn"] == f"arn:aws:sagemaker:us-east-1:123456789012:model/{name}"
    config = endpoints.sagemaker.describe_endpoint_config(EndpointConfigName=name)
    assert config["ProductionVariants"][0]["ModelName"] == name
    endpoints.sagemaker.delete_endpoint_config(EndpointConfigName=name)
    endpoints.sagemaker.delete_model(ModelName=name)
    with pytest.raises(ClientError, match="Could not find model"):
        endpoints.sagemaker.describe_model(ModelName=name)


OWN_SERVER = """
import http.server, os, sys
assert sys.argv[1:] == ["serve"]
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(b"")
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(b'"mine"')
    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.HTTPServer(("127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Handler).serve_forever()
"""


def test_an_images_own_server_and_the_end_of_the_service(tmp_path: Path) -> None:
    server = tmp_path / "server.py"
    server.write_text(OWN_SERVER)
    with LocalSageMaker(images={"mine:*": f"{sys.executable} {server}"}) as sm:
        endpoints = Endpoints(Jobs(sm))
        name = endpoints.serve({"weight": "1"}, image="mine:1")
        assert endpoints.ask(name, {}) == "mine"
        own = job_processes(str(server))
        assert own
    assert not any(alive(pid) for pid in own)
