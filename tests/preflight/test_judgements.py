"""What answers mean: pure, case by case."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_spot.core.money.figures import Figure, unknown
from airflow_spot.core.money.market_values import QuotaFigure
from airflow_spot.core.money.prices import Money
from airflow_spot.preflight.asking import Answer, Asker
from airflow_spot.preflight.capacity import judge_quotas
from airflow_spot.preflight.costs import costs, judge_costs
from airflow_spot.preflight.findings import PreflightFinding, Severity, weigh
from airflow_spot.preflight.images import check_images
from airflow_spot.preflight.places import bucket_region, judge_bucket, not_looked_at
from airflow_spot.preflight.role import judge_rights, trusts
from airflow_spot.preflight.wanted import EcrImage, Place, read_image, read_wanted, unknown_fields

SERVICE = "sagemaker.amazonaws.com"


def trust(**statement: Any) -> dict[str, Any]:
    return {
        "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": SERVICE}} | statement]
    }


@pytest.mark.parametrize(
    ("document", "trusted"),
    [
        (trust(), True),
        (trust(Principal={"Service": ["ec2.amazonaws.com", SERVICE]}), True),
        (trust(Principal="*"), True),
        (trust(Action=["sts:AssumeRole", "sts:TagSession"]), True),
        (trust(Condition={"StringEquals": {"aws:SourceAccount": "1"}}), True),
        ({"Statement": trust()["Statement"][0]}, True),
        (json.dumps(trust()), True),
        (quote(json.dumps(trust())), True),
        (trust(Principal={"Service": "ec2.amazonaws.com"}), False),
        (trust(Principal={"AWS": "*"}), False),
        (trust(Effect="Deny"), False),
        ({"Statement": [*trust()["Statement"], *trust(Effect="Deny")["Statement"]]}, False),
        (trust(Action="sts:TagSession"), False),
        ({}, False),
        (None, False),
        ("{", False),
        ({"Statement": [None]}, False),
    ],
)
def test_a_trust_policy_lets_the_service_take_the_role(document: Any, trusted: bool) -> None:
    assert trusts(document, SERVICE) is trusted


@pytest.mark.parametrize(
    ("uri", "image"),
    [
        (
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/train:1.2",
            EcrImage("123456789012", "eu-west-1", "team/train", "1.2", ""),
        ),
        (
            "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/train",
            EcrImage("123456789012", "cn-north-1", "train", "", ""),
        ),
        (
            f"123456789012.dkr.ecr.us-east-1.amazonaws.com/train@sha256:{'a' * 64}",
            EcrImage("123456789012", "us-east-1", "train", "", f"sha256:{'a' * 64}"),
        ),
        ("image", None),
        ("docker.io/library/python:3", None),
        ("1.dkr.ecr.us-east-1.amazonaws.com/x", None),
    ],
)
def test_an_image_is_read(uri: str, image: EcrImage | None) -> None:
    assert read_image(uri) == image


def request(kind: str = "ml.g5.xlarge", count: int = 1, *, spot: bool = True, max_run: Any = 3600) -> dict[str, Any]:
    return {
        "ResourceConfig": {"InstanceType": kind, "InstanceCount": count},
        "StoppingCondition": {"MaxRuntimeInSeconds": max_run},
        "EnableManagedSpotTraining": spot,
    }


PRICES = {"ml.g5.xlarge": Figure(Money(Decimal("1.408"), "USD"), "t"), "ml.m5.large": unknown("t", "needs x")}


@given(st.integers(1, 100), st.integers(1, 28 * 86_400), st.booleans())
def test_an_attempt_costs_at_most_all_its_time_at_the_on_demand_price(count: int, seconds: int, spot: bool) -> None:
    (cost,) = costs(read_wanted(request(count=count, max_run=seconds, spot=spot)), PRICES)
    assert cost.at_most is not None
    assert cost.at_most.amount == Decimal("1.408") * count * seconds / 3600
    limit = cost.at_most.amount
    assert not list(judge_costs([cost], limit))
    assert [each.severity for each in judge_costs([cost], limit - Decimal("0.0001"))] == [Severity.FAIL]


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (request("ml.m5.large"), "no price of ml.m5.large (needs x)"),
        (request("ml.p5.48xlarge"), "no price of ml.p5.48xlarge"),
        (request(max_run="{{ var.value.max_run }}"), "max_run is known only when the task runs"),
        ({"StoppingCondition": {"MaxRuntimeInSeconds": 60}}, "its instances are not known here"),
    ],
)
def test_a_cost_that_nobody_knows_is_no_cost_below_the_limit(asked: Any, why: str) -> None:
    found = costs(read_wanted(asked), PRICES)
    assert [(each.at_most, each.why) for each in found] == [(None, why)]
    (finding,) = judge_costs(found, Decimal(10))
    assert finding.severity is Severity.FAIL and why in finding.why
    (finding,) = judge_costs(found, Decimal(10), price_needed=False)
    assert finding.severity is Severity.UNCHECKED and why in finding.why
    assert not list(judge_costs(found, None))


def test_a_choice_of_types_costs_the_dearest_and_a_cluster_costs_all() -> None:
    prices = {"ml.a": Figure(Money(Decimal(1), "USD"), "t"), "ml.b": Figure(Money(Decimal(3), "USD"), "t")}
    each = [{"InstanceType": kind, "InstanceCount": 2} for kind in prices]
    stopping = {"StoppingCondition": {"MaxRuntimeInSeconds": 3600}}
    (choice,) = costs(read_wanted({"ResourceConfig": {"InstancePreferences": each}, **stopping}), prices)
    (cluster,) = costs(read_wanted({"ResourceConfig": {"InstanceGroups": each}, **stopping}), prices)
    assert choice.at_most == Money(Decimal(6), "USD")
    assert cluster.at_most == Money(Decimal(8), "USD")


def quota(limit: float, used: float | None = None, *, adjustable: bool = True) -> Figure[QuotaFigure]:
    return Figure(QuotaFigure("ml.g5.xlarge for spot training job usage", "L-1", limit, used, adjustable, "URL"), "t")


@pytest.mark.parametrize(
    ("figure", "severity", "said"),
    [
        (quota(2), None, ""),
        (quota(2, 0.0), None, ""),
        (quota(1), Severity.FAIL, "(L-1) is 1: the job is refused, however long it waits. Request 2 or more: URL"),
        (quota(1, adjustable=False), Severity.FAIL, "AWS does not raise it on request: use another type"),
        (quota(4, 3.0), Severity.WARN, "is 4, of which 3 are used now: the job waits for its turn"),
        (unknown("t", "needs servicequotas:ListServiceQuotas"), Severity.UNCHECKED, "needs servicequotas:List"),
    ],
)
def test_a_quota_is_large_enough_or_not(figure: Any, severity: Severity | None, said: str) -> None:
    found = list(judge_quotas(read_wanted(request(count=2)), {("ml.g5.xlarge", True): figure}))
    assert [each.severity for each in found] == ([] if severity is None else [severity])
    assert all(said in str(each) for each in found)
    # The quota of on-demand is another one.
    assert not list(judge_quotas(read_wanted(request(count=2, spot=False)), {("ml.g5.xlarge", True): figure}))


@pytest.mark.parametrize(
    ("section", "limits", "severities"),
    [
        ("InstancePreferences", (0, 0), [Severity.FAIL, Severity.FAIL]),
        ("InstancePreferences", (0, 2), [Severity.WARN]),
        ("InstancePreferences", (2, 2), []),
        ("InstancePreferences", (0, None), [Severity.WARN, Severity.UNCHECKED]),
        # A cluster takes all of them.
        ("InstanceGroups", (0, 2), [Severity.FAIL]),
    ],
)
def test_of_a_choice_of_types_one_quota_is_enough(
    section: str, limits: tuple[int | None, ...], severities: list[Severity]
) -> None:
    each = [{"InstanceType": kind, "InstanceCount": 2} for kind in ("ml.a", "ml.b")]
    wanted = read_wanted({"ResourceConfig": {section: each}, "EnableManagedSpotTraining": True})
    figures = [unknown("t", "needs x") if limit is None else quota(limit) for limit in limits]
    found = list(judge_quotas(wanted, {("ml.a", True): figures[0], ("ml.b", True): figures[1]}))
    assert [each.severity for each in found] == severities
    assert all(("only the other types" in each.why) is (each.severity is Severity.WARN) for each in found)


@pytest.mark.parametrize(
    ("answer", "severity"),
    [
        (Answer({"BucketRegion": "us-east-1"}), None),
        (Answer({}), None),
        (Answer({"BucketRegion": "eu-west-1"}), Severity.FAIL),
        (Answer({"ResponseMetadata": {"HTTPHeaders": {"x-amz-bucket-region": "eu-west-1"}}}), Severity.FAIL),
        (Answer({}, "301", "answers 301"), Severity.FAIL),
        (Answer({}, "404", "answers 404"), Severity.FAIL),
        (Answer({}, "403", "needs s3:ListBucket"), Severity.UNCHECKED),
        (Answer({}, "", "no connection"), Severity.UNCHECKED),
        (Answer(why="not asked", skipped=True), None),
    ],
)
def test_a_bucket_is_where_the_job_is(answer: Answer, severity: Severity | None) -> None:
    found = list(judge_bucket(answer, "b", ["CheckpointConfig.S3Uri"], "us-east-1"))
    assert [each.severity for each in found] == ([] if severity is None else [severity])


def test_a_refusal_tells_the_region_too() -> None:
    headers = {"ResponseMetadata": {"HTTPHeaders": {"x-amz-bucket-region": "eu-west-1"}}}
    (found,) = judge_bucket(Answer(headers, "301", "answers 301"), "b", ["f"], "us-east-1")
    assert "the bucket is in eu-west-1" in found.why
    assert bucket_region(Answer()) == ""


def finding(severity: Severity, rung: str = "", check: str = "quota") -> PreflightFinding:
    return PreflightFinding(check, severity, "field", "value", "why", rung=rung)


def test_what_keeps_one_rung_of_two_from_running_is_a_warning() -> None:
    assert [each.severity for each in weigh([finding(Severity.FAIL, "a")], ["a", "b"])] == [Severity.WARN]
    both = [finding(Severity.FAIL, "a"), finding(Severity.FAIL, "b", "type")]
    assert [each.severity for each in weigh(both, ["a", "b"])] == [Severity.FAIL] * 2
    mixed = [finding(Severity.UNCHECKED), finding(Severity.FAIL), finding(Severity.FAIL, "a"), finding(Severity.FAIL)]
    assert [each.severity for each in weigh(mixed, ["a", "b"])] == [Severity.FAIL, Severity.WARN, Severity.UNCHECKED]


def test_what_is_still_a_template_is_named_and_not_shown() -> None:
    given = {"RoleArn": "{{ var.value.role }}", "InputDataConfig": [{"S3Uri": "{{ x }}"}, {"S3Uri": "s3://b"}]}
    assert list(unknown_fields(given)) == ["RoleArn", "InputDataConfig[0].S3Uri"]


def test_no_finding_tells_the_secrets_of_an_address() -> None:
    secret = "https://me:hunter2@host/x?X-Amz-Signature=s1gned"
    given_ = {
        "InputDataConfig": [{"DataSource": {"S3DataSource": {"S3Uri": secret}}}],
        "AlgorithmSpecification": {"TrainingImage": secret},
    }
    wanted = read_wanted(given_)
    ask = Asker(lambda *_: None, "us-east-1", call_seconds=1, only_needed=False)
    found = [*not_looked_at(wanted), *check_images(ask, wanted)]
    assert [each.value for each in found] == ["https://***@host/x"] * 2
    assert "hunter2" not in repr(found) and "s1gned" not in repr(found)


@pytest.mark.parametrize(
    ("decision", "severity"),
    [("allowed", None), ("implicitDeny", Severity.WARN), ("explicitDeny", Severity.FAIL)],
)
def test_what_iam_does_not_allow_a_buckets_policy_may(decision: str, severity: Severity | None) -> None:
    place = Place("InputDataConfig[0].DataSource.S3DataSource.S3Uri", "s3://b/data", "data")
    resource = "arn:aws:s3:::b/data/object"
    answer = Answer({"EvaluationResults": [{"EvalResourceName": resource, "EvalDecision": decision}]})
    found = list(judge_rights(answer, "arn:aws:iam::1:role/r", "s3:GetObject", {resource: place}))
    assert [each.severity for each in found] == ([] if severity is None else [severity])
    assert all(("unless the bucket's policy" in each.why) is (severity is Severity.WARN) for each in found)


@given(
    st.dictionaries(
        st.sampled_from(["ResourceConfig", "RoleArn", "OutputDataConfig", "InputDataConfig"]), st.text(max_size=9)
    )
)
@settings(max_examples=20)
def test_a_request_of_anything_names_nothing(given_: Any) -> None:
    wanted = read_wanted(given_)
    assert not wanted.types
    assert not wanted.places
