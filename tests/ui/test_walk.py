"""Who may see and do what, at every route of a whole API server of Airflow. The matrix walks on the other versions."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ui.walk import STEPS, WHO

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("base_url", ["", "http://testserver/af"])
def test_everybody_at_every_route(tmp_path: Path, base_url: str) -> None:
    more = {"AIRFLOW__API__BASE_URL": base_url} if base_url else {}
    environ = {**os.environ, "AIRFLOW_HOME": str(tmp_path), "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING", **more}
    done = subprocess.run(
        [sys.executable, "-m", "tests.ui.walk", "simple"],
        check=False,
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    assert "0 wrong" in done.stdout


def test_the_walk_is_of_everybody() -> None:
    assert all(len(step.statuses) == len(WHO) for step in STEPS)
    # Nobody gets anything but files of the package; the viewer of another DAG nothing of this one.
    assert all(step.statuses[0] == 401 or step.path.startswith("/static") for step in STEPS)
    assert not any(step.statuses[1] == 200 and "/trains/" in step.path for step in STEPS)
