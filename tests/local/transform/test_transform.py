"""Transform jobs, by stock boto3, with real serving processes."""

from __future__ import annotations

import gzip
import json
import os
import signal
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from airflow_spot.local import LocalSageMaker
from airflow_spot.local.transform.runner import below
from tests.local.jobs import BUCKET, ROLE, SHORT_GRACE_SECONDS, Jobs, alive, until
from tests.local.transform.transforms import Transforms


@pytest.fixture
def transforms(jobs: Jobs) -> Transforms:
    return Transforms(jobs)


def test_each_object_below_a_prefix_gets_its_predictions(transforms: Transforms) -> None:
    transforms.put("a.csv", "1,2\n3,4\n")
    transforms.put("deep/b.csv", "5,6")
    model = transforms.model(environment={"COLOUR": "green", "SIZE": "small"})
    request = transforms.request(model, Environment={"SIZE": "large"}, Tags=[{"Key": "team", "Value": "blue"}])
    name = request["TransformJobName"]
    arn = transforms.sagemaker.create_transform_job(**request)["TransformJobArn"]
    assert arn == f"arn:aws:sagemaker:us-east-1:123456789012:transform-job/{name}"
    job = transforms.end(name)
    assert job["TransformJobStatus"] == "Completed", job.get("FailureReason")
    assert transforms.results() == {"a.csv.out": b"6\n14\n", "deep/b.csv.out": b"22\n"}
    assert job["CreationTime"] <= job["TransformStartTime"] <= job["TransformEndTime"]
    assert {key: job[key] for key in request if key != "Tags"} == {k: v for k, v in request.items() if k != "Tags"}
    assert transforms.sagemaker.list_tags(ResourceArn=arn)["Tags"] == request["Tags"]
    model_log, data_log = transforms.log(name)
    # A job's environment goes over its model's, and what the request does not say is not passed on.
    assert model_log[0] == "environment green large true None None"
    asked = [line for line in model_log if line.startswith("asked")]
    assert sorted(asked) == ["asked text/csv text/csv 1", "asked text/csv text/csv 2"]
    assert data_log == ["MaxConcurrentTransforms=1, MaxPayloadInMB=6, BatchStrategy=MULTI_RECORD"]
    states = [line["status"] for line in transforms.jobs.events("state", job=name, kind="transform")]
    assert states == ["InProgress", "Completed"]
    (process,) = transforms.jobs.events("process", job=name, action="started")
    assert not alive(process["pid"])


def test_one_record_a_request(transforms: Transforms) -> None:
    transforms.put("a.csv", "1\n2\n3\n")
    name = transforms.start(transforms.model(), BatchStrategy="SingleRecord", MaxPayloadInMB=1)
    assert transforms.end(name)["TransformJobStatus"] == "Completed"
    assert transforms.results() == {"a.csv.out": b"2\n4\n6\n"}
    model_log, _ = transforms.log(name)
    assert model_log[0].endswith("true SINGLE_RECORD 1")
    assert [line for line in model_log if line.startswith("asked")] == ["asked text/csv text/csv 1"] * 3


REVERSER = """
    def model_fn(model_dir):
        return None
    def transform_fn(model, body, content_type, accept):
        return body[::-1]
"""


def test_whole_packed_objects_of_a_manifest(transforms: Transforms) -> None:
    packed = gzip.compress(b"one\ntwo\n")
    prefix = transforms.put("deep/a.bin", packed)
    transforms.put("b.bin", gzip.compress(b"xyz"))
    transforms.put("left-out.bin", b"not even packed")
    manifest = transforms.jobs.put(
        f"{transforms.stem}/manifest", json.dumps([{"prefix": prefix}, "deep/a.bin", "b.bin"])
    )
    source = {"S3DataSource": {"S3DataType": "ManifestFile", "S3Uri": manifest}}
    given = {"DataSource": source, "ContentType": "application/x-raw", "SplitType": "None", "CompressionType": "Gzip"}
    output = {"S3OutputPath": f"s3://{BUCKET}/{transforms.stem}/out/", "Accept": "*/*", "AssembleWith": "None"}
    transforms.completed(transforms.model(REVERSER), TransformInput=given, TransformOutput=output)
    assert transforms.results() == {"deep/a.bin.out": b"\nowt\neno", "b.bin.out": b"zyx"}


TOGETHER = """
    import threading
    barrier = threading.Barrier(3)
    def model_fn(model_dir):
        return None
    def transform_fn(model, body, content_type, accept):
        barrier.wait(100)
        return body
"""


def test_requests_go_out_together_and_results_keep_their_order(transforms: Transforms) -> None:
    """The model answers only if it is asked three times at once."""
    transforms.put("a.csv", "1\n2\n3\n4\n5\n6\n")
    transforms.completed(transforms.model(TOGETHER), BatchStrategy="SingleRecord", MaxConcurrentTransforms=3)
    assert transforms.results() == {"a.csv.out": b"1\n2\n3\n4\n5\n6\n"}


def test_predictions_join_their_records(transforms: Transforms) -> None:
    transforms.put("a.csv", "first,1,2\nsecond,3,4\n")
    filters = {"InputFilter": "$[1:]", "JoinSource": "Input", "OutputFilter": "$[0,-1]"}
    transforms.completed(transforms.model(), DataProcessing=filters)
    assert transforms.results() == {"a.csv.out": b"first,6\nsecond,14\n"}


PICKY = """
    def model_fn(model_dir):
        return None
    def input_fn(body, content_type):
        return [int(line) for line in body.split()]
    def predict_fn(data, model):
        return data
    def output_fn(prediction, accept):
        return "".join(f"{number}\\n" for number in prediction)
"""


def test_a_bad_record_fails_the_job_and_spares_the_other_objects(transforms: Transforms) -> None:
    transforms.put("bad.csv", "1\nx\n3\n")
    transforms.put("good.csv", "4\n")
    name = transforms.start(transforms.model(PICKY), BatchStrategy="SingleRecord")
    job = transforms.end(name)
    assert job["TransformJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("AlgorithmError: See job logs for more information (1 of 2 objects failed")
    assert transforms.results() == {"good.csv.out": b"4\n"}
    where = f"{BUCKET}/{transforms.stem}/in/bad.csv"
    _, data_log = transforms.log(name)
    assert f"{where}: Bad HTTP status received from algorithm: 500" in data_log
    assert f"{where}: ValueError: invalid literal for int() with base 10: 'x'" in data_log
    (listed,) = transforms.sagemaker.list_transform_jobs(NameContains=name, StatusEquals="Failed")[
        "TransformJobSummaries"
    ]
    assert (listed["TransformJobName"], listed["FailureReason"]) == (name, job["FailureReason"])
    assert listed["LastModifiedTime"] >= listed["TransformEndTime"]


def test_what_the_model_does_not_take_is_the_clients_error(transforms: Transforms) -> None:
    transforms.put("a.bin", b"x")
    plain = "def model_fn(model_dir):\n    return lambda data: data\n"
    given = {"ContentType": "image/png", "SplitType": "None"}
    job = transforms.run(transforms.model(plain), TransformInput=given)
    assert job["TransformJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("ClientError: See job logs") and "415" in job["FailureReason"]
    assert transforms.results() == {}


def test_a_record_larger_than_a_payload_fails_its_object(transforms: Transforms) -> None:
    transforms.put("a.csv", "1\n" + "2" * 1024 * 1024 + "\n")
    job = transforms.run(transforms.model(), MaxPayloadInMB=1)
    assert job["TransformJobStatus"] == "Failed"
    assert "Too much data for max payload size" in job["FailureReason"]


def test_a_model_that_does_not_load_or_dies_fails_the_job(transforms: Transforms) -> None:
    transforms.put("a.csv", "1\n")
    job = transforms.run(transforms.model("def model_fn(model_dir):\n    raise RuntimeError('no weights')\n"))
    assert job["TransformJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("AlgorithmError: The model did not pass the ping health check")
    dying = "import os\ndef model_fn(d):\n    return 1\ndef transform_fn(*args):\n    os._exit(9)\n"
    job = transforms.run(transforms.model(dying))
    assert job["TransformJobStatus"] == "Failed"
    assert "Unable to get response from algorithm" in job["FailureReason"]


def test_no_data_and_no_server_are_explained(transforms: Transforms) -> None:
    job = transforms.run(transforms.model())
    assert job["FailureReason"].startswith("ClientError: No S3 objects found")
    transforms.put("a.csv", "1\n")
    name = f"bare-{uuid.uuid4().hex[:8]}"
    transforms.sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer={"Image": "bare:1"})
    job = transforms.run(name)
    assert "inference.py" in job["FailureReason"] and "'bare:1'" in job["FailureReason"]


SLOW = """
    import time
    def model_fn(model_dir):
        return None
    def transform_fn(model, body, content_type, accept):
        if "wait" in body:
            print("waiting")
            time.sleep(600)
        return body
"""


def test_a_stopped_job_stores_nothing(transforms: Transforms) -> None:
    transforms.put("a.csv", "1\n")
    transforms.put("b.csv", "wait\n")
    name = transforms.start(transforms.model(SLOW))
    until(lambda: transforms.jobs.events("process", job=name, action="started") or None, "the model's process starts")
    until(lambda: "waiting" in transforms.log(name)[0], "the model is asked")
    transforms.sagemaker.stop_transform_job(TransformJobName=name)
    job = transforms.end(name)
    assert job["TransformJobStatus"] == "Stopped"
    assert "FailureReason" not in job
    assert transforms.results() == {}
    states = [line["status"] for line in transforms.jobs.events("state", job=name)]
    assert states == ["InProgress", "Stopping", "Stopped"]
    (process,) = transforms.jobs.events("process", job=name, action="started")
    assert not alive(process["pid"])
    with pytest.raises(ClientError, match="in status Stopped") as refused:
        transforms.sagemaker.stop_transform_job(TransformJobName=name)
    assert refused.value.response["Error"]["Code"] == "ValidationException"


DEAF = """
    import signal, time
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    def model_fn(model_dir):
        return None
    def transform_fn(model, body, content_type, accept):
        print("waiting")
        time.sleep(600)
"""


def test_a_model_that_ignores_sigterm_is_killed_after_the_grace(impatient: Jobs) -> None:
    transforms = Transforms(impatient)
    transforms.put("a.csv", "1\n")
    name = transforms.start(transforms.model(DEAF))
    until(lambda: transforms.jobs.events("process", job=name, action="started") or None, "the model's process starts")
    until(lambda: "waiting" in transforms.log(name)[0], "the model is asked")
    transforms.sagemaker.stop_transform_job(TransformJobName=name)
    assert transforms.end(name)["TransformJobStatus"] == "Stopped"
    (process,) = transforms.jobs.events("process", job=name, action="exited")
    (stop,) = transforms.jobs.events("call", operation="StopTransformJob", resource=name)
    (stopping,) = transforms.jobs.events("state", job=name, status="Stopping")
    assert stopping["time"] <= stop["time"]
    assert process["time"] - stopping["time"] >= SHORT_GRACE_SECONDS
    assert process["code"] == 128 + signal.SIGKILL
    assert not alive(process["pid"])


def test_a_stop_does_not_wait_for_the_end_of_the_grace(transforms: Transforms) -> None:
    transforms.put("a.csv", "1\n")
    name = transforms.start(transforms.model(DEAF))
    (process,) = until(lambda: transforms.jobs.events("process", job=name, action="started") or None, "it starts")
    until(lambda: "waiting" in transforms.log(name)[0], "the model is asked")
    transforms.sagemaker.stop_transform_job(TransformJobName=name)
    # Of its minute of grace nothing has to be over.
    assert alive(process["pid"])
    os.kill(process["pid"], signal.SIGKILL)
    assert transforms.end(name)["TransformJobStatus"] == "Stopped"


def test_a_job_may_be_stopped_before_its_model_answers(transforms: Transforms) -> None:
    transforms.put("a.csv", "1\n")
    name = transforms.start(transforms.model("import time\ndef model_fn(model_dir):\n    time.sleep(600)\n"))
    transforms.sagemaker.stop_transform_job(TransformJobName=name)
    try:
        transforms.sagemaker.stop_transform_job(TransformJobName=name)
    except ClientError as error:  # the first has ended it by now
        assert "in status Stopped" in str(error)
    assert transforms.end(name)["TransformJobStatus"] == "Stopped"
    assert transforms.results() == {}
    assert not any(alive(line["pid"]) for line in transforms.jobs.events("process", job=name, action="started"))


@pytest.mark.parametrize(
    ("prefix", "key", "name"),
    [
        ("in/", "in/a.csv", "a.csv"),
        ("in/", "in/deep/a.csv", "deep/a.csv"),
        ("in", "in/deep/a.csv", "deep/a.csv"),
        ("in/a.csv", "in/a.csv", "a.csv"),
        ("in/part-", "in/part-1.csv", "part-1.csv"),
        ("", "a.csv", "a.csv"),
        ("pa", "part.csv", "part.csv"),
    ],
)
def test_what_an_objects_results_are_called(prefix: str, key: str, name: str) -> None:
    assert below(prefix, key) == name


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"MaxPayloadInMB": 101}, "cannot be greater than 100"),
        ({"MaxPayloadInMB": 30, "MaxConcurrentTransforms": 4}, "30"),
        ({"TransformInput": {"SplitType": "RecordIO"}}, "RecordIO is not implemented by Local SageMaker"),
        ({"TransformInput": {"SplitType": "TFRecord"}}, "TFRecord is not implemented by Local SageMaker"),
        ({"DataCaptureConfig": {"DestinationS3Uri": "s3://b/k"}}, "DataCaptureConfig"),
        ({"DataProcessing": {"InputFilter": "$[1:4]"}}, "list the indexes"),
        ({"DataProcessing": {"InputFilter": "$..x"}}, "JSONPath"),
        ({"DataProcessing": {"JoinSource": "Input"}, "TransformOutput": {"Accept": "image/png"}}, "Accept"),
        ({"DataProcessing": {"JoinSource": "Input"}, "TransformOutput": {"AssembleWith": "None"}}, "AssembleWith"),
        (
            {"DataProcessing": {"JoinSource": "Input"}, "TransformOutput": {"Accept": "application/json"}},
            "must both be",
        ),
        ({"ModelName": "nobody"}, "Could not find model"),
        ({"TransformResources": {"InstanceType": "ml.nano", "InstanceCount": 1}}, "instanceType"),
    ],
)
def test_a_bad_request_is_refused_and_the_field_named(
    transforms: Transforms, bare_model: str, change: dict[str, Any], named: str
) -> None:
    request = transforms.request(bare_model, **change)
    with pytest.raises(ClientError, match=named) as refused:
        transforms.sagemaker.create_transform_job(**request)
    assert refused.value.response["Error"]["Code"] == "ValidationException"
    with pytest.raises(ClientError):
        transforms.describe(request["TransformJobName"])


@pytest.fixture(scope="module")
def bare_model(jobs: Jobs) -> str:
    """For requests that are refused."""
    name = f"bare-{uuid.uuid4().hex[:8]}"
    jobs.sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer={"Image": "bare:1"})
    return name


def test_a_name_is_taken_once_and_an_unknown_one_is_refused(transforms: Transforms, bare_model: str) -> None:
    request = transforms.request(bare_model)
    transforms.sagemaker.create_transform_job(**request)
    with pytest.raises(ClientError) as taken:
        transforms.sagemaker.create_transform_job(**request)
    assert taken.value.response["Error"]["Code"] == "ResourceInUse"
    for call in (transforms.sagemaker.describe_transform_job, transforms.sagemaker.stop_transform_job):
        with pytest.raises(ClientError) as unknown:
            call(TransformJobName="nobody")
        assert unknown.value.response["Error"]["Code"] == "ValidationException"
    transforms.end(request["TransformJobName"])


OWN_SERVER = """
import http.server, json, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    asked = 0
    def do_GET(self):
        if self.path == "/execution-parameters":
            asked = {"MaxConcurrentTransforms": 2, "BatchStrategy": "SINGLE_RECORD", "MaxPayloadInMB": 3}
            return self.answer(200, json.dumps(asked).encode())
        self.answer(200, b"")
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        Handler.asked += 1
        if Handler.asked == 1:
            return self.answer(503, b"still warming up")
        self.answer(200, b"<" + body.strip() + b">")
    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.HTTPServer(("127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Handler).serve_forever()
"""


def test_an_images_own_server_says_how_it_wants_to_be_asked(tmp_path: Path) -> None:
    """It also turns the first request away, which is repeated; and the end of the service ends a job's process."""
    server = tmp_path / "server.py"
    server.write_text(OWN_SERVER)
    images = {"mine:*": f"{sys.executable} {server}"}
    with LocalSageMaker(images=images) as sm:
        transforms = Transforms(Jobs(sm))
        transforms.put("a.csv", "1\n2\n3\n")
        model = transforms.model(image="mine:1")
        name = transforms.start(model)
        assert transforms.end(name)["TransformJobStatus"] == "Completed"
        assert transforms.results() == {"a.csv.out": b"<1>\n<2>\n<3>\n"}
        _, data_log = transforms.log(name)
        assert data_log == ["MaxConcurrentTransforms=2, MaxPayloadInMB=3, BatchStrategy=SINGLE_RECORD"]
        slow = transforms.start(transforms.model(SLOW))
        transforms.put("b.csv", "wait\n")
        started = until(
            lambda: transforms.jobs.events("process", job=slow, action="started") or None, "the model's process starts"
        )
    assert not alive(started[0]["pid"])
