"""What the tests of transform jobs share: small models and jobs, and what became of them."""

from __future__ import annotations

import uuid
from typing import Any

from tests.local.hosting.test_endpoints import archive
from tests.local.jobs import BUCKET, ROLE, Jobs, until

GROUP = "/aws/sagemaker/TransformJobs"
DOUBLER = """
    import os
    print("environment", os.environ.get("COLOUR"), os.environ.get("SIZE"), os.environ["SAGEMAKER_BATCH"],
          os.environ.get("SAGEMAKER_BATCH_STRATEGY"), os.environ.get("SAGEMAKER_MAX_PAYLOAD_IN_MB"))
    def model_fn(model_dir):
        return 2
    def transform_fn(model, body, content_type, accept):
        print("asked", content_type, accept, len(body.split()))
        return "".join(f"{model * sum(map(int, line.split(',')))}\\n" for line in body.split())
"""
"""Doubles the sum of each CSV line."""


class Transforms:
    """Creates models and transform jobs, and reads what became of them."""

    def __init__(self, jobs: Jobs) -> None:
        self.jobs = jobs
        self.sagemaker = jobs.sagemaker
        self.stem = f"transform-{uuid.uuid4().hex[:8]}"

    def model(self, script: str = DOUBLER, *, image: str = "image:1", environment: dict[str, str] | None = None) -> str:
        name = f"model-{uuid.uuid4().hex[:8]}"
        data = self.jobs.put(f"{name}/model.tar.gz", archive({"code/inference.py": script}))
        container = {"Image": image, "ModelDataUrl": data, "Environment": environment or {}}
        self.sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container)
        return name

    def put(self, key: str, body: str | bytes) -> str:
        """Upload an object of the input; returns the input's prefix."""
        self.jobs.put(f"{self.stem}/in/{key}", body)
        return f"s3://{BUCKET}/{self.stem}/in/"

    def results(self) -> dict[str, bytes]:
        """What is in the output, by key below its path."""
        prefix = f"{self.stem}/out/"
        keys = self.jobs.keys(prefix)
        return {key.removeprefix(prefix): self.jobs.get(f"s3://{BUCKET}/{key}") for key in keys}

    def request(self, model: str, **overrides: Any) -> dict[str, Any]:
        """By line, from CSV to CSV.

        :param overrides: members; those of TransformInput and TransformOutput are merged.
        """
        source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/{self.stem}/in/"}
        request: dict[str, Any] = {
            "TransformJobName": f"{self.stem}-{uuid.uuid4().hex[:4]}",
            "ModelName": model,
            "TransformInput": {
                "DataSource": {"S3DataSource": source},
                "ContentType": "text/csv",
                "SplitType": "Line",
                **overrides.pop("TransformInput", {}),
            },
            "TransformOutput": {
                "S3OutputPath": f"s3://{BUCKET}/{self.stem}/out",
                "Accept": "text/csv",
                "AssembleWith": "Line",
                **overrides.pop("TransformOutput", {}),
            },
            "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
        }
        return {**request, **overrides}

    def start(self, model: str, **overrides: Any) -> str:
        request = self.request(model, **overrides)
        self.sagemaker.create_transform_job(**request)
        return str(request["TransformJobName"])

    def describe(self, name: str) -> dict[str, Any]:
        answer: dict[str, Any] = self.sagemaker.describe_transform_job(TransformJobName=name)
        return answer

    def end(self, name: str) -> dict[str, Any]:
        def ended() -> dict[str, Any] | None:
            job = self.describe(name)
            return job if job["TransformJobStatus"] in ("Completed", "Failed", "Stopped") else None

        return until(ended, f"{name} ends")

    def run(self, model: str, **overrides: Any) -> dict[str, Any]:
        return self.end(self.start(model, **overrides))

    def completed(self, model: str, **overrides: Any) -> dict[str, Any]:
        job = self.run(model, **overrides)
        assert job["TransformJobStatus"] == "Completed", job.get("FailureReason")
        return job

    def log(self, name: str) -> tuple[list[str], list[str]]:
        """The model's output, and what SageMaker says of the data."""
        logs = self.jobs.logs
        streams = logs.describe_log_streams(logGroupName=GROUP, logStreamNamePrefix=f"{name}/")["logStreams"]
        model, data = sorted(stream["logStreamName"] for stream in streams)
        assert data == f"{model}/data-log"
        lines = []
        for stream in (model, data):
            answer = logs.get_log_events(logGroupName=GROUP, logStreamName=stream, startFromHead=True)
            lines.append([event["message"] for event in answer["events"]])
        return lines[0], lines[1]
