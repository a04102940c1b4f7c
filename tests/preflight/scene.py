"""A training request that nothing is wrong with, on Local SageMaker, and what asks about it."""

from __future__ import annotations

import copy
import json
import uuid
from typing import Any

import boto3

from airflow_spot.core.parameters import PARAMETERS
from airflow_spot.local import LocalSageMaker
from airflow_spot.preflight.findings import PreflightFinding
from airflow_spot.preflight.running import inspect

REGION, ACCOUNT = "us-east-1", "123456789012"
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}
#: Enough: no test waits for it, and a busy machine may take long to make clients.
PATIENT: dict[str, float] = {"budget_seconds": 120, "call_seconds": 60}


class Clients:
    """Clients of Local SageMaker, each made once; ``instead`` has others by service."""

    def __init__(self, local: LocalSageMaker) -> None:
        self._url = local.endpoint_url
        self._session = boto3.Session(aws_access_key_id="local", aws_secret_access_key="local", region_name=REGION)
        self._made: dict[tuple[str, str], Any] = {}
        self.instead: dict[str, Any] = {}
        self.asked: list[str] = []

    def __call__(self, service: str, region: str, config: Any = None) -> Any:
        if service in self.instead:
            return self.instead[service]
        if (service, region) not in self._made:
            made = self._session.client(service, region_name=region, config=config, endpoint_url=self._url)
            prefix = "service-quotas" if service == "service-quotas" else service
            made.meta.events.register("before-call", lambda model, **_: self.asked.append(f"{prefix}:{model.name}"))
            self._made[service, region] = made
        return self._made[service, region]


class Scene:
    """
    What a set-up test breaks.

    :ivar config: of the task, to be changed.
    :ivar parameters: of the operator beside it.
    """

    def __init__(self, local: LocalSageMaker, clients: Clients, bucket: str) -> None:
        self.local, self.clients, self.bucket = local, clients, bucket
        self.name = f"check-{uuid.uuid4().hex[:12]}"
        self.s3, self.iam, self.ecr = (clients(each, REGION) for each in ("s3", "iam", "ecr"))
        self.s3.put_object(Bucket=bucket, Key="data/part-1", Body=b"x")
        self.ecr.create_repository(repositoryName=self.name)
        manifest = {"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json"}
        self.ecr.put_image(repositoryName=self.name, imageManifest=json.dumps(manifest), imageTag="1")
        self._has_role = False
        self.role(self.allow("*", "*"))
        self.image = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/{self.name}"
        source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{bucket}/data/"}}
        self.config: dict[str, Any] = {
            "TrainingJobName": "digits",
            "AlgorithmSpecification": {"TrainingImage": f"{self.image}:1", "TrainingInputMode": "File"},
            "RoleArn": f"arn:aws:iam::{ACCOUNT}:role/{self.name}",
            "InputDataConfig": [{"ChannelName": "train", "DataSource": source}],
            "OutputDataConfig": {"S3OutputPath": f"s3://{bucket}/output"},
            "ResourceConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 10},
            "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
            "HyperParameters": {"password": "hunter2secret"},
        }
        self.parameters: dict[str, Any] = {}
        self.more: dict[str, Any] = {}
        self.findings: list[PreflightFinding] = []

    @staticmethod
    def allow(action: Any, resource: Any) -> dict[str, Any]:
        return {"Effect": "Allow", "Action": action, "Resource": resource}

    def role(self, *statements: dict[str, Any], trust: dict[str, Any] = TRUST) -> None:
        """Have the role of the training, with this policy alone."""
        iam = self.iam
        if self._has_role:
            iam.update_assume_role_policy(RoleName=self.name, PolicyDocument=json.dumps(trust))
        else:
            iam.create_role(RoleName=self.name, AssumeRolePolicyDocument=json.dumps(trust))
        self._has_role = True
        document = {"Version": "2012-10-17", "Statement": list(statements)}
        iam.put_role_policy(RoleName=self.name, PolicyName="p", PolicyDocument=json.dumps(document))

    def given(self) -> Any:
        """The operator's parameters, as the command reads them."""
        from types import SimpleNamespace

        return SimpleNamespace(**{**dict.fromkeys(PARAMETERS), "config": copy.deepcopy(self.config), **self.parameters})

    def check(self) -> list[PreflightFinding]:
        """Look, as the command does."""
        from airflow_spot.aws.shapes import input_shape
        from airflow_spot.cli.check_target import requests_of
        from airflow_spot.core.identity import RunIdentity

        shape = input_shape(self.clients("sagemaker", REGION), "CreateTrainingJob")
        requests, found = requests_of(self.given(), shape, RunIdentity("check", "d", "check", "t", -1))
        report = inspect(
            requests or (), self.clients, region=REGION, more=(*found, *self.findings), **{**PATIENT, **self.more}
        )
        return list(report.findings)
