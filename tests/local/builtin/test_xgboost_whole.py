"""The built-in XGBoost in tuning and transform jobs: by its own metrics, and line by line."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.local.builtin.test_xgboost import CSV, IMAGE, channel
from tests.local.jobs import BUCKET, ROLE, Jobs, until

pytestmark = pytest.mark.slow


def test_a_sweep_and_its_best_model_over_a_file(jobs: Jobs) -> None:
    name = f"sweep-{uuid.uuid4().hex[:8]}"
    jobs.sagemaker.create_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=name,
        HyperParameterTuningJobConfig={
            "Strategy": "Grid",
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "validation:rmse"},
            "ResourceLimits": {"MaxParallelTrainingJobs": 2},
            "ParameterRanges": {"CategoricalParameterRanges": [{"Name": "eta", "Values": ["0.001", "0.7"]}]},
        },
        TrainingJobDefinition={
            "StaticHyperParameters": {"num_round": "12", "max_depth": "3", "nthread": "1"},
            "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
            "RoleArn": ROLE,
            "InputDataConfig": [channel(jobs, "train", CSV), channel(jobs, "validation", CSV)],
            "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/out"},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
            "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        },
    )

    def ended() -> dict[str, Any] | None:
        answer: dict[str, Any] = jobs.sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
        return None if answer["HyperParameterTuningJobStatus"] == "InProgress" else answer

    sweep = until(ended, "the sweep ends")
    assert sweep["HyperParameterTuningJobStatus"] == "Completed", sweep.get("FailureReason")
    assert sweep["BestTrainingJob"]["TunedHyperParameters"] == {"eta": "0.7"}
    best = jobs.describe(sweep["BestTrainingJob"]["TrainingJobName"])
    jobs.sagemaker.create_model(
        ModelName=name,
        ExecutionRoleArn=ROLE,
        PrimaryContainer={"Image": IMAGE, "ModelDataUrl": best["ModelArtifacts"]["S3ModelArtifacts"]},
    )
    jobs.put(f"{name}/in/rows.csv", b"1,2\n7,0\n0,0\n")
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/{name}/in"}}
    jobs.sagemaker.create_transform_job(
        TransformJobName=name,
        ModelName=name,
        TransformInput={"DataSource": source, "ContentType": "text/csv", "SplitType": "Line"},
        TransformOutput={"S3OutputPath": f"s3://{BUCKET}/{name}/out", "AssembleWith": "Line"},
        TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
    )

    def transformed() -> dict[str, Any] | None:
        answer: dict[str, Any] = jobs.sagemaker.describe_transform_job(TransformJobName=name)
        return None if answer["TransformJobStatus"] == "InProgress" else answer

    assert until(transformed, "the transform ends")["TransformJobStatus"] == "Completed"
    lines = jobs.get(f"s3://{BUCKET}/{name}/out/rows.csv.out").decode().splitlines()
    assert [float(line) for line in lines] == pytest.approx([1, 21, 0], abs=3)
