"""``airflow-spot mwaa``: the folder installs on MWAA's versions, and on nothing that it would break on."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from airflow_spot import __version__
from airflow_spot.cli import wheels
from airflow_spot.cli.main import main
from airflow_spot.cli.mwaa import DAGS, PLUGINS
from airflow_spot.cli.mwaa_checklist import policy
from tests.support.pythons import find_python, make_environment, uv

ROOT = Path(__file__).parent.parent.parent
#: MWAA's own pins, laid beside the checkout on the project's machines. Elsewhere only the fast tests run.
PINS = sorted((ROOT.parent / "shared" / "constraints").glob("mwaa-*.txt"))


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    dist = tmp_path_factory.mktemp("dist")
    subprocess.run(["make", "wheel", f"DIST={dist}"], check=True, cwd=ROOT, capture_output=True, timeout=250)
    (built,) = dist.glob("*.whl")
    return built


def kit(folder: Path, *arguments: object) -> int:
    return main(["mwaa", "--out", str(folder), *map(str, arguments)])


def test_the_folder_holds_what_mwaa_asks_for(wheel: Path, tmp_path: Path) -> None:
    assert kit(tmp_path, "--version", "3.0.6", "--wheel", wheel) == 0
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    constraints = "dags/constraints-3.0.6.txt"
    named = {"plugins.zip", "requirements.txt", constraints, "airflow-configuration-options.json", "CHECKLIST.md"}
    assert files == named
    lines = [line for line in (tmp_path / "requirements.txt").read_text().splitlines() if line and line[0] != "#"]
    assert lines == [
        '--constraint "/usr/local/airflow/dags/constraints-3.0.6.txt"',
        "--find-links /usr/local/airflow/plugins",
        "--no-index",
        f"airflow-spot=={__version__}",
    ]
    assert (tmp_path / constraints).read_text() == "apache-airflow==3.0.6\n"
    with zipfile.ZipFile(tmp_path / "plugins.zip") as plugins:
        assert plugins.namelist() == [wheel.name]
        assert plugins.read(wheel.name) == wheel.read_bytes()


def test_the_same_again_is_the_same_file(wheel: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        kit(tmp_path / name, "--version", "3.0.6", "--wheel", wheel)
    assert (tmp_path / "one" / "plugins.zip").read_bytes() == (tmp_path / "two" / "plugins.zip").read_bytes()


@pytest.mark.parametrize(
    ("version", "capacity"), [("2.11.2", "triggerer.default_capacity"), ("3.3.1", "triggerer.capacity")]
)
def test_options_are_texts_and_each_has_its_reason(wheel: Path, tmp_path: Path, version: str, capacity: str) -> None:
    kit(tmp_path, "--version", version, "--wheel", wheel, "--namespace", "ml-prod")
    options = json.loads((tmp_path / "airflow-configuration-options.json").read_text())
    assert options == {capacity: "1000", "airflow_spot.namespace": "ml-prod"}
    rows = re.findall(
        r"^\| `([\w.]+)` \| `([\w-]+)` \| \w.+ \|$", (tmp_path / "CHECKLIST.md").read_text(), re.MULTILINE
    )
    assert dict(rows) == options


def test_the_policy_is_json_and_has_what_the_operators_page_asks_for(wheel: Path, tmp_path: Path) -> None:
    kit(tmp_path, "--version", "3.0.6", "--wheel", wheel)
    found = re.search(r"```json\n(.*?)```", (tmp_path / "CHECKLIST.md").read_text(), re.DOTALL)
    assert found is not None
    assert json.loads(found[1]) == policy()
    granted = {action.split(":")[1] for statement in policy()["Statement"] for action in statement["Action"]}
    page = (ROOT / "docs" / "operator.md").read_text().split("## Permissions")[1].split("##")[0]
    asked = {name.split(":")[-1] for name in re.findall(r"`((?:\w+:)?[A-Z][a-z]+[A-Z]\w+)`", page)} - {"S3Operations"}
    assert granted >= asked
    assert len(asked) > 8


@pytest.mark.parametrize(
    ("arguments", "constraints", "message"),
    [
        (["--version", "2.10.5"], None, "needs apache-airflow>=2.11, and 2.10.5"),
        (["--version", "three"], None, "'three' is not a version"),
        (
            ["--version", "3.0.6"],
            "apache-airflow-providers-amazon==9.11.0\n",
            "needs apache-airflow-providers-amazon>=9.12",
        ),
        (["--version", "3.0.6"], "apache-airflow==3.0.5\n", "pins apache-airflow 3.0.5, not 3.0.6"),
        (["--version", "3.0.6"], "# constraints-3.2.1/constraints-3.12.txt\n", "is for Airflow 3.2.1"),
        (["--version", "3.0.6"], "# constraints-3.0.6/constraints-3.11.txt\n", "on Python 3.11, not"),
    ],
)
def test_what_would_not_install_is_refused(
    wheel: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    constraints: str | None,
    message: str,
) -> None:
    if constraints is not None:
        (tmp_path / "constraints.txt").write_text(constraints)
        arguments = [*arguments, "--constraints", str(tmp_path / "constraints.txt")]
    assert kit(tmp_path / "kit", "--wheel", wheel, *arguments) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "kit").exists()


@pytest.mark.parametrize(
    "name", ["airflow_spot.zip", "other-1.0-py3-none-any.whl", "airflow_spot-1.0-py3-none-any.whl"]
)
def test_what_is_not_our_wheel_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    (tmp_path / name).write_bytes(b"no zip")
    assert kit(tmp_path / "kit", "--version", "3.0.6", "--wheel", tmp_path / name) == 2
    assert name in capsys.readouterr().err


def test_a_checkout_says_how_to_make_the_wheel(tmp_path: Path) -> None:
    """The tests' own installation is editable."""
    with pytest.raises(wheels.WheelError, match="make wheel"):
        wheels.pack_installed(tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("pins", PINS, ids=[path.stem for path in PINS])
def test_it_installs_from_that_folder_alone_under_mwaas_pins(wheel: Path, tmp_path: Path, pins: Path) -> None:
    """As MWAA does it: its image, and then ``pip install -r requirements.txt``; only the paths are others."""
    version = pins.stem.removeprefix("mwaa-")
    image = make_environment(
        tmp_path / "image",
        find_python("3.12"),
        f"apache-airflow=={version}",
        "apache-airflow-providers-amazon",
        "--constraint",
        pins,
    )
    # The wheel is made of an installation, as it is for somebody who has no checkout.
    installed = make_environment(tmp_path / "laptop", sys.executable)
    uv("pip", "install", "--quiet", "--no-deps", "--python", installed, wheel)
    uv("pip", "install", "--quiet", "--python", installed, "packaging")
    folder = tmp_path / "kit"
    command = ["-m", "airflow_spot.cli.main", "mwaa", "--version", version, "--out", folder, "--constraints", pins]
    subprocess.run([installed, *command], check=True, timeout=600)

    mwaa = tmp_path / "mwaa"
    with zipfile.ZipFile(folder / "plugins.zip") as plugins:
        plugins.extractall(mwaa / "plugins")
    (mwaa / "requirements.txt").write_text(
        (folder / "requirements.txt")
        .read_text()
        .replace(PLUGINS, str(mwaa / "plugins"))
        .replace(DAGS, str(folder / "dags"))
    )
    before = _freeze(image)
    pip = [image, "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "-r", mwaa / "requirements.txt"], check=True, timeout=600)
    assert _freeze(image) - before == {f"airflow-spot=={__version__}"}
    assert before < _freeze(image), "something that was there has gone"
    subprocess.run([*pip, "check"], check=True, timeout=600)
    code = (
        "from airflow_spot.operators.training import SageMakerSpotTrainingOperator as O; print(O.__name__); "
        "import airflow_spot.operators._task_try"  # what a worker has besides
    )
    environment = {"AIRFLOW_HOME": str(tmp_path / "home"), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [image, "-c", code], check=False, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("SageMakerSpotTrainingOperator")


def _freeze(interpreter: Path) -> set[str]:
    """What is installed, by name and version."""
    code = (
        "from importlib import metadata as m; print(*{f'{d.name}=={d.version}' for d in m.distributions()}, sep='\\n')"
    )
    listed = subprocess.run([interpreter, "-c", code], check=True, capture_output=True, text=True, timeout=600)
    return set(listed.stdout.split())
