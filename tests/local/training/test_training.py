"""Training jobs, by stock boto3, as real processes."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from typing import Any

import pytest

from tests.local.jobs import BUCKET, Jobs, counter, files_of, statuses, until

OK = "print('fine')"


def test_a_job_completes_and_leaves_its_model_its_output_and_its_log(jobs: Jobs) -> None:
    job = jobs.run(
        """
        import os
        open(os.environ["SM_MODEL_DIR"] + "/weights", "w").write("w")
        open(os.environ["SM_OUTPUT_DATA_DIR"] + "/report", "w").write("r")
        print("one")
        print("two")
        """
    )
    name = job["TrainingJobName"]
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Completed", "Completed")
    assert statuses(job) == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    assert job["ModelArtifacts"]["S3ModelArtifacts"] == f"s3://{BUCKET}/out/{name}/output/model.tar.gz"
    assert jobs.model(name) == {"weights": b"w"}
    assert files_of(jobs.get(f"s3://{BUCKET}/out/{name}/output/output.tar.gz")) == {"report": b"r"}
    assert jobs.output(name) == [["one", "two"]]
    assert "FailureReason" not in job
    assert job["TrainingJobArn"] == f"arn:aws:sagemaker:us-east-1:123456789012:training-job/{name}"


@pytest.fixture(scope="module")
def done(jobs: Jobs) -> dict[str, Any]:
    """A job that has completed."""
    return jobs.run(OK)


def test_transitions_join_and_times_are_in_order(done: dict[str, Any]) -> None:
    job = done
    transitions = job["SecondaryStatusTransitions"]
    for before, after in pairwise(transitions):
        assert before["EndTime"] == after["StartTime"]
        assert before["StatusMessage"]
    assert job["CreationTime"] <= job["TrainingStartTime"] <= job["TrainingEndTime"] <= job["LastModifiedTime"]
    assert job["TrainingTimeInSeconds"] >= 1
    assert job["BillableTimeInSeconds"] <= job["TrainingTimeInSeconds"]


def test_the_container_contract(jobs: Jobs) -> None:
    uri = jobs.put("contract/train/part.csv", "1,2")
    job = jobs.run(
        """
        import json, os, sys
        config = "/opt/ml/input/config/"
        facts = {
            "argv": sys.argv[1:],
            "cwd": os.getcwd(),
            "env": dict(os.environ),
            "data": open("/opt/ml/input/data/train/part.csv").read(),
            "files": {name: json.load(open(config + name)) for name in os.listdir(config)},
        }
        json.dump(facts, open("/opt/ml/model/facts.json", "w"))
        """,
        HyperParameters={"learning-rate": "0.1", "k": "3", "label": json.dumps("a b"), "flag": "true"},
        Environment={"MINE": "1", "SM_HP_K": "4"},
        InputDataConfig=[
            {
                "ChannelName": "train",
                "ContentType": "text/csv",
                "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri.rpartition("/")[0]}},
            }
        ],
    )
    name = job["TrainingJobName"]
    facts = json.loads(jobs.model(name)["facts.json"])
    environment = facts["env"]
    assert facts["argv"] == ["--flag", "True", "-k", "3", "--label", "a b", "--learning-rate", "0.1"]
    assert facts["cwd"] == environment["SM_MODULE_DIR"] == "/opt/ml/code"
    assert facts["data"] == "1,2"
    expected = {
        "SM_CHANNEL_TRAIN": "/opt/ml/input/data/train",
        "SM_CHANNELS": '["train"]',
        "SM_MODEL_DIR": "/opt/ml/model",
        "SM_OUTPUT_DATA_DIR": "/opt/ml/output/data",
        "SM_CURRENT_HOST": "algo-1",
        "SM_HOSTS": '["algo-1"]',
        "SM_HP_LEARNING_RATE": "0.1",
        "SM_HP_LABEL": "a b",
        "SM_HP_K": "4",
        "SM_MODULE_NAME": "train",
        "SM_USER_ENTRY_POINT": "train.py",
        "TRAINING_JOB_NAME": name,
        "TRAINING_JOB_ARN": job["TrainingJobArn"],
        "MINE": "1",
        "AWS_ENDPOINT_URL": jobs.sm.endpoint_url,
        "AWS_REGION": "us-east-1",
    }
    assert {key: environment.get(key) for key in expected} == expected
    assert json.loads(environment["SM_HPS"]) == {"learning-rate": 0.1, "k": 3, "label": "a b", "flag": True}
    assert json.loads(environment["SM_TRAINING_ENV"])["channel_input_dirs"] == {"train": "/opt/ml/input/data/train"}
    files = facts["files"]
    assert files["hyperparameters.json"]["label"] == '"a b"'
    assert files["resourceconfig.json"]["hosts"] == ["algo-1"]
    assert files["inputdataconfig.json"]["train"]["ContentType"] == "text/csv"
    assert files["checkpointconfig.json"] == {
        "S3Uri": f"s3://{BUCKET}/checkpoints/{name}",
        "LocalPath": "/opt/ml/checkpoints",
    }


def test_the_environment_holds_nothing_of_this_machine(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    job = jobs.run("import os; print('\\n'.join(sorted(os.environ)))")
    ours = re.compile(
        r"SM_.*|TRAINING_JOB_.*|AWS_.*|PATH|LANG|LC_CTYPE|LD_LIBRARY_PATH|HOME|TMPDIR|PYTHON\w+|PWD|SHLVL|_"
    )
    assert [name for name in jobs.output(job["TrainingJobName"])[0] if not ours.fullmatch(name)] == []


def test_entrypoint_and_arguments_win_over_script_mode(jobs: Jobs) -> None:
    request = jobs.request("print('script')")
    request["AlgorithmSpecification"].update(
        ContainerEntrypoint=["/bin/sh", "-c"], ContainerArguments=["echo entrypoint; echo $TRAINING_JOB_NAME >&2"]
    )
    jobs.sagemaker.create_training_job(**request)
    name = request["TrainingJobName"]
    assert jobs.end(name)["TrainingJobStatus"] == "Completed"
    assert sorted(jobs.output(name)[0]) == sorted(["entrypoint", name])


def test_hyperparameters_that_are_not_json_are_text(jobs: Jobs) -> None:
    request = jobs.request("import sys; print(sys.argv[1:])", HyperParameters={"name": "plain text"})
    request["HyperParameters"]["sagemaker_program"] = "train.py"
    jobs.sagemaker.create_training_job(**request)
    jobs.end(request["TrainingJobName"])
    assert jobs.output(request["TrainingJobName"])[0] == ["['--name', 'plain text']"]


def test_nothing_to_run_is_explained(jobs: Jobs) -> None:
    job = jobs.run(None)
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("ClientError: ")
    for way in ("image:1", "--image", "ContainerEntrypoint", "sagemaker_program"):
        assert way in job["FailureReason"]


def container(script: str) -> dict[str, Any]:
    """A container that is none of AWS's frameworks."""
    return {"TrainingImage": "image:1", "TrainingInputMode": "File", "ContainerEntrypoint": ["python3", "-c", script]}


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("import sys; sys.exit(7)", "AlgorithmError: Exit Code: 7"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "AlgorithmError: Exit Code: 137"),
        (
            "import sys; open('/opt/ml/output/failure', 'w').write('bad data'); sys.exit(3)",
            "AlgorithmError: bad data, exit code: 3",
        ),
    ],
)
def test_a_container_that_fails(jobs: Jobs, script: str, reason: str) -> None:
    job = jobs.run(AlgorithmSpecification=container(script))
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Failed", "Failed")
    assert job["FailureReason"] == reason
    assert not jobs.keys(f"out/{job['TrainingJobName']}/output/model")


def test_a_long_failure_text_is_cut_and_the_exit_code_stays(jobs: Jobs) -> None:
    script = "import sys; open('/opt/ml/output/failure', 'w').write('x' * 5000); sys.exit(3)"
    job = jobs.run(AlgorithmSpecification=container(script))
    assert len(job["FailureReason"]) == 1024
    assert job["FailureReason"].endswith("x, exit code: 3")


def test_a_shell_script_that_fails_is_reported_with_its_command(jobs: Jobs) -> None:
    code = jobs.code({"train.sh": "#!/bin/sh\nexit 5\n"})
    parameters = {"sagemaker_program": "train.sh", "sagemaker_submit_directory": code, "label": "a b"}
    assert jobs.run(HyperParameters=parameters)["FailureReason"] == (
        'AlgorithmError: ExecuteUserScriptError:\nExitCode 5\nErrorMessage ""\n'
        'Command "/bin/sh -c "./train.sh --label \'a b\'"", exit code: 1'
    )


def test_data_that_has_gone_since_the_job_was_created_fails_it(jobs: Jobs) -> None:
    source = {"S3DataType": "S3Prefix", "S3Uri": jobs.put("goes/away", "x")}
    jobs.sm.set_market("never")
    try:
        channels = [{"ChannelName": "train", "DataSource": {"S3DataSource": source}}]
        name = jobs.start(OK, InputDataConfig=channels)
        jobs.s3.delete_object(Bucket=BUCKET, Key="goes/away")
    finally:
        jobs.sm.set_market("always")
    job = jobs.end(name)
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("ClientError: No S3 objects found under S3 URL")
    assert "Training" not in statuses(job)


def test_a_missing_output_bucket_fails_the_job(jobs: Jobs) -> None:
    job = jobs.run(OK, OutputDataConfig={"S3OutputPath": "s3://no-such-bucket/out"})
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("ClientError: ")
    assert "no-such-bucket" in job["FailureReason"]


def test_stop_gives_grace_uploads_the_model_and_says_stopped(jobs: Jobs) -> None:
    name = jobs.start(
        """
        import os, signal, sys, time
        def leave(*_):
            while not os.path.exists("/opt/ml/input/go"):
                time.sleep(0.02)
            open("/opt/ml/model/last", "w").write("words")
            print("leaving", flush=True)
            sys.exit(0)
        signal.signal(signal.SIGTERM, leave)
        print("ready", flush=True)
        time.sleep(3600)
        """
    )
    jobs.wait_for_line(name, "ready")
    jobs.sagemaker.stop_training_job(TrainingJobName=name)
    assert jobs.describe(name)["TrainingJobStatus"] == "Stopping"
    jobs.sagemaker.stop_training_job(TrainingJobName=name)
    jobs.release(name)
    job = jobs.end(name)
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "Stopped")
    assert statuses(job)[-3:] == ["Stopping", "Uploading", "Stopped"]
    assert "FailureReason" not in job
    assert jobs.model(name) == {"last": b"words"}
    assert jobs.output(name) == [["ready", "leaving"]]


def test_stop_kills_what_does_not_listen(impatient: Jobs) -> None:
    name = impatient.start("import signal, time; signal.signal(15, signal.SIG_IGN); print('x'); time.sleep(3600)")
    impatient.wait_for_line(name, "x")
    impatient.sagemaker.stop_training_job(TrainingJobName=name)
    assert impatient.end(name)["SecondaryStatus"] == "Stopped"
    assert [line["code"] for line in impatient.events("process", job=name, action="exited")] == [137]


def test_a_job_that_has_ended_cannot_be_stopped(jobs: Jobs, done: dict[str, Any]) -> None:
    name = done["TrainingJobName"]
    with pytest.raises(jobs.sagemaker.exceptions.ClientError, match="is in status Completed") as raised:
        jobs.sagemaker.stop_training_job(TrainingJobName=name)
    assert raised.value.response["Error"]["Code"] == "ValidationException"


def test_max_runtime(jobs: Jobs) -> None:
    job = jobs.run(
        "import time; time.sleep(3600)", StoppingCondition={"MaxRuntimeInSeconds": 1, "MaxWaitTimeInSeconds": 100}
    )
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")
    assert "FailureReason" not in job
    assert job["TrainingTimeInSeconds"] >= 1


def test_names_are_unique(jobs: Jobs) -> None:
    request = jobs.request(OK)
    jobs.sagemaker.create_training_job(**request)
    with pytest.raises(jobs.sagemaker.exceptions.ResourceInUse):
        jobs.sagemaker.create_training_job(**request)
    jobs.end(request["TrainingJobName"])
    with pytest.raises(jobs.sagemaker.exceptions.ResourceInUse):
        jobs.sagemaker.create_training_job(**request)


def test_an_unknown_job(jobs: Jobs) -> None:
    for operation in (jobs.sagemaker.describe_training_job, jobs.sagemaker.stop_training_job):
        with pytest.raises(jobs.sagemaker.exceptions.ClientError, match="Requested resource not found") as raised:
            operation(TrainingJobName="nobody")
        assert raised.value.response["Error"]["Code"] == "ValidationException"


def test_a_job_lives_in_its_region(jobs: Jobs) -> None:
    request = jobs.request("import os; print(os.environ['AWS_REGION'])")
    other = jobs.sm.client("sagemaker", "eu-west-1")
    arn = other.create_training_job(**request)["TrainingJobArn"]
    assert ":eu-west-1:" in arn
    with pytest.raises(jobs.sagemaker.exceptions.ClientError, match="not found"):
        jobs.describe(request["TrainingJobName"])
    until(
        lambda: (
            other.describe_training_job(TrainingJobName=request["TrainingJobName"])["TrainingJobStatus"] == "Completed"
        ),
        "it completes",
    )
    group = "/aws/sagemaker/TrainingJobs"
    logs = jobs.sm.client("logs", "eu-west-1")
    streams = logs.describe_log_streams(logGroupName=group)["logStreams"]
    events = logs.get_log_events(logGroupName=group, logStreamName=streams[0]["logStreamName"])["events"]
    assert [event["message"] for event in events] == ["eu-west-1"]


def test_describe_returns_the_request_and_not_the_tags(jobs: Jobs) -> None:
    source = {"S3DataType": "S3Prefix", "S3Uri": jobs.put("described/data", "x")}
    request = jobs.request(
        counter(1),
        Environment={"A": "b"},
        InputDataConfig=[{"ChannelName": "train", "DataSource": {"S3DataSource": source}}],
        Tags=[{"Key": "k", "Value": "v"}],
    )
    jobs.sagemaker.create_training_job(**request)
    job = jobs.end(request["TrainingJobName"])
    # What AWS fills in.
    assert job["AlgorithmSpecification"].pop("EnableSageMakerMetricsTimeSeries") is False
    assert job["OutputDataConfig"].pop("KmsKeyId") == ""
    [channel] = job["InputDataConfig"]
    assert (channel.pop("CompressionType"), channel.pop("RecordWrapperType")) == ("None", "None")
    assert channel["DataSource"]["S3DataSource"].pop("S3DataDistributionType") == "FullyReplicated"
    for key in set(request) - {"Tags"}:
        assert job[key] == request[key]
    assert "Tags" not in job


def test_metrics(jobs: Jobs) -> None:
    request = jobs.request("print('loss=0.5;'); print('loss=0.25;')")
    request["AlgorithmSpecification"]["MetricDefinitions"] = [{"Name": "loss", "Regex": r"loss=([0-9.]+);"}]
    jobs.sagemaker.create_training_job(**request)
    metrics = jobs.end(request["TrainingJobName"])["FinalMetricDataList"]
    assert [(metric["MetricName"], metric["Value"]) for metric in metrics] == [("loss", 0.25)]


def test_delete_frees_the_name(jobs: Jobs) -> None:
    name = jobs.start("import time; time.sleep(3600)")
    jobs.reach(name, "Training")
    with pytest.raises(jobs.sagemaker.exceptions.ResourceInUse):
        jobs.sagemaker.delete_training_job(TrainingJobName=name)
    jobs.sagemaker.stop_training_job(TrainingJobName=name)
    jobs.end(name)
    jobs.sagemaker.delete_training_job(TrainingJobName=name)
    with pytest.raises(jobs.sagemaker.exceptions.ClientError, match="not found"):
        jobs.describe(name)
    assert jobs.run("pass", TrainingJobName=name)["TrainingJobStatus"] == "Completed"
    assert until(lambda: jobs.events("state", job=name, secondary="Stopped") or None, "the log keeps the first")
