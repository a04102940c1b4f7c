"""Commands without what they need say so: one line and exit code 2, which means nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from airflow_spot.cli.main import COMMANDS

#: Runs the command line where some packages are not installed.
WITHOUT = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {missing!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
from airflow_spot.cli.main import main
sys.exit(main({arguments!r}))
"""
AIRFLOW = ("airflow",)
AWS = ("--region", "us-east-1", "--endpoint-url", "http://127.0.0.1:9")
ARGUMENTS: dict[str, tuple[str, ...]] = {
    "local": ("--env",),
    "rehearse": ("{folder}/dag.py", "--task", "train"),
    "advise": ("--types", "ml.g5.xlarge", "--hours", "1", "--fresh", *AWS),
    "mwaa": ("--output", "{folder}/out"),
    "history": ("--dag", "d", "--run-id", "r", "--task", "t", *AWS),
    "stop": ("--dag", "d", "--run-id", "r", "--task", "t", *AWS),
    "orphans": AWS,
    "export": ("{folder}/train.py:x",),
    "lint": ("{folder}/train.py",),
    "check": ("{folder}/dag.py", *AWS),
    "iam": (),
    "checkpoints": ("set-aside", "s3://b/c", *AWS),
    "gc": ("--base", "s3://b/c", "--older-than", "1d", *AWS),
    "verify-aws": AWS,
}


def run(folder: Path, missing: tuple[str, ...], *arguments: str) -> subprocess.CompletedProcess[str]:
    code = WITHOUT.format(missing=missing, arguments=[each.format(folder=folder) for each in arguments])
    return subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=120)


def test_every_command_is_looked_at() -> None:
    assert set(ARGUMENTS) == set(COMMANDS)


#: What each bounded run of the suite looks at, beside what the tests below do; the slow one looks at all.
BOUNDED = {("airflow", "stop"), ("packaging", "history"), ("botocore", "gc")}


@pytest.mark.parametrize(
    ("missing", "command"),
    [
        pytest.param(missing, command, marks=[] if (missing, command) in BOUNDED else pytest.mark.slow)
        for missing in ("airflow", "packaging", "boto3", "botocore", "moto")
        for command in COMMANDS
    ],
)
def test_a_command_without_a_package_is_no_traceback(tmp_path: Path, command: str, missing: str) -> None:
    (tmp_path / "train.py").write_text("x = 1\n")
    done = run(tmp_path, (missing,), command, *ARGUMENTS[command])
    assert "Traceback" not in done.stderr
    assert done.returncode in (0, 2), done.stderr
    if done.returncode == 2:
        assert (
            done.stderr.strip()
            .splitlines()[-1]
            .startswith((f"airflow-spot {command}: ", f"airflow-spot {command} needs "))
        )


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_help_needs_neither_airflow_nor_moto(tmp_path: Path, command: str) -> None:
    done = run(tmp_path, ("airflow", "moto", "boto3"), command, "--help")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("command", "missing", "said"),
    [
        ("mwaa", "packaging", "airflow-spot mwaa needs packaging: pip install packaging"),
        ("gc", "boto3", "airflow-spot gc needs boto3: pip install boto3"),
        ("local", "moto", "airflow-spot local needs moto: pip install 'airflow-spot[local]'"),
        ("orphans", "airflow", "--namespace"),
        ("history", "airflow", "--namespace"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, command: str, missing: str, said: str) -> None:
    done = run(tmp_path, (missing,), command, *ARGUMENTS[command])
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert said in done.stderr


def test_a_task_database_needs_airflow(tmp_path: Path) -> None:
    done = run(tmp_path, AIRFLOW, "orphans", "--namespace", "prod", *AWS)
    assert done.returncode == 2
    assert "--api" in done.stderr


def test_what_needs_no_package_runs_without(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("x = 1\n")
    assert run(tmp_path, ("airflow", "boto3", "botocore", "packaging"), "lint", "{folder}/train.py").returncode == 0
