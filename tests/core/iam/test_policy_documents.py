"""The policies: narrow, whole, and of what was asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from airflow_spot.core.iam.permissions import DEFAULT_FEATURES, FEATURES, NEEDS, Who, made_by_every_run
from airflow_spot.core.iam.policy_documents import Names, check_features, check_names, policy
from airflow_spot.core.parameter_errors import InvalidParameterError
from tests.support.policies import allows

NAMES = Names(
    account="123456789012", region="eu-central-1", role_arn="arn:aws:iam::123456789012:role/t", output="s3://b/o"
)
JOB = "arn:aws:sagemaker:eu-central-1:123456789012:training-job/digits-afspot-abcdefghij-1-1"
FOREIGN = "arn:aws:sagemaker:eu-central-1:123456789012:training-job/somebody-elses"


def test_a_worker_may_do_to_its_own_jobs_what_it_may_not_to_others() -> None:
    document = policy(Who.WORKER, DEFAULT_FEATURES, NAMES)
    for action in ("CreateTrainingJob", "StopTrainingJob", "AddTags"):
        assert allows(document, f"sagemaker:{action}", JOB)
        assert not allows(document, f"sagemaker:{action}", FOREIGN)
    assert allows(policy(Who.WORKER, ("core", "other-jobs"), NAMES), "sagemaker:StopTrainingJob", FOREIGN)


def test_only_the_role_of_the_training_is_passed_and_only_to_sagemaker() -> None:
    (statement,) = (
        each for each in policy(Who.WORKER, ("core",), NAMES)["Statement"] if "iam:PassRole" in each["Action"]
    )
    assert statement["Resource"] == [NAMES.role_arn]
    assert statement["Condition"] == {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}
    assert statement["Action"] == ["iam:PassRole"]


@pytest.mark.parametrize("who", [Who.TRIGGERER, Who.WEB_SERVER, Who.COMMANDS])
def test_nobody_but_a_worker_creates_jobs_or_passes_roles(who: Who) -> None:
    document = policy(who, tuple(FEATURES), NAMES)
    assert document["Statement"]
    assert not allows(document, "sagemaker:CreateTrainingJob", JOB)
    assert not allows(document, "iam:PassRole", NAMES.role_arn)


def test_deleting_is_for_those_who_ask_for_it() -> None:
    place = "arn:aws:s3:::b/o/checkpoints/ns/d/t/k/g1/step-1"
    assert not allows(policy(Who.WORKER, DEFAULT_FEATURES, NAMES), "s3:DeleteObject", place)
    assert allows(policy(Who.WORKER, (*DEFAULT_FEATURES, "retention"), NAMES), "s3:DeleteObject", place)
    assert not allows(policy(Who.WORKER, tuple(FEATURES), NAMES), "s3:DeleteObject", "arn:aws:s3:::b/o/model.tar.gz")


def test_a_namespace_narrows_the_checkpoints() -> None:
    document = policy(Who.WORKER, ("core", "checkpoints"), Names(output="s3://b/o", namespace="prod"))
    assert allows(document, "s3:PutObject", "arn:aws:s3:::b/o/checkpoints/prod/d/marker")
    assert not allows(document, "s3:PutObject", "arn:aws:s3:::b/o/checkpoints/test/d/marker")


@pytest.mark.parametrize(
    ("region", "partition"), [("eu-central-1", "aws"), ("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov")]
)
def test_every_resource_is_of_the_regions_partition(region: str, partition: str) -> None:
    for who in Who:
        for statement in policy(who, tuple(FEATURES), Names(region=region))["Statement"]:
            assert all(arn == "*" or arn.startswith(f"arn:{partition}:") for arn in statement["Resource"])


def test_a_policy_without_any_place_stands_alone() -> None:
    document = policy(Who.WEB_SERVER, DEFAULT_FEATURES, NAMES)
    assert document["Statement"] == []


def test_only_what_cannot_be_narrowed_is_allowed_on_everything() -> None:
    everywhere = {need.actions[0] for need in NEEDS if "*" in need.places}
    assert everywhere == {
        # Source: "Actions, resources, and condition keys" of each service: these take no resource.
        "sagemaker:ListTrainingJobs",
        "pricing:GetProducts",
        "servicequotas:ListServiceQuotas",
        "cloudwatch:GetMetricData",
        "ec2:DescribeSpotPriceHistory",
        "ec2:GetSpotPlacementScores",
        "ec2:DescribeInstanceTypeOfferings",
        "cloudwatch:PutMetricData",
        "ecr:GetAuthorizationToken",
        "ec2:CreateNetworkInterface",
    }


def test_every_statement_has_a_name_of_its_own() -> None:
    for who in Who:
        names = [statement["Sid"] for statement in policy(who, tuple(FEATURES), NAMES)["Statement"]]
        assert len(set(names)) == len(names)
        assert all(name.isalnum() for name in names)


def test_a_wrong_name_is_said() -> None:
    with pytest.raises(InvalidParameterError, match="--features is 'log': choose from core, "):
        check_features(["log"])
    with pytest.raises(InvalidParameterError, match="--output is 'bucket': must be an S3 URI"):
        check_names(Names(output="bucket"))
    with pytest.raises(InvalidParameterError, match="--checkpoints is 'bucket': must be an S3 URI"):
        check_names(Names(checkpoints="bucket"))


GOOD = {
    "account": ["123456789012"],
    "region": ["eu-central-1", "us-gov-west-1", "cn-north-1"],
    "role_arn": ["arn:aws:iam::123456789012:role/path/t", "arn:aws-cn:iam::123456789012:role/team-*"],
    "queue_arn": ["arn:aws:sqs:eu-west-1:123456789012:q"],
    "repository_arn": ["arn:aws:ecr:us-east-1:763104351884:repository/pytorch-training"],
    "key_arn": ["arn:aws:kms:eu-west-1:123456789012:key/1234abcd"],
}
BAD = {
    "account": ["1234", "my-account", ""],
    "region": ["Frankfurt", "eu-central", ""],
    "role_arn": ["training", "role/training", "arn:aws:iam::123456789012:user/u", "arn:aws:iam::1:role/r"],
    "queue_arn": ["https://sqs.eu-west-1.amazonaws.com/123456789012/q", "q"],
    "repository_arn": ["123456789012.dkr.ecr.eu-west-1.amazonaws.com/train:1", "train"],
    "key_arn": ["alias/mine", "arn:aws:kms:eu-west-1:123456789012:alias/mine"],
}


@pytest.mark.parametrize("field", GOOD)
def test_a_name_that_would_be_no_resource_is_refused_with_what_to_give(field: str) -> None:
    for value in GOOD[field]:
        check_names(replace(Names(), **{field: value}))
    option = f"--{field.replace('_', '-')}"
    for value in BAD[field]:
        with pytest.raises(InvalidParameterError, match=f"{option} is '{value}': give "):
            check_names(replace(Names(), **{field: value}))


def test_a_role_that_is_several_may_do_what_each_may_and_no_more() -> None:
    features = tuple(FEATURES)

    def grants(document: dict[str, Any]) -> set[tuple[str, str]]:
        return {
            (action, arn) for each in document["Statement"] for action in each["Action"] for arn in each["Resource"]
        }

    both = policy([Who.WORKER, Who.TRIGGERER], features, NAMES)
    assert grants(both) == grants(policy(Who.WORKER, features, NAMES)) | grants(policy(Who.TRIGGERER, features, NAMES))
    assert policy([Who.WORKER], features, NAMES) == policy(Who.WORKER, features, NAMES)


def test_what_needs_no_permission_beside_the_runs() -> None:
    for call in ("sts:GetCallerIdentity", "s3:ListObjectsV2", "s3:HeadBucket", "sagemaker:ListTrainingJobs"):
        assert made_by_every_run(call)
    for call in ("iam:SimulatePrincipalPolicy", "service-quotas:ListServiceQuotas", "ecr:BatchGetImage", "iam:GetRole"):
        assert not made_by_every_run(call)
