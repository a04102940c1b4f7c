"""SageMaker training script (script mode): one MLflow run over all attempts and restarts of a training.

``AIRFLOW_SPOT_RUN_ID`` is the same in all of them. Each start finds the run that was begun before the interruption by
that tag, and logs on. The training itself is a line that is fitted by hand: what matters here is beside it.

The container needs ``mlflow`` and MLFLOW_TRACKING_URI, such as the ARN of a tracking server of SageMaker (then also
``sagemaker-mlflow``). Metrics are logged by their step: what is trained twice after an interruption is logged twice
at the same step, with the same value.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import mlflow

from airflow_spot.checkpoint import Checkpointer


def parse_args() -> argparse.Namespace:
    """Read the hyperparameters, which script mode passes as arguments, and the places SageMaker names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=200, help="steps in all")
    parser.add_argument("--checkpoint_every", type=int, default=20, help="steps between checkpoints")
    parser.add_argument("--step_seconds", type=float, default=0.0, help="what a step takes at least")
    parser.add_argument("--rate", type=float, default=0.05)
    parser.add_argument("--model_dir", type=Path, default=os.environ.get("SM_MODEL_DIR", "/opt/ml/model"))
    return parser.parse_args()


def tracked() -> AbstractContextManager[object]:
    """Go on with the MLflow run of this training, or begin it; without a tracking server, track nothing."""
    name = os.environ.get("AIRFLOW_SPOT_RUN_ID")
    if "MLFLOW_TRACKING_URI" not in os.environ:
        return nullcontext()
    if name is None:  # not started by Airflow
        return mlflow.start_run()
    found = mlflow.search_runs(filter_string=f"tags.airflow_spot_run_id = '{name}'", output_format="list")
    if found:
        return mlflow.start_run(run_id=found[0].info.run_id)
    return mlflow.start_run(run_name=name, tags={"airflow_spot_run_id": name})


def main() -> None:
    """Train what is missing, save the model."""
    args = parse_args()
    state = {"weight": 0.0, "bias": 0.0}
    checkpoints = Checkpointer()
    found = checkpoints.load(lambda path: json.loads(Path(path).read_text()))
    if found:
        state = found.state
    checkpoints.on_sigterm()
    first = found.step if found else 0
    print(f"FROM {first}", flush=True)
    with tracked():
        for step in range(first + 1, args.steps + 1):
            x = random.Random(step).uniform(-1, 1)  # noqa: S311 - by its step: the same after an interruption
            error = state["weight"] * x + state["bias"] - (3 * x + 1)
            state["weight"] -= args.rate * error * x
            state["bias"] -= args.rate * error
            time.sleep(args.step_seconds)
            print(f"step={step} loss={error * error:.6f}", flush=True)
            if step % 5 == 0 and mlflow.active_run():
                mlflow.log_metric("loss", error * error, step=step)
            if checkpoints.due(step, every=args.checkpoint_every):
                checkpoints.save(step, lambda path: Path(path).write_text(json.dumps(state)))
            checkpoints.progress(step, args.steps, {"loss": error * error})
    args.model_dir.mkdir(parents=True, exist_ok=True)
    (args.model_dir / "model.json").write_text(json.dumps(state))


if __name__ == "__main__":
    main()
