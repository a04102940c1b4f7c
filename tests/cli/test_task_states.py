"""Airflow's own database answers for its task instances, and an empty one proves nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ASK = """
import json
from airflow.models.dag import DagModel
from airflow.utils.session import create_session
from airflow_spot.cli.task_states import from_database
from airflow_spot.core.identity import RunIdentity

ask = from_database()
run = RunIdentity("n", "a_dag", "a_run", "train")
before = ask(run)
with create_session() as session:
    more = {"bundle_name": "dags"} if hasattr(DagModel, "bundle_name") else {}
    if more:
        from airflow.models.dagbundle import DagBundleModel
        session.add(DagBundleModel(name="dags"))
        session.flush()
    session.add(DagModel(dag_id="a_dag", fileloc="x", **more))
after = ask(run)
print(json.dumps([before.exists, before.dag_known, after.exists, after.dag_known]))
"""


@pytest.mark.slow
def test_a_real_database(tmp_path: Path) -> None:
    environ = {**os.environ, "AIRFLOW_HOME": str(tmp_path), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    command = [sys.executable, "-m", "airflow", "db", "migrate"]
    subprocess.run(command, env=environ, check=True, capture_output=True, timeout=300)
    done = subprocess.run(
        [sys.executable, "-c", ASK], env=environ, check=False, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == [False, False, False, True]
