"""Tuning jobs for tests: small requests, and what became of them."""

from __future__ import annotations

import uuid
from typing import Any

from tests.local.jobs import Jobs, until

LOSS = {"Name": "loss", "Regex": r"loss=(\S+)"}
CATEGORICAL = "CategoricalParameterRanges"


def choice(name: str, *values: Any) -> dict[str, Any]:
    return {"Name": name, "Values": [str(value) for value in values]}


def numbers(name: str, low: Any, high: Any, **more: str) -> dict[str, Any]:
    return {"Name": name, "MinValue": str(low), "MaxValue": str(high), **more}


class Tuning:
    """Creates tuning jobs and reads what became of them."""

    def __init__(self, jobs: Jobs) -> None:
        self.jobs = jobs
        self.sagemaker = jobs.sagemaker

    def request(self, script: str | None = None, *, spot: bool = True, **config: Any) -> dict[str, Any]:
        """A request; ``config`` goes into HyperParameterTuningJobConfig, ``definition`` into TrainingJobDefinition."""
        definition = config.pop("definition", {})
        training = self.jobs.request(script, spot=spot, **config.pop("training", {}))
        for name in ("TrainingJobName", "CheckpointConfig"):
            training.pop(name, None)
        training["StaticHyperParameters"] = training.pop("HyperParameters", {})
        training["AlgorithmSpecification"] = {
            "TrainingImage": "image",
            "TrainingInputMode": "File",
            "MetricDefinitions": [LOSS],
        }
        limits = {"MaxNumberOfTrainingJobs": 3, "MaxParallelTrainingJobs": 3, **config.pop("ResourceLimits", {})}
        defaults = {
            "Strategy": "Random",
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "loss"},
            "ParameterRanges": {"ContinuousParameterRanges": [numbers("simulated_metric", 0, 1)]},
            "ResourceLimits": {name: value for name, value in limits.items() if value is not None},
        }
        return {
            "HyperParameterTuningJobName": f"tuning-{uuid.uuid4().hex[:8]}",
            "HyperParameterTuningJobConfig": {**defaults, **config},
            "TrainingJobDefinition": {**training, **definition},
        }

    def grid(self, *values: Any, script: str | None = None, name: str = "simulated_metric", **more: Any) -> str:
        """Start a tuning job that tries these values in this order."""
        return self.start(
            script,
            Strategy="Grid",
            ParameterRanges={CATEGORICAL: [choice(name, *values)]},
            ResourceLimits={"MaxNumberOfTrainingJobs": None, "MaxParallelTrainingJobs": more.pop("parallel", 1)},
            **more,
        )

    def start(self, script: str | None = None, **config: Any) -> str:
        tags = config.pop("Tags", [])
        request = self.request(script, **config)
        self.sagemaker.create_hyper_parameter_tuning_job(**request, Tags=tags)
        return str(request["HyperParameterTuningJobName"])

    def describe(self, name: str) -> dict[str, Any]:
        answer: dict[str, Any] = self.sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
        return answer

    def end(self, name: str) -> dict[str, Any]:
        def ended() -> dict[str, Any] | None:
            job = self.describe(name)
            return job if job["HyperParameterTuningJobStatus"] in ("Completed", "Failed", "Stopped") else None

        return until(ended, f"{name} ends")

    def children(self, name: str, **asked: Any) -> list[dict[str, Any]]:
        """Its training jobs, over all pages."""
        pages = self.sagemaker.get_paginator("list_training_jobs_for_hyper_parameter_tuning_job")
        return list(pages.paginate(HyperParameterTuningJobName=name, **asked).search("TrainingJobSummaries[]"))

    def first_trains(self, name: str) -> str:
        """Wait until the first training job trains; returns its name."""
        child = str(until(lambda: self.children(name) or None, f"{name} launches")[0]["TrainingJobName"])
        self.jobs.reach(child, "Training")
        return child

    def at_once(self, name: str) -> int:
        """How many of its training jobs had instances at the same time, by the audit log."""
        most, now = 0, 0
        for line in self.jobs.sm.audit:
            if not str(line.get("job", "")).startswith(f"{name}-"):
                continue
            if line["event"] == "capacity" and line["action"] == "granted":
                now += 1
                most = max(most, now)
            elif line["event"] == "state" and line["status"] in ("Completed", "Failed", "Stopped"):
                now -= 1
        return most
