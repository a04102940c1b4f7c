"""Runs in the environment under test: the pipeline DAG by `dag.test()`, its training sync or deferrable."""

import json
import sys
from pathlib import Path

folder, deferrable, conf = sys.argv[1:]
sys.path.insert(0, folder)
import spot_training_pipeline  # noqa: E402

dag = spot_training_pipeline.dag
dag.get_task("train").deferrable = json.loads(deferrable)
run = dag.test(run_conf=json.loads(conf))
states = {ti.task_id: str(getattr(ti.state, "value", ti.state)) for ti in run.get_task_instances()}
Path("pipeline.json").write_text(json.dumps({"state": str(getattr(run.state, "value", run.state)), "tasks": states}))
