"""The wheel holds the package and nothing else, and asks for no more than it needs."""

from __future__ import annotations

import configparser
import email.message
import email.parser
import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

import airflow_spot
from airflow_spot.provider_info import get_provider_info
from tests.matrix.environment import ROOT, build_wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    path = build_wheel(tmp_path_factory.mktemp("dist"))
    assert path.name == f"airflow_spot-{airflow_spot.__version__}-py3-none-any.whl"
    with zipfile.ZipFile(path) as opened:
        yield opened


def inside(wheel: zipfile.ZipFile, name: str) -> str:
    return wheel.read(f"airflow_spot-{airflow_spot.__version__}.dist-info/{name}").decode()


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> email.message.Message:
    return email.parser.Parser().parsestr(inside(wheel, "METADATA"))


def test_the_package_is_in_it_whole_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    folder = Path(airflow_spot.__file__).parent
    files = {path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert held == {path.relative_to(folder.parent).as_posix() for path in files}
    assert "airflow_spot/py.typed" in held
    assert not [name for name in held if {"tests", "dags", "bench", "demo"} & set(name.split("/"))]
    assert not [name for name in held if re.search("demo|standalone", name)]
    assert "Apache License" in inside(wheel, "licenses/LICENSE")


def test_it_needs_airflow_the_amazon_provider_and_boto3(metadata: email.message.Message) -> None:
    needed = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert sorted(needed) == ["apache-airflow-providers-amazon>=9.12", "apache-airflow>=2.11", "boto3>=1.37"]
    assert metadata["Requires-Python"].split(",") == ["<3.14", ">=3.10"]
    assert {"local", "sdk", "plot", "dev"} <= set(metadata.get_all("Provides-Extra", []))


def test_its_entry_points_are_the_provider_the_plugins_and_the_command(wheel: zipfile.ZipFile) -> None:
    points = configparser.ConfigParser(delimiters=("=",))
    points.read_string(inside(wheel, "entry_points.txt"))
    assert {section: dict(points[section]) for section in points.sections()} == {
        "apache_airflow_provider": {"provider_info": "airflow_spot.provider_info:get_provider_info"},
        "airflow.plugins": {"airflow_spot": "airflow_spot.ui.plugin:AirflowSpotPlugin"},
        "console_scripts": {"airflow-spot": "airflow_spot.cli.main:main"},
        "pytest11": {
            "local_sagemaker": "airflow_spot.local.pytest_plugin",
            "rehearsal": "airflow_spot.rehearsal.pytest_plugin",
        },
    }


HELP = """
import contextlib, io, json, sys
from airflow_spot.cli.main import main
helps = {}
for name in sys.argv[1:]:
    with contextlib.redirect_stdout(io.StringIO()) as told:
        try:
            code = main([name, "--help"])
        except SystemExit as end:
            code = end.code
    assert not code, (name, code)
    helps[name] = told.getvalue()
print(json.dumps(helps))
"""
"""What each command of its arguments says of itself."""


def test_its_command_offers_nothing_that_is_not_in_it(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    """By the wheel alone: each subcommand that ``--help`` lists can be asked for its own, and the demo is none."""
    wheel.extractall(tmp_path)
    environ = {**os.environ, "PYTHONPATH": str(tmp_path)}

    def told(*command: str) -> str:
        done = subprocess.run(
            [sys.executable, *command], cwd=tmp_path, env=environ, capture_output=True, text=True, check=True
        )
        return done.stdout

    offered = re.findall(r"^    (\S+) ", told("-m", "airflow_spot.cli.main", "--help"), re.MULTILINE)
    assert {"local", "history"} <= set(offered)
    assert "demo" not in offered
    helps = json.loads(told("-c", HELP, *offered))
    assert [name for name in offered if f"airflow-spot {name}" not in helps[name]] == []


def test_pytest_finds_its_fixtures(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    """By the wheel alone: the code and the entry point are those that it holds."""
    wheel.extractall(tmp_path / "site")
    (tmp_path / "test_it.py").write_text(
        "import boto3\n"
        "from airflow_spot.local import pytest_plugin\n"
        "def test_it(local_sagemaker):\n"
        "    assert boto3.client('sagemaker').list_training_jobs()['TrainingJobSummaries'] == []\n"
        f"    assert pytest_plugin.__file__.startswith({str(tmp_path / 'site')!r})\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(tmp_path)],
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("kind", ["operators", "sensors", "triggers", "hooks"])
def test_what_the_registry_shows_is_what_the_provider_has(kind: str) -> None:
    registry: dict[str, Any] = yaml.safe_load((ROOT / ".airflow-registry.yaml").read_text())
    info = get_provider_info()
    assert registry["package-name"] == info["package-name"]
    assert (registry["display-name"], registry["description"]) == (info["name"], info["description"])
    modules = set()
    for item in registry[kind]:
        module, _, name = item["module"].rpartition(".")
        assert getattr(import_module(module), name).__module__ == module
        modules.add(module)
    assert modules == {name for item in info[kind] for name in item["python-modules"]}
