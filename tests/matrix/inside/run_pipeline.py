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
told = {"state": str(getattr(run.state, "value", run.state)), "tasks": states, "xcoms": [], "links": {}}

from airflow_spot.compat import rows  # noqa: E402

with rows.session() as opened:
    model, _ = rows._models()
    found = opened.query(model.key).filter_by(dag_id=dag.dag_id, run_id=run.run_id, task_id="train")
    told["xcoms"] = sorted(key for (key,) in found)
    (ti,) = [one for one in run.get_task_instances() if one.task_id == "train"]
    if rows.airflow_version.startswith("2."):  # Airflow 2's webserver asks the links, Airflow 3's reads the XComs
        told["links"] = {
            one.key: one.get_link(None, ti_key=ti.key) for one in dag.get_task("train").operator_extra_links
        }
    else:
        kept = opened.query(model.key, model.value).filter_by(dag_id=dag.dag_id, run_id=run.run_id, task_id="train")
        told["links"] = {key: value for key, value in kept if key.startswith("sagemaker_spot")}
Path("pipeline.json").write_text(json.dumps(told))
