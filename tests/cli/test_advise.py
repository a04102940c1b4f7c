"""``airflow-spot advise``: with any of its sources missing, it says what is left, and what would tell the rest."""

from __future__ import annotations

import argparse
import itertools
import json
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from airflow_spot.cli import advise
from airflow_spot.cli.main import main
from airflow_spot.core.ladder import read_ladder
from tests.core.cases import description
from tests.market.fakes import ADVISOR, NOW, REGION, SOURCES, TYPES, FakeAws

G5, G6, P4 = TYPES
Run = Callable[..., tuple[int, str]]


@pytest.fixture
def advisor(tmp_path: Path) -> str:
    file = tmp_path / "advisor.json"
    file.write_text(json.dumps(ADVISOR))
    return str(file)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "airflow-spot"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command on a stand-in of AWS, in the region of the tests."""

    def go(aws: Any, *arguments: str) -> tuple[int, str]:
        parser = argparse.ArgumentParser()
        advise.add_parser(parser.add_subparsers())
        args = parser.parse_args(["advise", "--types", ",".join(TYPES), "--hours", "6", *arguments])
        types = advise.read_types(args.types)
        work = advise.read_work(args, types)
        code = advise.advise_with(args, types, work, REGION, aws, lambda: NOW)
        return code, capsys.readouterr().out

    return go


def test_everything_that_is_known_fits_a_terminal(run: Run, advisor: str) -> None:
    aws = FakeAws(used={f"{G5} for spot training job usage": 1.0})
    code, text = run(aws, "--advisor", advisor)
    assert code == 0
    assert max(len(line) for line in text.splitlines() if "https:" not in line) <= 120
    row = next(line for line in text.splitlines() if line.startswith(f"{G5} "))
    assert re.split(r"\s{2,}", row) == [
        G5, "10.14 USD", "4.06-7.57 USD", "6.0 h", "5-10 %", "3", "1 of 2 left", "4",
    ]  # fmt: skip
    assert f"{G5}: discount 26-60 % (EC2's spot discount of 90 days)" in text
    assert re.search(r"eu-west-1a +ml.g5.2xlarge +60 % +52-60 % +40-60 %\n", text)
    assert "These are EC2's prices. SageMaker does not publish what it bills on spot." in text
    assert "not known" not in text
    assert 'ladder=[\n    "ml.g5.2xlarge",\n    "ml.g6.2xlarge",\n    {"on_demand": ["ml.g6.2xlarge", ' in text
    assert (
        f"left out: {P4} spot: the quota '{P4} for spot training job usage' (L-26) is 0, and the job needs 1"
        in " ".join(text.split())
    )


def test_the_page_quotes_the_command(run: Run, advisor: str) -> None:
    page = (Path(__file__).parents[2] / "docs" / "advise.md").read_text()
    quoted = page.split("```text\n")[1].split("```")[0].splitlines()
    told = run(FakeAws(used={f"{G5} for spot training job usage": 1.0}), "--advisor", advisor)[1].splitlines()
    assert len(quoted) > 20
    assert [line for line in quoted if line not in told] == []


def test_on_demand_cost_is_the_hours_at_sagemakers_price(run: Run) -> None:
    for row in json.loads(run(FakeAws(), "--json", "--count", "2")[1])["types"]:
        kind = row["instance_type"]
        assert float(row["on_demand_cost"]["amount"]) == pytest.approx(6 * 2 * float(TYPES[kind][0]))
        assert row["on_demand_price"]["value"]["amount"] == f"{float(TYPES[kind][0]):.4f}"


#: What is missing where a source is; the advisor's file is the fifth.
MISSING = {
    SOURCES[0]: "on-demand prices: needs pricing:GetProducts",
    SOURCES[1]: "EC2's spot prices: needs ec2:DescribeSpotPriceHistory",
    SOURCES[2]: "placement scores: needs ec2:GetSpotPlacementScores",
    SOURCES[3]: "quotas: needs servicequotas:ListServiceQuotas",
    "advisor": "interruption bands: name the Spot Instance Advisor's JSON, a file or an address",
}
SUBSETS = [chosen for n in range(6) for chosen in itertools.combinations(MISSING, n)]


@pytest.mark.parametrize("denied", SUBSETS, ids=lambda chosen: "+".join(chosen) or "none")
def test_any_subset_of_sources_but_all_gives_a_ladder_and_what_is_missing_once(
    run: Run, advisor: str, denied: tuple[str, ...]
) -> None:
    given = () if "advisor" in denied else ("--advisor", advisor)
    code, text = run(FakeAws(denied), *given)
    assert code == 0
    for source, line in MISSING.items():
        assert text.count(line) == (1 if source in denied else 0), source
    assert ("not known:" in text) == bool(denied)
    code, made = run(FakeAws(denied), *given, "--json", "--fresh")
    facts = json.loads(made)
    assert code == 0
    assert facts["known"] is (len(denied) < len(MISSING))
    assert ("no ladder: nothing is known" in text) is not facts["known"]
    assert set(facts["not_read"]) == set(denied) - {"advisor"}
    if not facts["known"]:
        assert facts["ladder"] == [] == facts["order"]
        return
    rungs = read_ladder(json.dumps(facts["ladder"]))
    assert not rungs[-1].on_spot and {rung.instance_type for rung in rungs} >= {G5, G6}
    assert (P4 in {rung.instance_type for rung in rungs}) == (SOURCES[3] in denied)


def test_nothing_is_asked_again_within_the_hour_and_anew_with_fresh(run: Run, cache: Path) -> None:
    aws = FakeAws()
    first = run(aws)
    calls = len(aws.calls)
    assert run(aws) == first and len(aws.calls) == calls
    kept = sorted(cache.iterdir())
    run(aws, "--fresh")
    assert len(aws.calls) == 2 * calls
    assert sorted(cache.iterdir()) == kept


def test_how_old_figures_are_is_told(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    aws = FakeAws()
    run(aws)
    parser = argparse.ArgumentParser()
    advise.add_parser(parser.add_subparsers())
    args = parser.parse_args(["advise", "--types", G5, "--hours", "6"])
    advise.advise_with(args, [G5], advise.read_work(args, [G5]), REGION, aws, lambda: NOW + timedelta(minutes=50))
    assert "read a while ago: pricing:GetProducts 50 min" in capsys.readouterr().out


def test_the_users_prices_go_before_awss(run: Run, tmp_path: Path) -> None:
    prices = tmp_path / "prices.json"
    prices.write_text(json.dumps({"currency": "USD", "hourly": {G5: "9.00"}}))
    facts = json.loads(run(FakeAws(), "--prices", str(prices), "--json")[1])
    assert facts["types"][0]["on_demand_cost"]["amount"] == "54.0000"
    assert facts["ladder"][0] == G6


class WithJobs(FakeAws):
    """An account that has had a job on ``ml.g5.xlarge``."""

    def list_training_jobs(self, **given: Any) -> Any:
        self._ask("sagemaker:ListTrainingJobs", given)
        job = description()
        line = {name: job[name] for name in ("TrainingJobName", "TrainingJobArn", "TrainingJobStatus")}
        return {"TrainingJobSummaries": [{**line, "CreationTime": NOW - timedelta(days=1)}]}

    def describe_training_job(self, **given: Any) -> Any:
        self._ask("sagemaker:DescribeTrainingJob", given)
        return {
            **description(),
            "EnableManagedSpotTraining": True,
            "ResourceConfig": {"InstanceType": G5, "InstanceCount": 1},
            "TrainingTimeInSeconds": 36000,
            "BillableTimeInSeconds": 12000,
            "CreationTime": NOW - timedelta(days=1),
        }


def test_the_accounts_own_jobs_go_before_what_aws_says_of_all(run: Run, advisor: str) -> None:
    text = run(WithJobs(), "--history", "--advisor", advisor)[1]
    assert f"{G5}: discount 67 % (what SageMaker billed this account)" in text
    assert "here: 0 interruptions in 10 h" in text
    assert "hunter2" not in text
    assert f"{G6}: discount" in text and "here 0 in 10 h" in text


@pytest.mark.parametrize("denied", ["sagemaker:ListTrainingJobs", "sagemaker:DescribeTrainingJob"])
def test_own_jobs_that_may_not_be_read_are_named(run: Run, denied: str) -> None:
    code, text = run(WithJobs([denied]), "--history")
    assert code == 0
    assert text.count(f"this account's own jobs: needs {denied}") == 1


def test_the_plot_is_an_svg_with_a_line_for_each_zone(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "discount.svg"
    assert run(FakeAws(), "--plot", str(file))[0] == 0
    root = ElementTree.fromstring(file.read_text())
    titles = [each.text for each in root.iter("{http://www.w3.org/2000/svg}title")]
    assert titles == [f"{kind} {REGION}{zone}" for kind in TYPES for zone in "ab"]


def test_a_plot_of_nothing_is_none_and_the_rest_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    advise.add_parser(parser.add_subparsers())
    file = tmp_path / "discount.svg"
    args = parser.parse_args(["advise", "--types", G5, "--hours", "6", "--plot", str(file)])
    assert advise.advise_with(args, [G5], advise.read_work(args, [G5]), REGION, FakeAws(SOURCES), lambda: NOW) == 0
    told = capsys.readouterr()
    assert "no ladder" in told.out and "nothing to draw" in told.err and not file.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--types", "g5.xlarge", "--hours", "6"), "--types g5.xlarge: SageMaker's types begin with ml."),
        (("--types", ",", "--hours", "6"), "--types: name one to 10 types"),
        (("--types", G5, "--hours", "0"), "--hours 0: give hours, more than 0"),
        (("--types", G5, "--hours", "nan"), "--hours nan: give hours, more than 0"),
        (("--types", G5, "--hours", "6", "--count", "0"), "--count 0: give 1 to 1000 instances"),
        (("--types", G5, "--hours", "6", "--checkpoint-minutes", "-1"), "--checkpoint-minutes -1: give minutes"),
        (("--types", G5, "--hours", "6", "--hours-on", G5), f"--hours-on {G5}: give TYPE=H"),
        (("--types", G5, "--hours", "6", "--hours-on", f"{G5}=-1"), f"--hours-on {G5} -1: give hours"),
        (("--types", G5, "--hours", "6", "--hours-on", f"{G6}=1"), f"{G6} is not one of --types"),
        (("--types", G5, "--hours", "6", "--profile", "no-such", "--region", "x"), "no-such"),
        (("--types", G5, "--hours", "6", "--region", REGION, "--prices", "/no/such"), "/no/such"),
        (("--types", G5, "--hours", "6", "--region", REGION, "--since", "x", "--history"), "--since"),
    ],
    ids=range(12),
)
def test_a_wrong_argument_is_named_and_the_exit_code_is_2(
    arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(advise, "_MOST_JOBS", 0)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert main(["advise", *arguments]) == 2
    told = capsys.readouterr().err
    assert told.startswith("airflow-spot advise: ") and said in told


def test_without_a_region_it_asks_for_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    assert main(["advise", "--types", G5, "--hours", "6"]) == 2
    assert "--region: name the region" in capsys.readouterr().err


def test_without_a_network_it_says_so_and_ends_well(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    assert (
        main(["advise", "--types", G5, "--hours", "6", "--region", REGION, "--endpoint-url", "http://127.0.0.1:9"]) == 0
    )
    text = capsys.readouterr().out
    assert "no ladder: nothing is known" in text and "ladder=[" not in text
    assert "  on-demand prices, EC2's spot prices, placement scores, quotas: no connection\n" in text
    assert text.count("no connection") == 1


def without_quota(monkeypatch: pytest.MonkeyPatch, on_demand: float) -> None:
    for kind, facts in list(TYPES.items()):
        monkeypatch.setitem(TYPES, kind, (*facts[:4], 0.0, on_demand))


@pytest.mark.parametrize("on_demand", [0.0, 4.0])
def test_where_every_spot_quota_is_0_it_says_which_to_ask_for(
    run: Run, monkeypatch: pytest.MonkeyPatch, on_demand: float
) -> None:
    without_quota(monkeypatch, on_demand)
    text = run(FakeAws(), "--count", "2")[1]
    assert ("no ladder: no quota of these types allows the job\n" in text) == (on_demand == 0)
    assert ('    {"on_demand": [' in text) == (on_demand > 0)
    below = text.split("\nonce the quota is there, on spot in this order:\n\n")[1]
    order, asked = below.split("\n\nrequest an increase")
    assert re.findall(r"^\d\. (\S+) spot: about \d", order, re.MULTILINE) == [G5, G6, P4]
    line = re.compile(r"^(\S+) for spot training job usage \((\S+)\): 2 or more, it is 0\.\s+(\S+)", re.MULTILINE)
    console = f"https://{REGION}.console.aws.amazon.com/servicequotas/home/services/sagemaker/quotas"
    codes = {G5: "L-00", G6: "L-13", P4: "L-26"}
    assert line.findall(asked) == [(kind, code, f"{console}/{code}") for kind, code in codes.items()]
    assert "next: `airflow-spot check FILE`" in asked and "left out" not in text
    facts = json.loads(run(FakeAws(), "--count", "2", "--json")[1])
    assert [(each["instance_type"], each["code"]) for each in facts["requests"]] == list(codes.items())
    assert {each["at_least"] for each in facts["requests"]} == {2}


def test_where_a_type_may_be_tried_no_quota_is_asked_for(run: Run) -> None:
    assert "once the quota is there" not in run(FakeAws())[1]
    assert json.loads(run(FakeAws(), "--json")[1])["requests"] == []
