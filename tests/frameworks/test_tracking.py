"""One MLflow run over an interruption: the operator's id finds it again, and nothing is logged that was not trained."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from airflow_spot.local import LocalSageMaker
from airflow_spot.operators.training import SageMakerSpotTrainingOperator
from tests.frameworks.environments import UnavailableError, make
from tests.frameworks.examples import SCRIPTS
from tests.frameworks.unpacked import HELD, with_held
from tests.support.requests import stock_config
from tests.support.task import TaskInstance, run_task

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

STEPS = 40
#: What the store holds: of each run its id and tags, and the steps of its losses in the order of their logging.
READ = """
import json, mlflow
runs = mlflow.search_runs(output_format="list")
client = mlflow.MlflowClient()
found = [
    {"tags": run.data.tags, "steps": [each.step for each in client.get_metric_history(run.info.run_id, "loss")]}
    for run in runs
]
print(json.dumps(found))
"""


def test_an_interruption_makes_no_second_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        python = make("mlflow")
    except UnavailableError as error:
        pytest.skip(str(error))
    store = f"sqlite:///{tmp_path}/mlflow.db"
    environment = {"MLFLOW_TRACKING_URI": store, "HELD": "train_tracked.py", "HELD_AT": "step=20 "}
    with LocalSageMaker(grace_seconds=1, checkpoint_seconds=0.2, python=str(python)) as local:
        for key, value in {**local.environ, "AIRFLOW_CONN_AWS_DEFAULT": "aws://"}.items():
            monkeypatch.setenv(key, value)
        local.client("s3").create_bucket(Bucket="bucket")
        config = stock_config("bucket", steps=STEPS, checkpoint_every=4)
        task = SageMakerSpotTrainingOperator(
            task_id="train",
            config={**config, "Environment": environment},
            entry_point=HELD.name,
            source_dir=str(with_held(SCRIPTS / "train_tracked.py", tmp_path / "code")),
            check_interval=0.5,
        )
        interrupter = threading.Thread(target=_interrupt, args=(local,))
        interrupter.start()
        result = run_task(task, TaskInstance("train"))
        interrupter.join()
    said = subprocess.run(
        [python, "-c", READ], check=True, capture_output=True, text=True, env={"MLFLOW_TRACKING_URI": store}
    ).stdout
    (run,) = json.loads(said.splitlines()[-1])
    assert result["Spot"]["interruptions"] == 1
    spot: dict[str, Any] = result["Spot"]
    assert run["tags"]["airflow_spot_run_id"] == f"afspot-{spot['run']}-1"
    assert sorted(set(run["steps"])) == list(range(5, STEPS + 1, 5))


def _interrupt(local: LocalSageMaker) -> None:
    """Take the instance back once a checkpoint is stored."""
    while True:
        for line in local.audit:
            if line["event"] == "checkpoint" and line["action"] == "upload" and "step-" in line["key"]:
                local.interrupt(line["job"], reclaim="kill")
                return
        time.sleep(0.1)
