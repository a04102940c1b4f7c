"""Set-ups that would fail, on Local SageMaker: each is found, with what to do; and one that nothing is wrong with."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError, NoCredentialsError

from airflow_spot.preflight.findings import Severity
from airflow_spot.preflight.script import check_script
from airflow_spot.preflight.wanted import read_wanted
from tests.preflight.scene import ACCOUNT, PATIENT, REGION, Scene

FAIL, WARN = Severity.FAIL, Severity.WARN
Break = Callable[[Scene], Any]
#: What is broken -> how, the check that finds it, how bad it is, and what is said of it, with the fix.
SET_UPS: dict[str, tuple[Break, str, Severity, str]] = {}


def set_up(check: str, severity: Severity, said: str) -> Callable[[Break], Break]:
    def keep(function: Break) -> Break:
        SET_UPS[function.__name__] = (function, check, severity, said)
        return function

    return keep


@set_up("role", FAIL, r"RoleArn arn:.*: there is no such role.*create it, or name another")
def role_missing(scene: Scene) -> None:
    scene.local.set_faults("iam:GetRole=missing")


@set_up("role", FAIL, r"trust policy does not let sagemaker\.amazonaws\.com take it.*add a statement")
def role_for_another_service(scene: Scene) -> None:
    other = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
    scene.role(scene.allow("*", "*"), trust={"Version": "2012-10-17", "Statement": [other]})


@set_up(
    "role", FAIL, r"IAM denies it s3:PutObject on arn:aws:s3:::.*checkpoints.*CheckpointConfig.*take out what denies"
)
def role_that_keeps_no_checkpoints(scene: Scene) -> None:
    scene.role(
        scene.allow(["s3:GetObject", "s3:ListBucket"], "*"),
        scene.allow("s3:PutObject", f"arn:aws:s3:::{scene.bucket}/output/*"),
        {"Effect": "Deny", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{scene.bucket}/output/checkpoints/*"},
    )


@set_up("role", WARN, r"s3:GetObject on arn:aws:s3:::.*/data/object, for InputDataConfig\[0\].*the job cannot read")
def role_that_cannot_read_the_data(scene: Scene) -> None:
    scene.role(
        scene.allow(["s3:PutObject", "s3:ListBucket"], "*"),
        scene.allow("s3:GetObject", f"arn:aws:s3:::{scene.bucket}/output/*"),
    )


@set_up("role", WARN, r"s3:ListBucket on arn:aws:s3:::bucket-\w+, for InputDataConfig.*allow it s3:ListBucket")
def role_that_cannot_list(scene: Scene) -> None:
    scene.role(scene.allow(["s3:GetObject", "s3:PutObject"], "*"))


@set_up("credentials", FAIL, r"RoleArn .*of account 123456789012, and a role can be passed in its own.*name a role of")
def role_of_another_account(scene: Scene) -> None:
    scene.config["RoleArn"] = f"arn:aws:iam::999999999999:role/{scene.name}"


@set_up("bucket", FAIL, r"OutputDataConfig\.S3OutputPath.* s3://no-such-\w+: there is no such bucket.*create it")
def bucket_missing(scene: Scene) -> None:
    scene.config["OutputDataConfig"]["S3OutputPath"] = f"s3://no-such-{scene.bucket[7:]}/out"


@set_up(
    "bucket", FAIL, r"the bucket is in eu-west-1, and the job in us-east-1.*name a bucket in us-east-1, or train in eu"
)
def bucket_in_another_region(scene: Scene) -> None:
    name = f"far-{scene.bucket}"
    scene.local.client("s3", region="eu-west-1").create_bucket(
        Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    scene.parameters["checkpoint_s3_uri"] = f"s3://{name}/checkpoints"


@set_up(
    "channel", FAIL, r"InputDataConfig\[0\].* s3://.*/empty/: there is no object with that prefix.*put the data there"
)
def channel_empty(scene: Scene) -> None:
    source(scene)["S3Uri"] = f"s3://{scene.bucket}/empty/"


@set_up("channel", FAIL, r"there is no such manifest.*put the data there, or fix the URI")
def manifest_missing(scene: Scene) -> None:
    source(scene).update(S3DataType="ManifestFile", S3Uri=f"s3://{scene.bucket}/list.manifest")


@set_up(
    "quota",
    FAIL,
    r"InstanceCount 1 \(ml\.p3\.2xlarge spot\): the quota '"
    r"ml\.p3\.2xlarge for spot training job usage' \(L-\w+\) is 0:.*"
    r"equest 1 or more: https://.*servicequotas",
)
def spot_quota_zero(scene: Scene) -> None:
    scene.config["ResourceConfig"]["InstanceType"] = "ml.p3.2xlarge"


@set_up(
    "quota",
    FAIL,
    r"InstanceCount 3 \(3 x ml\.g5\.xlarge spot\):.*is 2: the job is refused, however long it waits.*request 3 or more",
)
def quota_below_count(scene: Scene) -> None:
    scene.config["ResourceConfig"].update(InstanceType="ml.g5.xlarge", InstanceCount="3")


@set_up("quota", WARN, r"ml\.p3\.2xlarge spot.*request 1 or more")
def one_rung_of_two_without_quota(scene: Scene) -> None:
    scene.parameters["ladder"] = ["ml.p3.2xlarge", {"on_demand": ["ml.m5.xlarge"]}]


@set_up(
    "type", FAIL, r"InstanceType ml\.x9\.big.*us-east-1 has no such instances.*name another type, or train in another"
)
def type_not_in_region(scene: Scene) -> None:
    scene.config["ResourceConfig"]["InstanceType"] = "ml.x9.big"


@set_up("image", FAIL, r"TrainingImage .*:2: the repository has no image 2.*push it, or fix the tag")
def image_missing(scene: Scene) -> None:
    scene.config["AlgorithmSpecification"]["TrainingImage"] = f"{scene.image}:2"


@set_up("image", WARN, r"TrainingImage .*:arm \(ml\.m5\.large spot \[\w+\]\): the repository has no image arm")
def image_of_one_rung_missing(scene: Scene) -> None:
    scene.parameters["ladder"] = ["ml.m5.xlarge", {"instance_type": "ml.m5.large", "image_uri": f"{scene.image}:arm"}]


@set_up("image", FAIL, r"has no repository check-\w+-x in us-east-1: the job fails.*create it, or fix the name")
def repository_missing(scene: Scene) -> None:
    scene.config["AlgorithmSpecification"]["TrainingImage"] = f"{scene.image}-x:1"


@set_up("script", FAIL, r"entry_point train\.py:3: it trains, and names no folder that SageMaker keeps.*write to check")
def script_without_checkpoints(scene: Scene) -> None:
    lines = (
        b"import torch\nfor epoch in range(9):\n    loss.backward()\n    optimizer.step()\ntorch.save(model, 'm.pt')\n"
    )
    scene.findings += check_script({"train.py": lines}, "train.py", read_wanted(as_spot(scene)))


@set_up(
    "cost", FAIL, r"max_cost 0\.01: one attempt on ml\.m5\.xlarge spot costs 0\.23 USD.*lower max_run or the number"
)
def max_cost_exceeded(scene: Scene) -> None:
    scene.more["max_cost"] = Decimal("0.01")


@set_up(
    "cost",
    FAIL,
    r"max_cost 50: what one attempt on ml\.m5\.xlarge spot costs is not known: no price.*needs pricing:Get.*--prices",
)
def no_price_known(scene: Scene) -> None:
    scene.local.set_faults("pricing:GetProducts=denied")
    scene.more["max_cost"] = Decimal(50)


@set_up(
    "credentials", FAIL, r"credentials ExpiredToken: AWS does not accept the credentials: ExpiredToken.*log in again"
)
def credentials_expired(scene: Scene) -> None:
    scene.clients.instead["sts"] = Raises(
        ClientError({"Error": {"Code": "ExpiredToken", "Message": "x"}}, "GetCallerIdentity")
    )


@set_up("credentials", FAIL, r"credentials: no AWS credentials\. log in again, or renew the credentials")
def credentials_absent(scene: Scene) -> None:
    scene.clients.instead["sts"] = Raises(NoCredentialsError())


@set_up("request", FAIL, r"MaxWaitTimeInSeconds 1800: .*max_wait counts waiting and running, so it is at least max_run")
def max_wait_below_max_run(scene: Scene) -> None:
    scene.config["StoppingCondition"]["MaxWaitTimeInSeconds"] = 1800


@set_up("request", FAIL, r"S3OutputPath 'bucket/out': .*must be an S3 URI: s3://bucket/prefix")
def wrong_s3_uri(scene: Scene) -> None:
    scene.config["OutputDataConfig"]["S3OutputPath"] = "bucket/out"


@set_up(
    "request", FAIL, r"StoppingCondition\.MaxRuntimeInSecond an unknown field: .*did you mean MaxRuntimeInSeconds\?"
)
def field_misspelt(scene: Scene) -> None:
    scene.config["StoppingCondition"] = {"MaxRuntimeInSecond": 3600}


@set_up("request", FAIL, r"ResourceConfig\.KeepAlivePeriodInSeconds 60: .*warm pools cannot be used with spot")
def warm_pool_on_spot(scene: Scene) -> None:
    scene.config["ResourceConfig"]["KeepAlivePeriodInSeconds"] = 60


@set_up("request", FAIL, r"RoleArn missing: .*SageMaker requires it")
def no_role(scene: Scene) -> None:
    del scene.config["RoleArn"]


def source(scene: Scene) -> dict[str, Any]:
    found: dict[str, Any] = scene.config["InputDataConfig"][0]["DataSource"]["S3DataSource"]
    return found


def as_spot(scene: Scene) -> dict[str, Any]:
    folder = {"S3Uri": f"s3://{scene.bucket}/c", "LocalPath": "/opt/ml/checkpoints"}
    return {**scene.config, "EnableManagedSpotTraining": True, "CheckpointConfig": folder}


class Raises:
    """A client whose every call raises: what Local SageMaker does not do."""

    def __init__(self, error: Exception) -> None:
        self._error = error
        self.meta = SimpleNamespace(region_name="us-east-1")

    def __getattr__(self, name: str) -> Any:
        def call(**_: Any) -> Any:
            raise self._error

        return call


@pytest.mark.parametrize("name", SET_UPS)
def test_what_would_fail_is_found_with_its_fix(scene: Scene, name: str) -> None:
    broken, check, severity, said = SET_UPS[name]
    broken(scene)
    found = scene.check()
    worst = [each for each in found if each.severity is not Severity.UNCHECKED]
    assert any(
        each.check == check and each.severity is severity and re.search(said, str(each), re.IGNORECASE)
        for each in worst
    ), found
    # Nothing else is wrong: a role that may do less misses one thing, or one in several places.
    assert {each.check for each in worst} <= {check, *ALSO.get(name, ())}, found
    assert "hunter2secret" not in str(found)


#: What comes with it.
ALSO = {"type_not_in_region": ("quota",)}


def test_of_a_good_set_up_nothing_is_found(scene: Scene) -> None:
    scene.more["max_cost"] = Decimal(50)
    assert scene.check() == []


def test_a_role_by_name_is_as_good(scene: Scene) -> None:
    scene.config["RoleArn"] = scene.name
    assert [str(each) for each in scene.check()] == []


@pytest.mark.parametrize(
    ("call", "check", "permission"),
    [
        ("iam:GetRole", "role", "iam:GetRole"),
        ("iam:SimulatePrincipalPolicy", "role", "iam:SimulatePrincipalPolicy"),
        ("s3:HeadBucket", "bucket", "s3:ListBucket"),
        ("s3:ListObjectsV2", "channel", "s3:ListBucket"),
        ("ec2:DescribeInstanceTypeOfferings", "type", "ec2:DescribeInstanceTypeOfferings"),
        ("servicequotas:ListServiceQuotas", "quota", "servicequotas:ListServiceQuotas"),
    ],
)
def test_what_is_not_permitted_is_not_checked_and_says_what_it_needs(
    scene: Scene, call: str, check: str, permission: str
) -> None:
    scene.local.set_faults(f"{call}=denied")
    found = scene.check()
    assert found
    for each in found:
        assert (each.check, each.severity) == (check, Severity.UNCHECKED), each
        assert f"needs {permission}" in str(each)
        assert str(each).startswith("not checked: ")


def test_an_image_that_may_not_be_looked_at_is_not_checked(scene: Scene) -> None:
    denied = {"Error": {"Code": "AccessDeniedException", "Message": "no"}}
    scene.clients.instead["ecr"] = Raises(ClientError(denied, "BatchGetImage"))
    (finding,) = scene.check()
    assert str(finding) == f"not checked: AlgorithmSpecification.TrainingImage {scene.image}:1: needs ecr:BatchGetImage"


def test_data_that_is_no_s3_uri_is_not_checked(scene: Scene) -> None:
    system = {
        "FileSystemId": "fs-123456789ab",
        "FileSystemType": "EFS",
        "DirectoryPath": "/d",
        "FileSystemAccessMode": "ro",
    }
    scene.config["InputDataConfig"].append({"ChannelName": "more", "DataSource": {"FileSystemDataSource": system}})
    (finding,) = scene.check()
    assert (finding.check, finding.severity) == ("channel", Severity.UNCHECKED)
    assert finding.field == "InputDataConfig[1].DataSource"


def test_an_image_elsewhere_is_not_checked(scene: Scene) -> None:
    scene.config["AlgorithmSpecification"]["TrainingImage"] = "registry.example.com/train:1"
    (finding,) = scene.check()
    assert (finding.check, finding.severity, finding.why) == ("image", Severity.UNCHECKED, "it is not in ECR")


def test_only_the_calls_of_the_run_itself_are_made_where_that_is_asked_for(scene: Scene) -> None:
    from airflow_spot.core.iam.permissions import made_by_every_run

    scene.clients.asked.clear()
    scene.config["OutputDataConfig"]["S3OutputPath"] = f"s3://no-such-{scene.bucket[7:]}/out"
    scene.local.set_faults("iam:*=denied;ec2:*=denied;servicequotas:*=denied;pricing:*=denied")
    scene.more["only_needed_permissions"] = True
    (finding,) = scene.check()
    assert finding.check == "bucket" and finding.severity is FAIL
    assert scene.clients.asked
    assert all(made_by_every_run(call) for call in scene.clients.asked), scene.clients.asked
    assert f":{ACCOUNT}:" not in str(finding)


def test_on_a_tasks_connection_the_looks_are_of_the_run_itself(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_spot.core.identity import RunIdentity
    from airflow_spot.core.plan import SpotSettings, build_plan
    from airflow_spot.hooks.training import SageMakerSpotTrainingHook
    from airflow_spot.preflight.running import inspect

    hook = SageMakerSpotTrainingHook(aws_conn_id="aws_default", region_name=REGION)
    run = RunIdentity("n", "d", "r", "t", -1)
    good = build_plan(scene.config, SpotSettings(), run, hook.request_shape)
    config = {**scene.config, "OutputDataConfig": {"S3OutputPath": f"s3://no-such-{scene.bucket[7:]}/out"}}
    bad = build_plan(config, SpotSettings(), run, hook.request_shape)
    clients = hook.clients_of_any_service()
    # In its threads nobody may ask Airflow for the connection.
    monkeypatch.setattr(SageMakerSpotTrainingHook, "conn_config", property(lambda _: pytest.fail("asked Airflow")))
    found = [
        inspect(plan, clients, region=REGION, only_needed_permissions=True, **PATIENT).findings for plan in (good, bad)
    ]
    assert found[0] == ()
    assert [(each.check, each.severity) for each in found[1]] == [("bucket", FAIL)]


def test_nothing_is_asked_of_a_role_of_that_name_in_the_wrong_account(scene: Scene) -> None:
    role_of_another_account(scene)
    scene.clients.asked.clear()
    (finding,) = scene.check()
    assert finding.check == "credentials"
    assert "sts:GetCallerIdentity" in scene.clients.asked
    assert not [call for call in scene.clients.asked if call.startswith("iam:")]
