"""`airflow-spot iam`: policies as JSON, one or all, and the table behind them."""

from __future__ import annotations

import json

import pytest

from airflow_spot.cli.main import main
from airflow_spot.core.iam.permissions import DEFAULT_FEATURES, FEATURES, NEEDS, Who
from airflow_spot.core.iam.policy_documents import Names, policy
from airflow_spot.preflight.role import SERVICE, trusts


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["iam", *arguments]) == 0
    return capsys.readouterr().out


def test_by_itself_it_prints_the_policies_of_an_ordinary_task(capsys: pytest.CaptureFixture[str]) -> None:
    assert json.loads(told(capsys)) == {
        who.value: policy(who, DEFAULT_FEATURES, Names()) for who in (Who.WORKER, Who.TRIGGERER, Who.TRAINING)
    }


def test_one_policy_is_what_iam_takes(capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--features", "events", "--account", "123456789012", "--region", "eu-west-1", "--who", "triggerer")
    document = json.loads(told(capsys, *options))
    assert set(document) == {"Version", "Statement"}
    assert "arn:aws:sqs:eu-west-1:123456789012:QUEUE" in [
        arn for statement in document["Statement"] for arn in statement["Resource"]
    ]


def test_every_name_comes_into_the_policies(capsys: pytest.CaptureFixture[str]) -> None:
    names = {
        "--account": "123456789012",
        "--region": "eu-west-1",
        "--role-arn": "arn:aws:iam::123456789012:role/t",
        "--output": "s3://out/o",
        "--data": "s3://data-1/d",
        "--checkpoints": "s3://ckpt/c",
        "--code": "s3://code/c",
        "--model": "s3://models/m",
        "--namespace": "prod",
        "--queue-arn": "arn:aws:sqs:eu-west-1:123456789012:q",
        "--repository-arn": "arn:aws:ecr:eu-west-1:123456789012:repository/r",
        "--key-arn": "arn:aws:kms:eu-west-1:123456789012:key/k",
    }
    printed = told(capsys, "--features", "all", *(word for pair in names.items() for word in pair))
    for value in names.values():
        assert value.removeprefix("s3://") in printed, value
    for placeholder in ("ACCOUNT", "REGION", "BUCKET", "QUEUE", "REPOSITORY", "KEY"):
        assert placeholder not in printed
    assert "data-2" in told(capsys, "--data", "s3://data-1", "--data", "s3://data-2/x")


def test_the_table_says_what_is_lost_without(capsys: pytest.CaptureFixture[str]) -> None:
    rows = json.loads(told(capsys, "--explain", "--json", "--features", "all"))
    assert len(rows) == sum(len(need.who) for need in NEEDS)
    assert all(row["required"] is (row["without"] is None) for row in rows)
    text = told(capsys, "--explain", "--features", "all")
    assert all(f" {feature} " in text for feature in FEATURES)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--features", "core,log"), "--features is 'log': choose from core, "),
        (("--output", "bucket"), "--output is 'bucket': must be an S3 URI"),
        (("--output", "s3://b/o"), "--output is 's3://b/o': the bucket's name 'b' is too short"),
        (("--role-arn", "training"), "--role-arn is 'training': give its ARN, such as arn:aws:iam::"),
        (("--who", "worker,boss"), "--who is 'boss': choose from worker, triggerer, "),
        (("--who", ","), "--who is ',': choose from worker, triggerer, "),
        (("--trust", "--who", "worker"), "--trust is True: cannot be combined with --who"),
        (("--trust", "--explain"), "cannot be combined with --who or --explain"),
    ],
)
def test_a_wrong_option_is_exit_code_2(options: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["iam", *options]) == 2
    assert said in capsys.readouterr().err


def test_one_role_for_several_has_one_policy(capsys: pytest.CaptureFixture[str]) -> None:
    both = json.loads(told(capsys, "--who", "triggerer, worker", "--features", "events"))
    assert both == policy([Who.WORKER, Who.TRIGGERER], ("core", "events"), Names())
    rows = json.loads(told(capsys, "--who", "worker,triggerer", "--explain", "--json"))
    assert {row["who"] for row in rows} == {"worker", "triggerer"}


@pytest.mark.parametrize("options", [("--trust",), ("--trust", "--who", "training")])
def test_the_trust_policy_is_what_check_looks_for(options: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert trusts(json.loads(told(capsys, *options)), SERVICE)


def test_the_features_say_what_a_task_needs_them_for() -> None:
    assert "max_cost" in FEATURES["market"] and 'preflight="fail"' in FEATURES["market"]
    assert 'preflight="fail"' in FEATURES["preflight"] and "market" in FEATURES["preflight"]
