"""IAM: roles need not exist, and then may do everything; those that somebody made may do what their policies say."""

from __future__ import annotations

import json
import re
import uuid
from typing import Any

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


def test_a_role_that_nobody_made_may_do_everything(sm: LocalSageMaker) -> None:
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


def policy(action: str, resource: str = "*", effect: str = "Allow") -> str:
    statement = {"Effect": effect, "Action": action, "Resource": resource}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def simulate(iam: Any, source: str, *actions: str, **request: Any) -> list[str]:
    answer = iam.simulate_principal_policy(PolicySourceArn=source, ActionNames=list(actions), **request)
    return [result["EvalDecision"] for result in answer["EvaluationResults"]]


def test_a_role_that_somebody_made_may_do_what_its_policies_say(sm: LocalSageMaker) -> None:
    iam, name = sm.client("iam"), f"role-{uuid.uuid4().hex[:8]}"
    arn = iam.create_role(RoleName=name, Path="/team/", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    asked = ("s3:GetObject", "s3:DeleteObject", "sagemaker:AddTags", "iam:PassRole")
    assert simulate(iam, arn, *asked) == ["implicitDeny"] * 4
    iam.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=policy("s3:*"))
    iam.put_role_policy(RoleName=name, PolicyName="not", PolicyDocument=policy("s3:Delete*", effect="Deny"))
    attached = iam.create_policy(PolicyName=name, PolicyDocument=policy("sagemaker:*", "arn:aws:sagemaker:*"))["Policy"]
    iam.attach_role_policy(RoleName=name, PolicyArn=attached["Arn"])
    assert simulate(iam, arn, *asked) == ["allowed", "explicitDeny", "implicitDeny", "implicitDeny"]
    job = ["arn:aws:sagemaker:us-east-1:123456789012:training-job/a"]
    assert simulate(iam, arn, "sagemaker:AddTags", ResourceArns=job) == ["allowed"]
    more = [policy("iam:PassRole")]
    assert simulate(iam, arn, "iam:PassRole", PolicyInputList=more) == ["allowed"]


def test_a_user_may_do_what_their_groups_may(sm: LocalSageMaker) -> None:
    iam, name = sm.client("iam"), f"user-{uuid.uuid4().hex[:8]}"
    arn = iam.create_user(UserName=name)["User"]["Arn"]
    iam.create_group(GroupName=name)
    iam.put_group_policy(GroupName=name, PolicyName="own", PolicyDocument=policy("sagemaker:Create*"))
    assert simulate(iam, arn, "sagemaker:CreateTrainingJob") == ["implicitDeny"]
    iam.add_user_to_group(GroupName=name, UserName=name)
    assert simulate(iam, arn, "sagemaker:CreateTrainingJob", "sagemaker:AddTags") == ["allowed", "implicitDeny"]


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("arn:aws:iam::123456789012:user/nobody", "NoSuchEntity"),
        ("arn:aws:sts::123456789012:assumed-role/a/b", "InvalidInput"),
    ],
)
def test_who_is_nobody_cannot_be_simulated(sm: LocalSageMaker, source: str, code: str) -> None:
    with pytest.raises(ClientError) as raised:
        simulate(sm.client("iam"), source, "s3:GetObject")
    assert raised.value.response["Error"]["Code"] == code


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
