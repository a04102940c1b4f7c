"""The list of experiments, and the requests of their jobs."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import pytest

from airflow_spot.core.identity import JobName
from airflow_spot.local.api.validation import problems
from airflow_spot.verify import scripts
from airflow_spot.verify.costs import PRICES, ceiling
from airflow_spot.verify.experiment import setups_of
from airflow_spot.verify.images import default_image
from airflow_spot.verify.pace import Length, on_aws
from airflow_spot.verify.scratch import NAME_PREFIX, TAG, Run, Scratch
from airflow_spot.verify.service import Service
from airflow_spot.verify.suite import EXPERIMENTS, chosen

ROOT = Path(__file__).parents[2]
ROLE = "arn:aws:iam::123456789012:role/any"
SCRIPTS = [
    value for name, value in vars(scripts).items() if name.isupper() and not name.startswith(("_", "SECONDS", "TICK"))
]


@cache
def client() -> Any:
    session = boto3.Session(region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
    return session.client("sagemaker")


def scratch(setup: str = "setup") -> Scratch:
    image = default_image("us-east-1")
    assert image is not None
    service = Service(client(), None, "us-east-1", ROLE, "bucket", "ml.m5.large", image, True, on_aws(600))
    return Scratch(service, Run(), setup)


def test_ids_are_unique_and_each_says_what_it_assumes() -> None:
    assert len({each.id for each in EXPERIMENTS}) == len(EXPERIMENTS)
    assert len({setup.id for setup in setups_of(EXPERIMENTS)}) == len({id(each.setup) for each in EXPERIMENTS})
    for each in EXPERIMENTS:
        assert each.assumption.endswith(".") and each.expectations, each.id
        mark, page = each.known.split(" ", 1)
        assert mark in ("[A]", "[T]", "[D]") and (ROOT / page).is_file(), each.known


def test_an_unknown_id_is_refused() -> None:
    assert [each.id for each in chosen(["stop-ended", "name-twice"])] == ["name-twice", "stop-ended"]
    assert chosen([]) == list(EXPERIMENTS)
    with pytest.raises(ValueError, match=r"no experiment nonsense; there are .*name-twice"):
        chosen(["name-twice", "nonsense"])


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("spot", [True, False])
def test_the_requests_are_legal_small_and_bounded(script: str, spot: bool) -> None:
    made = scratch()
    shape = made.service.sagemaker.meta.service_model.operation_model("CreateTrainingJob").input_shape
    for length in Length:
        request: dict[str, Any] = made.request(script, length=length, spot=spot, checkpoints="ck", tags={"a": "é"})
        assert problems(shape, request) == []
        assert request["ResourceConfig"]["InstanceCount"] == 1
        stopping = request["StoppingCondition"]
        assert stopping["MaxRuntimeInSeconds"] <= stopping.get("MaxWaitTimeInSeconds", 3600) <= 3600
        assert {tag["Key"] for tag in request["Tags"]} >= {TAG}


@pytest.mark.parametrize("setup", [setup.id for setup in setups_of(EXPERIMENTS)])
def test_the_names_are_unique_legal_and_no_runs(setup: str) -> None:
    made = scratch(setup)
    names = [made.request()["TrainingJobName"] for _ in range(10)]
    assert len(set(names)) == len(names)
    for name in names:
        assert name.startswith(NAME_PREFIX) and len(name) <= 63
        assert JobName.parse(name) is None  # `orphans` and `history` leave them alone


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_scripts_are_python_of_any_container(script: str) -> None:
    ast.parse(script, feature_version=(3, 7))
    pieces = scripts.command(script)["ContainerArguments"]
    assert len(pieces) <= 100 and max(map(len, pieces)) <= 256


def test_a_script_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="too long"):
        scripts.command("x" * 20_000)


def test_the_page_names_every_experiment_and_what_it_assumes() -> None:
    page = (ROOT / "docs" / "verify-aws.md").read_text().replace("`", "")
    rows = [line for line in page.split("## The experiments")[1].splitlines() if line.startswith("| ")][2:]
    assert rows == [
        f"| {each.id} | {each.title} | {each.assumption} | {each.known.split()[0]} |" for each in EXPERIMENTS
    ]


def test_the_page_says_what_it_costs_and_that_nothing_is_proved() -> None:
    page = (ROOT / "docs" / "verify-aws.md").read_text()
    setups = setups_of(EXPERIMENTS)
    most = sum(ceiling(setup, PRICES["ml.m5.large"], on_aws(600)) for setup in setups)
    assert f"{most:.2f} USD by {PRICES['ml.m5.large']} USD an hour" in " ".join(page.split())
    assert f"some {sum(len(setup.jobs) for setup in setups)}, of one" in page
    assert "No report from AWS exists yet: nothing on this page is proved." in page
