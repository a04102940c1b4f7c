"""README's section on installation, followed word for word in a fresh environment of one version."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from tests.matrix.environment import ROOT, Environment, MatrixError, clean_environ, run, uv

_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def section(title: str) -> str:
    """Return what stands in the README under a title."""
    text = (ROOT / "README.md").read_text()
    return text.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def snippet(title: str, language: str) -> str:
    """Return the first snippet of a language in a section."""
    return next(match[2] for match in _FENCE.finditer(section(title)) if match[1] == language)


def for_airflow_2(code: str) -> str:
    """Take what the README's comments say for Airflow 2 instead of the line that they stand on."""
    return re.sub(r"^.*#\s*Airflow 2: (.*)$", r"\1", code, flags=re.MULTILINE)


def follow_readme(environment: Environment, interpreter: str, log: Path) -> None:
    """
    Install as the README says, where only Airflow is, and let that Airflow list the README's DAG.

    :param environment: whose version, wheel and constraints these are; its own virtual environment is not touched.
    :raises MatrixError: a word of it does not hold.
    """
    folder = environment.folder / "readme"
    programs = folder / "venv" / "bin"
    constraints = environment.constraints
    uv("venv", "--quiet", "--seed", "--python", interpreter, folder / "venv", log=log)
    pinned: list[str | Path] = ["--constraint", constraints] if constraints else []
    # A deployment has the Amazon provider's place filled by its image; here it is the README's command that brings it.
    uv("pip", "install", "--quiet", "--python", programs / "python", *pinned, environment.target.requirement, log=log)
    environ = {
        **clean_environ(),
        "PATH": f"{programs}:/usr/bin:/bin",
        "AIRFLOW_HOME": str(folder / "home"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(folder / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        # Stands in for the index that has the wheel.
        "PIP_FIND_LINKS": str(environment.wheel.parent),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
        **({"PIP_CONSTRAINT": str(constraints)} if constraints else {}),
    }
    for line in snippet("Use it", "bash").splitlines():
        name, *words = shlex.split(line, comments=True)
        run([programs / name, *words], log, timeout=600, environ=environ)
    run([programs / "pip", "check"], log, timeout=600, environ=environ)
    code = snippet("Use it", "python")
    (folder / "dags").mkdir()
    (folder / "dags" / "mine.py").write_text(for_airflow_2(code) if environment.target.is_airflow_2 else code)
    run([programs / "airflow", "db", "migrate"], log, timeout=300, environ=environ)
    if not environment.target.is_airflow_2:
        run([programs / "airflow", "dags", "reserialize"], log, timeout=300, environ=environ)
    errors = run([programs / "airflow", "dags", "list-import-errors"], log, timeout=300, environ=environ)
    listed = run([programs / "airflow", "dags", "list"], log, timeout=300, environ=environ)
    if "train_on_spot" not in listed:
        raise MatrixError(f"Airflow does not list the README's DAG: {errors.strip()[-500:]}")
