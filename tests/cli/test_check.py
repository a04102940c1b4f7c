"""`airflow-spot check`: DAG files and configs, what is printed, exit codes."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import given as given_values
from hypothesis import strategies as st

from airflow_spot.aws.shapes import input_shape
from airflow_spot.cli import check
from airflow_spot.cli.aws import WIDTH
from airflow_spot.cli.check_target import Target, of_config, of_dag_file, requests_of
from airflow_spot.cli.main import main
from airflow_spot.core.identity import RunIdentity
from airflow_spot.core.money.figures import Figure
from airflow_spot.core.money.market_values import QuotaFigure
from airflow_spot.core.money.prices import Money
from airflow_spot.core.parameters import PARAMETERS
from airflow_spot.core.plan import Plan
from airflow_spot.core.request_schema import Shape
from airflow_spot.local import LocalSageMaker
from airflow_spot.preflight.asking import Answer
from airflow_spot.preflight.capacity import judge_quotas
from airflow_spot.preflight.costs import costs
from airflow_spot.preflight.findings import PreflightFinding, Severity, weigh
from airflow_spot.preflight.images import judge_image
from airflow_spot.preflight.role import judge_role
from airflow_spot.preflight.running import PreflightReport, inspect
from airflow_spot.preflight.wanted import read_image, read_wanted
from tests.support.requests import SCRIPTS, stock_config

FIELDS = [
    "AlgorithmSpecification",
    "TrainingImage",
    "RoleArn",
    "InputDataConfig",
    "DataSource",
    "S3DataSource",
    "S3Uri",
    "OutputDataConfig",
    "S3OutputPath",
    "ResourceConfig",
    "InstanceType",
    "InstanceCount",
    "InstanceGroups",
    "InstancePreferences",
    "StoppingCondition",
    "MaxRuntimeInSeconds",
    "CheckpointConfig",
    "EnableManagedSpotTraining",
    "HyperParameters",
]
RUN = RunIdentity("check", "d", "check", "t", -1)
DAG = """
import json
from airflow.sdk import DAG
from airflow.providers.amazon.aws.operators.sagemaker import SageMakerTrainingOperator
from airflow_spot.operators.training import SageMakerSpotTrainingOperator

print("a DAG file may print")
config = json.loads('''{config}''')
with DAG("digits", schedule=None):
    SageMakerTrainingOperator(task_id="stock", config=config)
    SageMakerSpotTrainingOperator(task_id="train", config=config, {more})
"""


@pytest.fixture(scope="module")
def session() -> Any:
    """One for all: each reads botocore's models anew."""
    return boto3.Session(aws_access_key_id="local", aws_secret_access_key="local", region_name="us-east-1")


@pytest.fixture(scope="module")
def shape(session: Any) -> Shape:
    return input_shape(session.client("sagemaker", region_name="us-east-1"), "CreateTrainingJob")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, session: Any) -> Callable[..., int]:
    monkeypatch.setattr(check, "session", lambda args: session)
    return lambda *arguments: main(["check", *map(str, arguments)])


def written(folder: Path, config: Any, name: str = "config.json") -> Path:
    path = folder / name
    path.write_text(config if isinstance(config, str) else json.dumps(config))
    return path


def given(config: dict[str, Any], **parameters: Any) -> Any:
    return SimpleNamespace(**{**dict.fromkeys(PARAMETERS), "config": config, **parameters})


def test_a_dag_file_is_looked_at_task_by_task(
    local: LocalSageMaker, bucket: str, tmp_path: Path, run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    config = stock_config(bucket)
    config["OutputDataConfig"]["S3OutputPath"] = f"s3://no-such-{bucket}/out"
    more = f'entry_point="steps.py", source_dir={str(SCRIPTS)!r}, ladder=["ml.p3.2xlarge"]'
    path = written(tmp_path, DAG.format(config=json.dumps(config), more=more), "dag.py")
    assert run(path, "--endpoint-url", local.endpoint_url, "--max-cost", "50", "--json", "--timeout", "100") == 1
    told = json.loads(capsys.readouterr().out)
    assert told["v"] == 1
    stock, ours = told["tasks"]
    assert (stock["task"], ours["task"]) == ("DAG digits, task stock", "DAG digits, task train")
    kinds = [(each["check"], each["severity"]) for each in ours["findings"]]
    assert ("bucket", "fail") in kinds and ("quota", "fail") in kinds
    (quota,) = (each for each in ours["findings"] if each["check"] == "quota" and each["severity"] == "fail")
    assert quota["fix"] == "request 1 or more" and quota["link"].startswith("https://")
    (cost,) = stock["at_most"]
    # Two minutes of one ml.m5.xlarge.
    assert cost["max_run_seconds"] == 120 and 0 < float(cost["at_most"]["amount"]) < 0.05
    assert run(path, "--task", "train", "--endpoint-url", local.endpoint_url, "--timeout", "100") == 1
    text = capsys.readouterr().out
    assert text.startswith("DAG digits, task train\n  FAIL         ")
    assert "a DAG file may print" not in text
    assert "  one attempt costs at most:\n    ml.p3.2xlarge spot: " in text


def test_a_tasks_own_max_cost_counts_where_the_command_names_none(
    local: LocalSageMaker, bucket: str, tmp_path: Path, run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, DAG.format(config=json.dumps(stock_config(bucket)), more="max_cost='0.001'"), "dag.py")

    def costs(*options: str) -> list[str]:
        run(path, "--task", "train", "--endpoint-url", local.endpoint_url, "--json", "--timeout", "100", *options)
        (told,) = json.loads(capsys.readouterr().out)["tasks"]
        return [each["severity"] for each in told["findings"] if each["check"] == "cost"]

    assert costs() == ["fail"]
    assert costs("--max-cost", "50") == []
    # A permission that is missing is no fault of the task's.
    local.set_faults("pricing:GetProducts=denied")
    try:
        assert costs() == ["unchecked"]
        assert costs("--max-cost", "50") == ["fail"]
    finally:
        local.set_faults("")


def test_the_timeout_is_of_all_tasks_together(
    tmp_path: Path, run: Callable[..., int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ends: list[float] = []

    def inspected(*_: Any, end: float, **__: Any) -> PreflightReport:
        ends.append(end)
        return PreflightReport(())

    monkeypatch.setattr("airflow_spot.preflight.running.inspect", inspected)
    path = written(tmp_path, DAG.format(config=json.dumps(stock_config("bucket")), more=""), "dag.py")
    before = time.monotonic()
    run(path, "--timeout", "100")
    assert len(ends) == 2 and len(set(ends)) == 1
    assert before + 100 <= ends[0] <= time.monotonic() + 100
    capsys.readouterr()


def test_after_the_end_nothing_is_asked(shape: Shape) -> None:
    requests, _ = requests_of(given(stock_config("bucket")), shape, RUN)
    assert requests is not None
    asked: list[Any] = []
    report = inspect(requests, lambda *each: asked.append(each), region="us-east-1", budget_seconds=9, end=0.0)
    assert not asked
    assert {each.severity for each in report.findings} == {Severity.UNCHECKED}
    assert {"credentials", "role", "bucket", "quota"} <= {each.check for each in report.findings}
    assert all(each.why == "no answer within 9 s" for each in report.findings)


@pytest.mark.parametrize(
    ("severities", "options", "code"),
    [
        ([], (), 0),
        (["warn", "unchecked"], (), 0),
        (["unchecked"], ("--strict",), 0),
        (["warn"], ("--strict",), 1),
        (["fail"], (), 1),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, (list, tuple)) else None,
)
def test_exit_codes(
    severities: list[str],
    options: tuple[str, ...],
    code: int,
    tmp_path: Path,
    run: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = tuple(PreflightFinding("role", Severity(each), "RoleArn", "r", "why", "mend it") for each in severities)
    monkeypatch.setattr("airflow_spot.preflight.running.inspect", lambda *_, **__: PreflightReport(found))
    monkeypatch.setattr(check, "_Answers", lambda _: SimpleNamespace(count=1))
    assert run(written(tmp_path, stock_config("bucket")), *options) == code
    text = capsys.readouterr().out
    assert ("nothing was found that would fail" in text) is (not {"fail", "warn"} & set(severities))
    assert text.count("mend it") == len(severities)


REFUSED = PreflightFinding("credentials", Severity.FAIL, "credentials", "ExpiredToken", "not accepted", "mend it")
UNREACHED = PreflightFinding("credentials", Severity.UNCHECKED, "credentials", "", "no connection")
DENIED = PreflightFinding("role", Severity.UNCHECKED, "RoleArn", "r", "needs iam:GetRole")
LINTED = PreflightFinding("script", Severity.WARN, "entry_point", "train.py", "a fault")
WRONG = PreflightFinding("request", Severity.FAIL, "max_wait", "1", "too short")


@pytest.mark.parametrize(
    ("found", "options", "code", "said"),
    [
        ((), (), 0, "  nothing was found that would fail"),
        ((REFUSED,), (), 2, "  nothing could be checked: not accepted"),
        ((REFUSED,), ("--strict",), 2, "  nothing could be checked: not accepted"),
        ((UNREACHED, DENIED), (), 2, "  nothing could be checked: no connection"),
        ((DENIED, DENIED), (), 2, "  nothing could be checked: needs iam:GetRole"),
        ((LINTED, UNREACHED), (), 2, "  nothing else could be checked: no connection"),
        ((LINTED, UNREACHED), ("--strict",), 1, "  nothing else could be checked: no connection"),
        ((WRONG, REFUSED), (), 1, "  nothing else could be checked: not accepted"),
    ],
    ids=range(8),
)
def test_where_aws_answers_nothing_nothing_is_well(
    found: tuple[PreflightFinding, ...],
    options: tuple[str, ...],
    code: int,
    said: str,
    tmp_path: Path,
    run: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("airflow_spot.preflight.running.inspect", lambda *_, **__: PreflightReport(found))
    path = written(tmp_path, stock_config("bucket"))
    assert run(path, *options) == code
    lines = capsys.readouterr().out.splitlines()
    assert said in lines and sum(line.startswith("  nothing") for line in lines) == 1
    assert run(path, *options, "--json") == code
    assert json.loads(capsys.readouterr().out)["checked"] is not bool(found)


def test_without_a_connection_it_is_not_green(
    tmp_path: Path, run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, stock_config("bucket"))
    assert run(path, "--endpoint-url", "http://127.0.0.1:9", "--timeout", "20") == 2
    assert "  nothing could be checked: no connection" in capsys.readouterr().out.splitlines()


def test_a_task_whose_config_is_not_known_yet_was_not_checked(
    local: LocalSageMaker, bucket: str, tmp_path: Path, run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    text = DAG.format(config=json.dumps(stock_config(bucket)), more="").replace(
        'task_id="stock", config=config', 'task_id="stock", config="{{ var.json.config }}"'
    )
    path = written(tmp_path, text, "dag.py")
    at = ("--endpoint-url", local.endpoint_url, "--timeout", "100")
    assert run(path, "--task", "stock", *at) == 2
    assert "nothing could be checked: it is known only when the task runs" in capsys.readouterr().out
    # Of a file with others they count.
    assert run(path, *at) in (0, 1)
    assert "nothing could be checked: it is known only when the task runs" in capsys.readouterr().out


def test_long_lines_are_folded_but_for_addresses() -> None:
    link = "https://us-east-1.console.aws.amazon.com/servicequotas/home/services/sagemaker/quotas/" + "L" * 60
    why = "the quota 'ml.g4dn.xlarge for spot training job usage' is 0: the job is refused, however long it waits"
    found = PreflightFinding("quota", Severity.FAIL, "ResourceConfig.InstanceCount", "1", why, "request 1 or more")
    lines = check._lines(Target("t", {}), PreflightReport((replace(found, link=link),)))
    assert max(len(line) for line in lines if link not in line) <= WIDTH
    assert [line.strip() for line in lines if link in line] == [link]
    assert (
        " ".join(" ".join(lines).split()) == f"t FAIL ResourceConfig.InstanceCount 1: {why} request 1 or more. {link}"
    )


@pytest.mark.parametrize(
    ("name", "text", "options", "said"),
    [
        ("absent.json", None, (), "there is no such file"),
        ("config.json", "{", (), "is not JSON"),
        ("config.json", "[]", (), "holds no JSON object"),
        ("config.json", "{}", ("--task", "t"), "--task and --dag are for a DAG file"),
        ("config.json", "{}", ("--max-cost", "much"), "--max-cost much: give an amount of money, as 50 or 12.50"),
        ("dag.py", "import no_such_module_here", (), "cannot be imported: ModuleNotFoundError"),
        ("dag.py", "x = 1", (), "no task trains in SageMaker"),
        ("dag.py", "x = 1", ("--task", "t"), "no task 't'; there are no DAGs"),
    ],
)
def test_what_cannot_be_read_is_exit_code_2(
    name: str,
    text: str | None,
    options: tuple[str, ...],
    said: str,
    tmp_path: Path,
    run: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / name if text is None else written(tmp_path, text, name)
    assert run(path, *options) == 2
    out = capsys.readouterr()
    assert out.out == "" and out.err.startswith("airflow-spot check: ") and said in out.err


def test_what_an_operator_refuses_is_a_finding(
    tmp_path: Path, run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    text = DAG.format(config=json.dumps(stock_config("bucket")), more='max_run="6h", max_wait="1h"')
    assert run(written(tmp_path, text, "dag.py"), "--endpoint-url", "http://127.0.0.1:9", "--timeout", "20") == 1
    out = capsys.readouterr().out
    assert "FAIL         StoppingCondition.MaxWaitTimeInSeconds 3600: " in out
    out = " ".join(out.split())
    assert "it is at least max_run (21600 s): raise it or lower max_run" in out


def test_what_is_known_only_at_run_time_is_not_checked_and_the_rest_is(shape: Shape) -> None:
    config = stock_config("bucket", password="hunter2secret")
    config["RoleArn"] = "{{ var.value.role }}"
    config["ResourceConfig"]["InstanceCount"] = "{{ params.count }}"
    config["StoppingCondition"]["MaxWaitTimeInSeconds"] = 60
    requests, found = requests_of(given(config), shape, RUN)
    assert not found
    assert isinstance(requests, tuple)
    (request,) = requests
    assert request["CheckpointConfig"]["S3Uri"] == "s3://bucket/output/checkpoints"
    report = inspect(requests, no_clients, region="us-east-1", max_cost=Decimal(1000))
    told = {(each.field, each.severity.value) for each in report.findings}
    assert ("RoleArn", "unchecked") in told and ("ResourceConfig.InstanceCount", "unchecked") in told
    # What is wrong beside is found; and nobody calculates with one instance where the number is not known.
    assert ("StoppingCondition.MaxWaitTimeInSeconds", "fail") in told
    assert [(each.at_most, each.why) for each in report.costs] == [(None, "its instances are not known here")]
    assert "hunter2secret" not in str(report)


def test_a_count_that_is_a_template_is_no_rungs_count(shape: Shape) -> None:
    config = stock_config("bucket")
    config["ResourceConfig"]["InstanceCount"] = "{{ params.count }}"
    requests, found = requests_of(given(config, ladder=["ml.g5.xlarge", "ml.g5.2xlarge"]), shape, RUN)
    assert isinstance(requests, tuple) and len(requests) == 2 and not found
    assert [each["ResourceConfig"]["InstanceCount"] for each in requests] == ["{{ params.count }}"] * 2


def test_a_ladder_beside_templates_is_read_rung_by_rung(shape: Shape) -> None:
    config = {**stock_config("bucket"), "RoleArn": "{{ var.value.role }}"}
    requests, _ = requests_of(given(config, ladder=["ml.g5.xlarge", {"on_demand": ["ml.m5.large"]}]), shape, RUN)
    assert isinstance(requests, tuple)
    assert [each["EnableManagedSpotTraining"] for each in requests] == [True, False]
    assert [each["ResourceConfig"].get("InstanceType") for each in requests] == ["ml.g5.xlarge", "ml.m5.large"]


def test_secrets_that_are_templates_do_not_matter(shape: Shape) -> None:
    config = stock_config("bucket", password="{{ conn.x.password }}")
    requests, found = requests_of(given(config), shape, RUN)
    assert isinstance(requests, Plan) and not found


@pytest.mark.parametrize("ladder", [["m5.large"], "no JSON", [{"instance_type": "ml.m5.large", "size": 3}]])
def test_a_wrong_ladder_is_a_finding(shape: Shape, ladder: Any) -> None:
    requests, found = requests_of(given(stock_config("bucket"), ladder=ladder), shape, RUN)
    assert [each.check for each in found] == ["request"] and found[0].field.startswith("ladder")
    assert requests


def test_a_script_beside_a_config_is_at_hand_only_where_it_is_said_where(tmp_path: Path, shape: Shape) -> None:
    config = stock_config("bucket", sagemaker_program="steps.py", sagemaker_submit_directory="s3://b/code.tar.gz")
    path = written(tmp_path, config)
    without = of_config(path, shape)
    assert [each.check for each in without.findings] == ["script"] and without.script is None
    assert "give --source-dir DIR" in str(without.findings[0])
    beside = of_config(path, shape, SCRIPTS)
    assert not beside.findings and beside.script is not None and beside.script.program == "steps.py"


def test_the_example_dags_can_be_read(shape: Shape) -> None:
    folder = Path(__file__).parents[2] / "dags"
    (sweep,) = of_dag_file(folder / "spot_sweep.py", shape, "train", None)
    assert sweep.requests is not None and sweep.name == "DAG spot_sweep, task train"


def test_the_page_quotes_what_is_printed() -> None:
    page = (Path(__file__).parents[2] / "docs" / "check.md").read_text()
    quoted = page.split("```text\n")[1].split("```")[0]
    image = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/train:1"
    role = "arn:aws:iam::123456789012:role/trainig"
    config = {
        **stock_config("bucket"),
        "EnableManagedSpotTraining": True,
        "ResourceConfig": {"InstanceType": "ml.g5.xlarge", "InstanceCount": 2},
        "StoppingCondition": {"MaxRuntimeInSeconds": 6 * 3600},
    }
    wanted = read_wanted(config)
    link = "https://console.aws.amazon.com/servicequotas/"
    quota = QuotaFigure("ml.g5.xlarge for spot training job usage", "L-0000", 0.0, None, True, link)
    found = [
        *judge_role(Answer({}, "NoSuchEntity", "answers NoSuchEntity"), role),
        *judge_quotas(wanted, {("ml.g5.xlarge", True): Figure(quota, "t")}),
        *judge_image(Answer({}, "AccessDeniedException", "needs ecr:BatchGetImage"), image, read_image(image)),
    ]
    price = {"ml.g5.xlarge": Figure(Money(Decimal("1.408"), "USD"), "t")}
    report = PreflightReport(tuple(weigh(found, wanted.names)), costs(wanted, price))
    assert "\n".join(check._lines(Target("DAG digits, task train", config), report)) == quoted.rstrip("\n")


def test_the_page_names_every_check() -> None:
    page = (Path(__file__).parents[2] / "docs" / "check.md").read_text()
    checks = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
    assert checks == set(
        re.findall(r"``(\w+)``", (PreflightFinding.__doc__ or "").split(":param check:")[1].split(":p")[0])
    )
    for key in (*PreflightFinding("a", Severity.FAIL, "b", "c", "d").to_json(), "at_most", "max_run_seconds"):
        assert f"`{key}`" in page, key


VALUES: Any = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 99) | st.sampled_from(["", "x", "s3://b/c", "ml.m5.large", "{{ x }}"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=3),
    max_leaves=6,
)


@given_values(st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=5), VALUES)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_stands_in_a_config_is_no_traceback(shape: Shape, config: Any, ladder: Any) -> None:
    requests, found = requests_of(given(config, ladder=ladder), shape, RUN)
    report = inspect(requests if requests is not None else (), no_clients, region="us-east-1", more=found)
    # Whatever it was, it was understood: nothing was given up on as a whole.
    assert not [each for each in report.findings if each.field == "preflight"], report


def no_clients(*_: Any) -> Any:
    raise ValueError("no AWS here")
