"""What the matrix is judged by can fail, and says where to look."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.matrix import environment as environments
from tests.matrix.__main__ import TARGETS, main
from tests.matrix.acts import BOUNDED, RECOVERY_3, SUPPORTED
from tests.matrix.environment import Environment, MatrixError, Target, _versions, clean_environ, find_python, run
from tests.matrix.readme import for_airflow_2, snippet
from tests.matrix.real import one_at_a_time
from tests.matrix.scenarios import Player, Result, Row
from tests.matrix.table import table


def test_every_version_that_is_promised_is_played() -> None:
    played = {str(target) for target in TARGETS}
    mwaa = {f"{version}-py3.12" for version in ("2.11.2", "3.0.6", "3.2.1", "3.3.1")}
    assert played == mwaa | {f"newest-py3.{minor}" for minor in (10, 11, 12, 13)}


def test_versions_are_read_whatever_their_spelling() -> None:
    told = "Foo_Bar==1.0\nairflow-spot @ file:///a/b.whl\n# a comment\nbaz.x==2 ; python_version < '4'\n"
    assert _versions(told) == {"foo-bar": "1.0", "airflow-spot": "file:///a/b.whl", "baz-x": "2"}


def fake_uv(monkeypatch: pytest.MonkeyPatch, installed: str, baseline: str) -> None:
    answers = {"check": "", "freeze": installed, "compile": baseline}
    monkeypatch.setattr("tests.matrix.environment.uv", lambda _pip, what, *_, **__: answers[what])


@pytest.mark.parametrize(
    ("installed", "passes"),
    [
        ("boto3==1\nairflow-spot @ file:///w.whl", True),
        ("boto3==1", False),
        ("boto3==2\nairflow-spot @ file:///w.whl", False),
        ("boto3==1\nmoto==5\nairflow-spot @ file:///w.whl", False),
        ("airflow-spot @ file:///w.whl", False),
    ],
)
def test_a_dependency_that_we_change_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, installed: str, passes: bool
) -> None:
    fake_uv(monkeypatch, installed, "boto3==1")
    environment = Environment(Target("0.0", "3.12"), tmp_path, tmp_path / "w.whl")
    if passes:
        environment.check(tmp_path / "log")
        return
    with pytest.raises(MatrixError, match="the wheel changes the environment"):
        environment.check(tmp_path / "log")


def test_a_command_that_fails_is_told_and_logged(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with pytest.raises(MatrixError, match="ended with 3"):
        run([sys.executable, "-c", "import sys; print('said', file=sys.stderr); sys.exit(3)"], log, timeout=60)
    assert "said" in log.read_text()


def test_what_a_developer_has_set_does_not_reach_the_version_under_test(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AIRFLOW__CORE__EXECUTOR", "AWS_PROFILE", "PYTHONPATH", "VIRTUAL_ENV"):
        monkeypatch.setenv(name, "x")
    assert not {"AIRFLOW__CORE__EXECUTOR", "AWS_PROFILE", "PYTHONPATH", "VIRTUAL_ENV"} & set(clean_environ())


def test_one_scenario_that_fails_ends_neither_the_others_nor_passes(tmp_path: Path) -> None:
    said: list[str] = []
    row = Row(Target("3.0.6", "3.12"), "3.0.6")
    player = Player(row, Environment(row.target, tmp_path, tmp_path), said.append)

    def breaks(log: Path) -> None:
        raise ZeroDivisionError("whatever")

    assert player.play("good", lambda log: None) is True
    assert row.passed
    assert player.play("bad", breaks) is False
    assert player.play("better", lambda log: None) is True
    assert not row.passed
    assert "whatever" in (tmp_path / "bad.log").read_text()
    told = table([row])
    assert told.splitlines()[0].split()[-3:] == ["good", "bad", "better"]
    assert f"3.0.6-py3.12 bad: ZeroDivisionError: whatever (see {tmp_path / 'bad.log'})" in told
    assert [line for line in said if "FAILED" in line] == [
        f"3.0.6-py3.12 bad: FAILED 0 s: {row.results['bad'].error} (see {tmp_path / 'bad.log'})"
    ]


def test_a_row_without_results_has_not_passed() -> None:
    assert not Row(Target("3.0.6", "3.12"), "3.0.6").passed
    assert Row(Target("3.0.6", "3.12"), "3.0.6", results={"x": Result(1.0, None, Path("x"))}).passed


def test_an_unknown_version_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--versions", "1.10"])
    assert "3.0.6-py3.12" in capsys.readouterr().err


def test_an_interpreter_that_is_not_there() -> None:
    assert find_python("3.99") is None
    assert find_python(f"{sys.version_info[0]}.{sys.version_info[1]}") == sys.executable


def create(name: str, error: str | None = None) -> dict[str, Any]:
    return {"event": "call", "operation": "CreateTrainingJob", "resource": name, "error": error}


def state(name: str, status: str) -> dict[str, Any]:
    return {"event": "state", "job": name, "status": status}


ONE = [create("a-key-1"), state("a-key-1", "InProgress"), state("a-key-1", "Stopping"), state("a-key-1", "Stopped")]
TWO = [create("a-key-2"), state("a-key-2", "InProgress"), state("a-key-2", "Completed")]
OTHER = [create("b-other-1"), state("b-other-1", "InProgress")]


@pytest.mark.parametrize(
    ("audit", "what"),
    [
        ([*ONE, *OTHER, *TWO], None),
        ([*ONE[:3], *TWO[:2]], "alive at once"),
        ([*ONE, *TWO[:2]], "left alive"),
        ([*ONE, create("a-key-1", "ResourceInUse")], "CreateTrainingJob"),
        (OTHER, "no job was created"),
    ],
)
def test_jobs_of_a_run_live_one_after_the_other(audit: list[dict[str, Any]], what: str | None) -> None:
    if what is None:
        one_at_a_time(audit, "key")
        return
    with pytest.raises(MatrixError, match=what):
        one_at_a_time(audit, "key")


#: Where it is not both: what has no sync sibling waits in the triggerer, or resumes from there.
MODES = {
    "triggerer_restarted": ("",),
    "triggerer_killed": ("",),
    "marked_before_deferring": ("",),
    "marked_while_resuming": ("",),
    "variable_deleted": ("", "_mapped"),
    "taskflow": ("",),
}


def test_every_act_has_a_dag_for_each_of_its_modes() -> None:
    faults = (environments.ROOT / "tests" / "airflow" / "dags" / "faults.py").read_text()
    for act in {*BOUNDED, *SUPPORTED, *RECOVERY_3}:
        modes = MODES.get(act.__name__, ("", "_sync"))
        assert all(f'"{act.__name__}{mode}"' in faults for mode in modes), act.__name__


def test_the_readme_says_what_is_other_on_airflow_2() -> None:
    code = snippet("Use it", "python")
    assert "from airflow.sdk import DAG" in code
    assert "airflow.sdk" not in for_airflow_2(code)
    assert for_airflow_2(code).startswith("from airflow import DAG\n")
    assert "pip install airflow-spot" in snippet("Use it", "bash")


def test_constraints_are_mwaas_else_bounds_of_our_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    target = Target("3.0.6", "3.12")
    monkeypatch.setattr(environments, "CONSTRAINTS", tmp_path)
    found = target.constraints()
    assert found is not None
    assert "starlette<" in found.read_text()
    assert Target("3.0.7", "3.12").constraints() is None
    assert Target("newest", "3.12").constraints() is None
    (tmp_path / "mwaa-3.0.6.txt").write_text("boto3==2\n")
    found = target.constraints()
    assert found is not None
    assert found.read_text() == "boto3==2\n"
