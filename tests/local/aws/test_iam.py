"""IAM: roles need not exist, and may do everything."""

from __future__ import annotations

import json
import re
import uuid

import pytest
import yaml
from botocore.exceptions import ClientError

from airflow_spot.local import LocalSageMaker
from airflow_spot.local.aws.iam import EXECUTION_ROLE
from airflow_spot.local.aws.moto import SDK_CONFIG


def test_a_role_that_nobody_made_trusts_sagemaker(sm: LocalSageMaker) -> None:
    iam, name = sm.client("iam"), f"role-{uuid.uuid4().hex[:8]}"
    role = iam.get_role(RoleName=name)["Role"]
    assert role["Arn"] == f"arn:aws:iam::123456789012:role/{name}"
    assert role["AssumeRolePolicyDocument"]["Statement"][0]["Principal"] == {"Service": "sagemaker.amazonaws.com"}
    assert name not in [each["RoleName"] for each in iam.list_roles()["Roles"]]


def test_a_role_that_somebody_made_is_as_they_made_it(sm: LocalSageMaker) -> None:
    iam, name = sm.client("iam"), f"role-{uuid.uuid4().hex[:8]}"
    nobody = {"Version": "2012-10-17", "Statement": []}
    iam.create_role(RoleName=name, Path="/mine/", AssumeRolePolicyDocument=json.dumps(nobody))
    role = iam.get_role(RoleName=name)["Role"]
    assert (role["Path"], role["AssumeRolePolicyDocument"]) == ("/mine/", nobody)
    with pytest.raises(ClientError, match="NoSuchEntity"):
        iam.get_user(UserName=name)


def test_every_action_is_allowed(sm: LocalSageMaker) -> None:
    pages = sm.client("iam").get_paginator("simulate_principal_policy")
    source = "arn:aws:iam::123456789012:role/any"
    actions, resources = ["s3:PutObject", "sagemaker:CreateTrainingJob"], ["arn:aws:s3:::a", "arn:aws:s3:::b"]
    results = [
        (result["EvalActionName"], result["EvalResourceName"], result["EvalDecision"])
        for page in pages.paginate(PolicySourceArn=source, ActionNames=actions, ResourceArns=resources)
        for result in page["EvaluationResults"]
    ]
    assert results == [(action, resource, "allowed") for action in actions for resource in resources]
    (alone,) = sm.client("iam").simulate_principal_policy(PolicySourceArn=source, ActionNames=["a:B"])[
        "EvaluationResults"
    ]
    assert alone["EvalResourceName"] == "*"


def test_who_asks_is_a_role_that_was_assumed(sm: LocalSageMaker) -> None:
    caller = sm.client("sts").get_caller_identity()
    assert caller["Account"] == "123456789012"
    # As the SageMaker SDK does, to find the role of its jobs.
    role = re.sub(r"^(.+)sts::(\d+):assumed-role/(.+?)/.*$", r"\1iam::\2:role/\3", caller["Arn"])
    assert role == "arn:aws:iam::123456789012:role/AmazonSageMaker-ExecutionRole"
    assert sm.client("iam").get_role(RoleName=role.rpartition("/")[2])["Role"]["Arn"] == role


def test_the_configuration_of_the_sdks_names_that_role() -> None:
    config = yaml.safe_load(SDK_CONFIG.read_text())["SageMaker"]
    role = f"arn:aws:iam::123456789012:role/{EXECUTION_ROLE}"
    assert config["TrainingJob"] == config["ProcessingJob"] == config["Pipeline"] == {"RoleArn": role}
    assert config["Model"] == {"ExecutionRoleArn": role}
