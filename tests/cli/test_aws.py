"""The region of the commands: where it comes from, and what they say where there is none."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from airflow_spot.cli.aws import add_session_arguments, brief_clients, client, region_of, session
from airflow_spot.cli.main import main
from tests.cli.test_without_packages import ARGUMENTS, AWS


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No region is named; return the file of profiles."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    return tmp_path / "config"


def given(*options: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_session_arguments(parser)
    return parser.parse_args(options)


@pytest.mark.parametrize(
    ("options", "named", "region"),
    [
        (("--region", "eu-west-1"), ("AWS_REGION", "AWS_DEFAULT_REGION", "profile"), "eu-west-1"),
        ((), ("AWS_REGION", "AWS_DEFAULT_REGION", "profile"), "eu-west-2"),
        ((), ("AWS_REGION",), "eu-west-2"),
        ((), ("AWS_DEFAULT_REGION", "profile"), "eu-west-3"),
        ((), ("profile",), "eu-north-1"),
    ],
    ids=range(5),
)
def test_the_region_is_looked_for_in_order(
    options: tuple[str, ...], named: tuple[str, ...], region: str, nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "profile" in named:
        nowhere.write_text("[default]\nregion = eu-north-1\n")
    for name, value in (("AWS_REGION", "eu-west-2"), ("AWS_DEFAULT_REGION", "eu-west-3")):
        if name in named:
            monkeypatch.setenv(name, value)
    args = given(*options)
    assert region_of(session(args)) == region
    assert client(args, "sagemaker").meta.region_name == brief_clients(args)[1] == region


# checkpoints may ask S3 alone
@pytest.mark.parametrize("command", ["advise", "history", "stop", "orphans", "check", "gc", "verify-aws"])
def test_every_command_that_needs_a_region_names_the_option(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "dag.py").write_text("")
    assert AWS[0] == "--region"
    arguments = [each.format(folder=tmp_path) for each in ARGUMENTS[command] if each not in AWS[:2]]
    more = ["--namespace", "ns"] if command in ("history", "stop", "orphans") else []
    more += ["--bucket", "bucket", "--role", "arn:aws:iam::123456789012:role/r"] if command == "verify-aws" else []
    assert main([command, *arguments, *more]) == 2
    assert f"airflow-spot {command}: --region: name the region, such as " in capsys.readouterr().err


def test_s3_alone_is_asked_without_a_region() -> None:
    assert client(given(), "s3").meta.service_model.service_name == "s3"
