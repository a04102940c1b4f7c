"""Every command and snippet of README and docs runs, and the tables name what there is."""

from __future__ import annotations

import inspect
import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest
from airflow.sdk import DAG

from airflow_spot import errors
from airflow_spot.checkpoint import Checkpointer
from airflow_spot.core import events
from airflow_spot.core.decide import Pause, Submit, decide
from airflow_spot.core.findings import NothingYet, NotSeen, StartEnd, Stuck
from airflow_spot.core.folder_look import UNFINISHED
from airflow_spot.core.history import History
from airflow_spot.core.log_messages import lines, result_line
from airflow_spot.core.money.prices import Prices
from airflow_spot.core.money.totals import total
from airflow_spot.core.outcomes import Outcome
from airflow_spot.core.result import build_result
from airflow_spot.core.script_lint import RULES, lint
from airflow_spot.core.script_progress import Reports, ScriptProgress
from airflow_spot.core.service_errors import SeenFolder
from airflow_spot.core.stop_reasons import StopReason
from airflow_spot.core.timeline.ledger import ledger
from airflow_spot.core.try_marks import TryMark
from airflow_spot.local import LocalSageMaker
from airflow_spot.operators.training import SageMakerSpotTrainingOperator
from airflow_spot.provider_info import get_provider_info
from airflow_spot.runs.config_change import earlier_result
from airflow_spot.sensors.checkpoint import SageMakerCheckpointSensor
from tests.core.cases import NOW, RUN, attempt, description, later, limits, refusal
from tests.support.requests import SCRIPTS
from tests.support.task import TaskInstance, run_task

ROOT = Path(__file__).parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
#: Pages whose snippets belong together: tests/test_first_spot_job.py runs all of them, in order.
FOLLOWED = {"first-spot-job.md"}
SNIPPET = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def snippets(language: str) -> list[object]:
    """The snippets of all pages; what starts an Airflow or pytest is slow, but for the README's."""

    def marks(page: Path, code: str) -> list[pytest.MarkDecorator]:
        slow = page.name != "README.md" and (language == "python" or "pytest" in code)
        return [pytest.mark.slow] if slow else []

    return [
        pytest.param(match[2], id=f"{page.name}-{i}", marks=marks(page, match[2]))
        for page in PAGES
        if language == "json" or page.name not in FOLLOWED
        for i, match in enumerate(SNIPPET.finditer(page.read_text()))
        if match[1] == language
    ]


@pytest.mark.parametrize("code", snippets("python"))
def test_python_runs(code: str, tmp_path: Path) -> None:
    (tmp_path / "snippet.py").write_text(code)  # a function of it may be sent: its text has to be in a file
    done = subprocess.run(
        [sys.executable, "snippet.py"],
        check=False,
        cwd=tmp_path,
        env={**os.environ, "SM_CHECKPOINT_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr


def test_the_test_of_the_docs_passes(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "local-sagemaker.md").read_text()
    test, conftest = (match[2] for match in SNIPPET.finditer(page) if "import pytest" in match[2])
    (tmp_path / "test_it.py").write_text(test)
    (tmp_path / "conftest.py").write_text(conftest)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--strict-markers", str(tmp_path)]
    done = subprocess.run(command, check=False, cwd=tmp_path, capture_output=True, text=True, timeout=250)
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_the_readmes_dag_trains(local: LocalSageMaker, bucket: str, ti: TaskInstance, tmp_path: Path) -> None:
    code = next(match[2] for match in SNIPPET.finditer((ROOT / "README.md").read_text()) if "with DAG" in match[2])
    (tmp_path / "scripts").mkdir()
    shutil.copy(SCRIPTS / "steps.py", tmp_path / "scripts" / "train.py")
    (tmp_path / "dag.py").write_text(code.replace("my-bucket", bucket))
    dag = next(value for value in runpy.run_path(str(tmp_path / "dag.py")).values() if isinstance(value, DAG))
    operator = dag.get_task("train")
    operator.check_interval = 1
    result = run_task(operator, ti)
    assert result["Training"]["TrainingJobStatus"] == "Completed"
    assert result["Training"]["StoppingCondition"]["MaxRuntimeInSeconds"] == 6 * 3600


def test_the_function_of_the_taskflow_page_trains(
    local: LocalSageMaker, bucket: str, ti: TaskInstance, tmp_path: Path
) -> None:
    code = next(
        match[2] for match in SNIPPET.finditer((ROOT / "docs" / "taskflow.md").read_text()) if "with DAG" in match[2]
    )
    (tmp_path / "page.py").write_text(code.replace("my-bucket", bucket))
    page = runpy.run_path(str(tmp_path / "page.py"))
    operator = page["dag"].get_task("train")
    operator.check_interval = 1
    assert run_task(operator, ti) == {"weight": 10.0}
    assert page["train"].function(0.5, 20, checkpoint=Checkpointer(str(tmp_path / "c"))) == {"weight": 10.0}


@pytest.mark.slow
def test_the_readmes_way_without_aws(local: LocalSageMaker, tmp_path: Path) -> None:
    """Word for word, but for the service, which is the tests' own."""
    page = (ROOT / "README.md").read_text()
    code = next(match[2] for match in SNIPPET.finditer(page) if "with DAG" in match[2])
    (tmp_path / "dags" / "scripts").mkdir(parents=True)
    shutil.copy(SCRIPTS / "steps.py", tmp_path / "dags" / "scripts" / "train.py")
    (tmp_path / "dags" / "mine.py").write_text(code)
    commands = next(match[2] for match in SNIPPET.finditer(page) if match[2].startswith("eval"))
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "AWS_"))},
        **local.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    }
    script = "set -e\n" + commands.partition("\n")[2]
    done = subprocess.run(
        ["bash", "-c", script], check=False, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    jobs = local.client("sagemaker").list_training_jobs(NameContains="train-afspot-")["TrainingJobSummaries"]
    assert "Completed" in {job["TrainingJobStatus"] for job in jobs}


@pytest.mark.parametrize("text", snippets("json"))
def test_json_is_json(text: str) -> None:
    json.loads(text)


#: What is not the package's: run word for word by the test of the README's way, by tests/matrix and by tests/compose.
FOREIGN = {"airflow", "docker", "eval", "pip"}


@cache
def told(*command: str) -> str:
    done = subprocess.run(
        [sys.executable, *command], check=False, cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("commands", snippets("bash"))
def test_commands_exist(commands: str) -> None:
    """Each command is known: a target of the Makefile, options that a program takes, tests that there are."""
    for line in filter(None, (line.split("#")[0].strip() for line in commands.splitlines())):
        name, *words = [word for word in shlex.split(line) if not re.match(r"[A-Z_]+=", word)]
        if name == "make":
            assert re.search(rf"^{words[0]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), line
            continue
        if name == "airflow-spot":
            help_text = told("-m", "airflow_spot.cli.main", words[0], "--help")
        elif name.endswith("python") and words[:2] == ["-m", "pytest"]:
            told("-m", "pytest", "--collect-only", *words[2:])  # fails where nothing is found
            continue
        elif name.endswith("python") and words[0] != "-c":
            program = words[:2] if words[0] == "-m" else words[:1]
            help_text = told(*program, "--help")
        else:
            assert name in FOREIGN or words[0] == "-c", line
            continue
        for option in (word for word in words[1:] if word.startswith("--")):
            assert option in help_text, f"{line}: {option}"


def anchors(page: Path) -> set[str]:
    """The headings of a page, as GitHub links to them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", page.read_text()):
            found = page.parent / target if target else page
            assert found.exists(), f"{page.name}: {target}"
            assert not anchor or anchor in anchors(found), f"{page.name}: {target}#{anchor}"


def rooms(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.is_dir() and path.name != "__pycache__"}


def test_the_architecture_page_names_every_room() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    package, local = (match[2] for match in SNIPPET.finditer(page) if match[2].startswith("airflow_spot/"))
    outside = {"demo", "dags", "bench", "tests"}
    assert set(re.findall(r"^(?:  |(?=\w))(\w+)/ ", package, re.MULTILINE)) == rooms(ROOT / "airflow_spot") | outside
    assert set(re.findall(r"^    (\w+)/ ", package, re.MULTILINE)) == rooms(ROOT / "airflow_spot" / "core")
    assert set(re.findall(r"(\w+)/ ", local)) == rooms(ROOT / "airflow_spot" / "local")


def test_the_architecture_page_has_the_arrows_of_the_contract() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    project = (ROOT / "pyproject.toml").read_text()
    contracts = re.findall(r"^layers = \[\n(.*?)^\]", project, re.MULTILINE | re.DOTALL)
    assert contracts
    for layers in contracts:
        rows = [row.replace("airflow_spot.", "") for row in re.findall(r'"([^"]+)"', layers)]
        assert "```text\n" + "\n".join(rows) + "\n```" in page


def test_the_files_that_pages_name_are_there() -> None:
    """Those that CONTRIBUTING and the architecture name without a link."""
    for name in ("CONTRIBUTING.md", "docs/architecture.md"):
        for file in re.findall(r"`([\w/]+/\w+\.py)`", (ROOT / name).read_text()):
            assert any((ROOT / folder / file).is_file() for folder in (".", "airflow_spot")), f"{name}: {file}"


def test_the_operators_page_names_every_parameter() -> None:
    parameters = set(inspect.signature(SageMakerSpotTrainingOperator.__init__).parameters) - {"self", "kwargs"}
    table = (ROOT / "docs" / "operator.md").read_text().split("## What it returns")[0]
    told = {name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    assert told - {"aws_conn_id", "region_name", "verify", "botocore_config"} == parameters
    templated = set(re.findall(r"^\| `(\w+)` T", table, re.MULTILINE))
    assert templated == set(SageMakerSpotTrainingOperator.template_fields) - {"aws_conn_id", "region_name", "verify"}


def test_the_operators_page_names_every_parameter_of_the_sensor_of_checkpoints() -> None:
    parameters = set(inspect.signature(SageMakerCheckpointSensor.__init__).parameters) - {"self", "kwargs"}
    table = (ROOT / "docs" / "operator.md").read_text().split("## Waiting for a checkpoint")[1]
    told = {name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    assert told - {"aws_conn_id"} == parameters
    templated = set(re.findall(r"`(\w+)` T", table))
    assert templated == set(SageMakerCheckpointSensor.template_fields) - {"aws_conn_id", "region_name", "verify"}


def test_the_operators_page_names_every_outcome_and_error() -> None:
    page = (ROOT / "docs" / "operator.md").read_text()
    for outcome in set(Outcome) - {Outcome.UNKNOWN}:
        assert f"| `{outcome}` |" in page
    outcomes = page.split("## How an attempt can end")[1]
    for error in re.findall(r"`(\w+)` \|$", outcomes, re.MULTILINE):
        assert issubclass(getattr(errors, error), errors.SpotTrainingError)


def test_the_lints_page_names_every_rule_and_quotes_it() -> None:
    page = (ROOT / "docs" / "lint.md").read_text()
    assert set(re.findall(r"^\| `([\w-]+)` \|", page, re.MULTILINE)) == set(RULES)
    rule = RULES["writes-in-place"]
    assert f"writes-in-place: {rule.what}\n    {rule.fix}\n" in page


def test_the_lint_finds_nothing_in_the_script_of_the_checkpoints_page() -> None:
    page = (ROOT / "docs" / "checkpoints.md").read_text()
    script = next(match[2] for match in SNIPPET.finditer(page) if match[1] == "python")
    report = lint({"train.py": script.encode()}, "train.py")
    assert report.files and not report.findings


def block(page: str, language: str, after: str) -> str:
    text = (ROOT / "docs" / page).read_text().split(after)[1]
    return next(match[2] for match in SNIPPET.finditer(text) if match[1] == language)


def keys(value: Any) -> Any:
    """The names in a JSON value, however deep."""
    if isinstance(value, dict):
        return {name: keys(inner) for name, inner in value.items()}
    return [keys(inner) for inner in value] if isinstance(value, list) else None


def test_the_operators_page_shows_every_key_of_a_result() -> None:
    shown = json.loads(block("operator.md", "json", "## What it returns"))["Spot"]
    job = attempt(1, Outcome.COMPLETED)
    history = History(1, (job,), reports=Reports(last=ScriptProgress(1, 2, {"loss": 0.5}, NOW)))
    made = build_result(description(), history, "key", NOW, Prices("USD", {"ml.g5.xlarge": Decimal(1)}))["Spot"]
    money = ("cost", "on_demand_cost", "saved")
    for facts in (shown, *shown["attempts"], made, *made["attempts"]):
        facts.update(dict.fromkeys(money))
    assert keys(shown) == keys(made)
    page = (ROOT / "docs" / "operator.md").read_text()
    assert all(f"`{name}`" in page for name in total([job], NOW).to_json())


def test_the_commands_page_names_every_key_of_the_ledger() -> None:
    table = (ROOT / "docs" / "commands.md").read_text().split("prints the ledger")[1].split("## ")[0]
    made = ledger("key", {"dag_id": 1, "run_id": 1, "task_id": 1, "map_index": 1}, [attempt(1, None)], NOW)
    (generation,) = made["generations"]
    figures = set(total([], NOW).to_json()) | {"job_name", "instance_type", "instance_count", "spot", "outcome", "why"}
    for name in [*made, *generation, *(set(generation["attempts"][0]) - figures)]:
        assert f"`{name}`" in table, name


def test_the_operators_page_quotes_the_log() -> None:
    first = attempt(1, Outcome.NO_CAPACITY, prefix="digits", interruptions=1, **SECONDS)
    second = attempt(2, Outcome.COMPLETED, prefix="digits", **SECONDS)
    folder = "s3://bucket/checkpoints"
    pause = "attempt 1: no capacity for ml.g5.xlarge spot; same checkpoint"
    story: list[events.Event] = [
        events.GenerationBegan(first.name.key, 1, folder),
        events.AttemptDecided(1, first.rung, first.job_name, "first attempt"),
        events.AttemptCreated(replace(first, checkpoint_s3_uri=folder)),
        events.Transitioned(first.job_name, "attempt 1", "Training", NOW, heard=NOW),
        events.Transitioned(first.job_name, "attempt 1", "Interrupted", NOW, heard=NOW, nth=1, trained=960.0),
        events.Paused(NOW, f"{pause}; again in 12 s"),
        events.AttemptDecided(2, first.rung, second.job_name, pause),
        events.RunSucceeded((first, second), total([first, second], NOW)),
    ]
    said = "".join(f"{line}\n" for event in story for line in lines(event))
    assert block("operator.md", "text", "## What the log says") == said.replace(first.name.key, "abcdefghij")
    other = (
        (ROOT / "docs" / "operator.md").read_text().split("Other lines begin")[1].split("\n\n")[0].replace("\n", " ")
    )
    more = [
        events.AttemptFound(first),
        events.AttemptAttached(first),
        events.JobStopped("j", StopReason.KILLED, "why"),
        events.JobStopped("j", StopReason.KILLED, "why", "it is Completed already"),
        events.RunFailed(None, "why", total([], NOW)),
    ]
    for quoted, event in zip(re.findall(r"`([^`]*)`", other), more, strict=True):
        line = next(iter(lines(event)))
        assert re.match(".*".join(map(re.escape, quoted.split(" ..."))), line), (quoted, line)


SECONDS = {"training_seconds": 3600, "billable_seconds": 1080, "active_seconds": 3600.0}


def test_the_page_for_stock_tasks_quotes_the_line_of_a_success() -> None:
    told = block("drop-in.md", "text", "## The name of the job")
    assert told == f"{result_line('digits-afspot-abcdefghij-1-2', 'train', -1)}\n"
    earlier = attempt(1, Outcome.COMPLETED, prefix="digits", delivered_by=TryMark(1, 0))
    said = earlier_result(earlier, "hyperparameters").replace(RUN.key, "abcdefghij")
    assert block("drop-in.md", "text", "## Running it by hand, again") == f"{said}\n"


def test_the_pause_that_the_page_quotes_is_the_ladders() -> None:
    case = limits()
    action = decide(case.limits, History(1, (attempt(1, Outcome.NO_CAPACITY),)), later(seconds=1), case.policy)
    assert isinstance(action, Pause)
    assert action.why.rpartition(" in ")[0] in block("operator.md", "text", "## What the log says")


def test_the_checkpoints_page_quotes_the_warning() -> None:
    quoted = block("checkpoints.md", "text", "A generation stays in")
    source = re.sub(r'"\s+"', "", (ROOT / "airflow_spot" / "runs" / "checkpoint_folder.py").read_text())
    assert quoted.strip().replace("s3://bucket/b", "%s").replace("s3://bucket/a", "%s") in source


def test_the_checkpoints_page_quotes_the_log_of_large_ones_and_of_none() -> None:
    folder = SeenFolder("s3://bucket/checkpoints", 412, 369_000_000_000)
    (told,) = lines(events.ServiceErrorsRepeated(2, 2, folder))
    assert block("checkpoints.md", "text", "## Keep checkpoints small") == f"{told}\n"
    case = limits(use_checkpoints=False)
    past = History(1, (attempt(1, Outcome.NO_CAPACITY, prefix="digits", checkpoint_s3_uri=""),))
    action = decide(case.limits, past, later(days=1), case.policy)
    assert isinstance(action, Submit)
    name = attempt(2, None, prefix="digits").job_name.replace(RUN.key, "abcdefghij")
    (told,) = lines(events.AttemptDecided(action.number, str(action.rung), name, action.why))
    assert block("checkpoints.md", "text", "## A script that keeps its own") == f"{told}\n"


def test_the_checkpoints_page_quotes_what_is_seen_of_them() -> None:
    name, folder = attempt(1, None).job_name, "s3://bucket/checkpoints"
    page = (ROOT / "docs" / "checkpoints.md").read_text().split("## Whether they come")[1].split("\n## ")[0]
    quoted = re.findall(r"```text\n(.*?)\n```", page, re.DOTALL)
    told: list[events.Event] = [
        events.StartEnded(name, folder, StartEnd(3, NOW, 1800.0, 480.0, later(minutes=-8))),
        events.ProgressMissing(name, folder, Stuck(3, 3600.0)),
        events.CheckpointsNotSeen(name, folder, NotSeen("AccessDenied at ListObjectsV2")),
    ]
    assert quoted == [line for event in told for line in lines(event)]
    assert all(f"`{end}`" in page or f"`*{end}`" in page for end in UNFINISHED)


def test_the_configuration_page_names_every_option_and_every_event() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text()
    options, _, rest = page.partition("`airflow config list")
    named = set(re.findall(r"^\| `(\w+)`", options, re.MULTILINE))
    assert named == set(get_provider_info()["config"]["airflow_spot"]["options"])
    rows = [row for row in rest.split("## The events of a run")[1].splitlines() if row.startswith("| `")]
    told = {name: row for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert set(told) == {kind.name for kind in get_args(events.Event)}
    samples = [
        events.GenerationBegan("key", 1, "s3://bucket"),
        events.AttemptFound(attempt(1, None)),
        events.AttemptDecided(1, "rung", "job", "why"),
        events.CreateRefused(refusal(1)),
        events.Transitioned("job", "attempt 1", "Training"),
        events.CapacityAwaited("job", "attempt 1", NOW, NOW),
        events.Paused(NOW, "why"),
        events.ServiceErrorsRepeated(2, 2, SeenFolder("s3://bucket", 1, 1)),
        events.StartEnded("job", "s3://bucket", StartEnd(1, NOW, 1.0, 1.0, NOW)),
        events.CheckpointsSeen("job", "s3://bucket", (NOW,)),
        events.CheckpointMissing("job", "s3://bucket", NothingYet(1.0)),
        events.CheckpointsNotSeen("job", "s3://bucket", NotSeen("why")),
        events.ProgressMissing("job", "s3://bucket", Stuck(3, 1.0)),
        events.TrainedLong(1.0, 1),
        events.ScriptProgressed("job", ScriptProgress(1, 2, {}, NOW)),
        events.JobStopped("job", StopReason.KILLED, "why"),
    ]
    for sample in samples:
        assert all(f"`{key}`" in told[sample.name] for key in sample.to_json()), sample.name
