"""Runs in the environment under test: the pipeline DAG by `dag.test()`, its training sync or deferrable."""

import json
import sys
import warnings
from pathlib import Path

# What our code does that this version deprecates fails the run.
warnings.filterwarnings("error", module=r"airflow_spot(\.|$)")

folder, deferrable, conf = sys.argv[1:]
sys.path.insert(0, folder)
import spot_training_pipeline  # noqa: E402

dag = spot_training_pipeline.dag
dag.get_task("train").deferrable = json.loads(deferrable)
run = dag.test(run_conf=json.loads(conf))
states = {ti.task_id: str(getattr(ti.state, "value", ti.state)) for ti in run.get_task_instances()}
Path("pipeline.json").write_text(json.dumps({"state": str(getattr(run.state, "value", run.state)), "tasks": states}))
