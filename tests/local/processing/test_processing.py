"""Processing jobs, by stock boto3, as real processes."""

from __future__ import annotations

import json
import textwrap
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from airflow_spot.local import LocalSageMaker
from tests.local.jobs import BUCKET, ROLE, Jobs, alive, until

GROUP = "/aws/sagemaker/ProcessingJobs"


class Processing:
    """Creates processing jobs from small scripts and reads what became of them."""

    def __init__(self, jobs: Jobs) -> None:
        self.jobs = jobs
        self.sagemaker = jobs.sagemaker

    def request(self, script: str, **overrides: Any) -> dict[str, Any]:
        name = f"processing-{uuid.uuid4().hex[:8]}"
        request: dict[str, Any] = {
            "ProcessingJobName": name,
            "RoleArn": ROLE,
            "AppSpecification": {
                "ImageUri": "image:1",
                "ContainerEntrypoint": ["python3", "/opt/ml/processing/input/code/script.py"],
            },
            "ProcessingInputs": [
                s3_input("code", self.jobs.put(f"{name}/script.py", textwrap.dedent(script)), "input/code")
            ],
            "ProcessingOutputConfig": {
                "Outputs": [
                    {
                        "OutputName": "result",
                        "S3Output": {
                            "S3Uri": f"s3://{BUCKET}/{name}/result",
                            "LocalPath": "/opt/ml/processing/output",
                            "S3UploadMode": "EndOfJob",
                        },
                    }
                ]
            },
            "ProcessingResources": {
                "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
            },
        }
        return {**request, **overrides}

    def start(self, script: str, **overrides: Any) -> str:
        request = self.request(script, **overrides)
        self.sagemaker.create_processing_job(**request)
        return str(request["ProcessingJobName"])

    def describe(self, name: str) -> dict[str, Any]:
        answer: dict[str, Any] = self.sagemaker.describe_processing_job(ProcessingJobName=name)
        return answer

    def run(self, script: str, **overrides: Any) -> dict[str, Any]:
        return self.end(self.start(script, **overrides))

    def end(self, name: str) -> dict[str, Any]:
        def ended() -> dict[str, Any] | None:
            job = self.describe(name)
            return job if job["ProcessingJobStatus"] in ("Completed", "Failed", "Stopped") else None

        return until(ended, f"{name} ends")

    def log(self, name: str) -> list[str]:
        logs = self.jobs.logs
        streams = logs.describe_log_streams(logGroupName=GROUP, logStreamNamePrefix=f"{name}/")["logStreams"]
        assert len(streams) == 1
        events = logs.get_log_events(logGroupName=GROUP, logStreamName=streams[0]["logStreamName"], startFromHead=True)[
            "events"
        ]
        return [event["message"] for event in events]


def s3_input(name: str, uri: str, path: str) -> dict[str, Any]:
    source = {"S3Uri": uri, "LocalPath": f"/opt/ml/processing/{path}", "S3DataType": "S3Prefix", "S3InputMode": "File"}
    return {"InputName": name, "S3Input": source}


@pytest.fixture
def processing(jobs: Jobs) -> Processing:
    return Processing(jobs)


def test_inputs_go_in_and_outputs_come_out(processing: Processing) -> None:
    jobs = processing.jobs
    jobs.put("numbers/a.txt", "1\n2\n")
    jobs.put("numbers/deep/b.txt", "3\n")
    request = processing.request(
        """
        from pathlib import Path
        numbers = Path("/opt/ml/processing/input/numbers")
        total = sum(int(line) for file in numbers.rglob("*.txt") for line in file.read_text().split())
        (Path("/opt/ml/processing/output") / "deep").mkdir()
        Path("/opt/ml/processing/output/deep/total.txt").write_text(str(total))
        Path("/opt/ml/output/message").write_text("summed up")
        print("total", total)
        """
    )
    name = request["ProcessingJobName"]
    request["ProcessingInputs"].append(s3_input("numbers", f"s3://{BUCKET}/numbers", "input/numbers"))
    answer = processing.sagemaker.create_processing_job(**request)
    assert answer["ProcessingJobArn"] == f"arn:aws:sagemaker:us-east-1:123456789012:processing-job/{name}"
    job = processing.end(name)
    assert (job["ProcessingJobStatus"], job["ExitMessage"]) == ("Completed", "summed up")
    assert "FailureReason" not in job
    assert job["CreationTime"] <= job["ProcessingStartTime"] <= job["ProcessingEndTime"]
    assert job["ProcessingInputs"] == request["ProcessingInputs"]
    assert jobs.keys(f"{name}/result") == [f"{name}/result/deep/total.txt"]
    assert jobs.get(f"s3://{BUCKET}/{name}/result/deep/total.txt") == b"6"
    assert processing.log(name) == ["total 6"]


def test_a_script_finds_its_configuration_arguments_and_environment(processing: Processing) -> None:
    request = processing.request(
        """
        import json, os, sys
        job = json.load(open("/opt/ml/config/processingjobconfig.json"))
        print(json.dumps([job["ProcessingJobName"], job["ProcessingResources"]["ClusterConfig"]["InstanceType"]]))
        print(json.dumps(json.load(open("/opt/ml/config/resourceconfig.json"))))
        print(json.dumps([sys.argv[1:], os.environ["COLOUR"], os.environ["AWS_REGION"]]))
        """,
        Environment={"COLOUR": "green"},
    )
    request["AppSpecification"]["ContainerArguments"] = ["--a", "1"]
    name = request["ProcessingJobName"]
    processing.sagemaker.create_processing_job(**request)
    assert processing.end(name)["ProcessingJobStatus"] == "Completed"
    assert [json.loads(line) for line in processing.log(name)] == [
        [name, "ml.m5.large"],
        {"current_host": "algo-1", "hosts": ["algo-1"]},
        [["--a", "1"], "green", "us-east-1"],
    ]


def test_a_failing_script_fails_the_job_and_uploads_nothing(processing: Processing) -> None:
    job = processing.run(
        """
        import sys
        open("/opt/ml/processing/output/half", "w").write("half")
        open("/opt/ml/output/message", "w").write("bad row 7")
        sys.exit(3)
        """
    )
    assert job["ProcessingJobStatus"] == "Failed"
    assert job["FailureReason"] == "AlgorithmError: See job logs for more information, exit code: 3"
    assert job["ExitMessage"] == "bad row 7"
    assert processing.jobs.keys(f"{job['ProcessingJobName']}/result") == []


def test_a_missing_input_fails_the_job_and_names_it(processing: Processing) -> None:
    request = processing.request("")
    request["ProcessingInputs"].append(s3_input("data", f"s3://{BUCKET}/nothing-here", "input/data"))
    processing.sagemaker.create_processing_job(**request)
    job = processing.end(request["ProcessingJobName"])
    assert job["ProcessingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("ClientError") and "nothing-here" in job["FailureReason"]


SLEEPER = """
    import signal, sys, time
    def stop(number, frame):
        open("/opt/ml/processing/output/saved", "w").write("saved")
        sys.exit(0)
    signal.signal(signal.SIGTERM, stop)
    print("ready")
    time.sleep(600)
"""


def test_a_stopped_job_may_save_its_results(processing: Processing) -> None:
    name = processing.start(SLEEPER)
    until(lambda: processing.describe(name).get("ProcessingStartTime") and "ready" in processing.log(name), "ready")
    pid = processing.jobs.events("process", job=name, action="started")[0]["pid"]
    processing.sagemaker.stop_processing_job(ProcessingJobName=name)
    job = processing.end(name)
    assert job["ProcessingJobStatus"] == "Stopped"
    assert processing.jobs.keys(f"{name}/result") == [f"{name}/result/saved"]
    assert not alive(pid)
    with pytest.raises(ClientError, match="in status Stopped") as refused:
        processing.sagemaker.stop_processing_job(ProcessingJobName=name)
    assert refused.value.response["Error"]["Code"] == "ValidationException"


@pytest.fixture
def slow_downloads(processing: Processing) -> Iterator[Processing]:
    """A second for each object, from its second try on: its first one fails, which the audit log tells."""
    sm = processing.jobs.sm
    sm.set_faults("s3:GetObject=cut-before:count=1,key=slow/*;s3:GetObject=slow:key=slow/*")
    yield processing
    sm.set_faults("")


def test_a_job_that_is_stopped_while_it_downloads_never_runs(slow_downloads: Processing) -> None:
    processing = slow_downloads
    request = processing.request("print('ran')")
    name = request["ProcessingJobName"]
    for number in range(60):
        processing.jobs.put(f"slow/{name}/{number}", "1")
    request["ProcessingInputs"].append(s3_input("data", f"s3://{BUCKET}/slow/{name}/", "input/data"))
    processing.sagemaker.create_processing_job(**request)
    until(lambda: processing.jobs.events("fault", key=f"slow/{name}/0") or None, "it downloads")
    processing.sagemaker.stop_processing_job(ProcessingJobName=name)
    job = processing.describe(name)
    assert (job["ProcessingJobStatus"], "ProcessingEndTime" in job) == ("Stopping", False)
    processing.sagemaker.stop_processing_job(ProcessingJobName=name)
    processing.jobs.sm.set_faults("")
    job = processing.end(name)
    assert (job["ProcessingJobStatus"], job.get("FailureReason")) == ("Stopped", None)
    assert "ProcessingStartTime" not in job
    assert processing.jobs.events("process", job=name) == []
    states = [line["status"] for line in processing.jobs.events("state", job=name)]
    assert states == ["Stopping", "Stopped"]


def test_a_job_ends_when_its_time_is_over(processing: Processing) -> None:
    job = processing.run(SLEEPER, StoppingCondition={"MaxRuntimeInSeconds": 1})
    assert job["ProcessingJobStatus"] == "Stopped"
    # Its script would have slept for ten minutes.
    assert 1 <= (job["ProcessingEndTime"] - job["ProcessingStartTime"]).total_seconds() < 600


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"ProcessingResources": {"ClusterConfig": {"InstanceCount": 2}}}, "InstanceCount"),
        ({"ProcessingInputs": [{"InputName": "x", "S3Input": {"S3Uri": "s3://b/k"}}]}, "LocalPath"),
        ({"ProcessingJobName": "bad_name"}, "processingJobName"),
    ],
)
def test_a_bad_request_is_refused_and_the_field_named(
    processing: Processing, change: dict[str, Any], named: str
) -> None:
    request = processing.request("")
    for key, value in change.items():
        if key == "ProcessingResources":
            request[key]["ClusterConfig"].update(value["ClusterConfig"])
        elif key == "ProcessingInputs":
            value[0]["S3Input"].update(S3DataType="S3Prefix", S3InputMode="File")
            request[key] = value
        else:
            request[key] = value
    with pytest.raises(ClientError, match=named) as refused:
        processing.sagemaker.create_processing_job(**request)
    assert refused.value.response["Error"]["Code"] == "ValidationException"


def test_a_name_is_taken_once_and_an_unknown_one_is_refused(processing: Processing) -> None:
    request = processing.request("")
    processing.sagemaker.create_processing_job(**request)
    with pytest.raises(ClientError) as taken:
        processing.sagemaker.create_processing_job(**request)
    assert taken.value.response["Error"]["Code"] == "ResourceInUse"
    with pytest.raises(ClientError) as unknown:
        processing.describe("nobody")
    assert unknown.value.response["Error"]["Code"] == "ValidationException"
    processing.end(request["ProcessingJobName"])


def test_tags_of_a_processing_job(processing: Processing) -> None:
    request = processing.request("", Tags=[{"Key": "team", "Value": "blue"}])
    arn = processing.sagemaker.create_processing_job(**request)["ProcessingJobArn"]
    assert processing.sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "team", "Value": "blue"}]
    processing.end(request["ProcessingJobName"])


def test_without_namespaces_arguments_are_relocated_and_hard_coded_paths_refused() -> None:
    with LocalSageMaker(isolation="relocate") as sm:
        processing = Processing(Jobs(sm))
        request = processing.request("import sys\nopen(sys.argv[1] + '/made', 'w').write('x')\n")
        request["AppSpecification"]["ContainerArguments"] = ["/opt/ml/processing/output"]
        name = request["ProcessingJobName"]
        processing.sagemaker.create_processing_job(**request)
        assert processing.end(name)["ProcessingJobStatus"] == "Completed"
        assert processing.jobs.keys(f"{name}/result") == [f"{name}/result/made"]
        refused = processing.run("open('/opt/ml/processing/output/made', 'w')")
        assert refused["ProcessingJobStatus"] == "Failed"
        assert "script.py, line 1" in refused["FailureReason"]
