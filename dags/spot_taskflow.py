"""A function that trains on spot: TaskFlow in, TaskFlow out.

`train` runs in a SageMaker job: its arguments come from the task before, and its result goes to the task behind it. It
imports what it uses, and resumes from the checkpoints that it is given. On AWS, set `bucket` and `role` when you
trigger it, and an `image` of your region.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

try:
    from airflow.sdk import DAG, Param, task
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.decorators import task
    from airflow.models.param import Param

if TYPE_CHECKING:
    from airflow_spot.checkpoint import Checkpointer


@task
def choose(depths: list[int]) -> dict[str, int]:
    """Return what to train with: here the deepest trees that were asked for."""
    return {"depth": max(depths)}


@task.sagemaker_spot(
    image="{{ params.image }}",
    instance_type="{{ params.instance_type }}",
    role="{{ params.role }}",
    output_path="s3://{{ params.bucket }}/taskflow",
    max_run="1h",
    retries=2,
    deferrable=True,
)
def train(depth: int, rounds: str, seconds_per_round: str, checkpoint: Checkpointer) -> dict[str, float]:
    """Train handwritten digits, with a checkpoint after every fifth round."""
    import os
    import time

    import xgboost
    from sklearn.datasets import load_digits

    from airflow_spot.checkpoint.for_xgboost import train as train_rounds

    class Slowly(xgboost.callback.TrainingCallback):
        """Makes it last long enough to be watched."""

        def after_iteration(self, model: object, epoch: int, evals_log: object) -> bool:
            time.sleep(float(seconds_per_round))
            return False

    checkpoint.on_sigterm()
    found = checkpoint.latest()
    pixels, digits = load_digits(return_X_y=True)
    data = xgboost.DMatrix(pixels, digits)
    params = {"objective": "multi:softmax", "num_class": 10, "max_depth": depth, "seed": 1}
    told = {"evals": [(data, "train")], "callbacks": [Slowly()]}
    booster = train_rounds(checkpoint, params, data, rounds=int(rounds), every=5, **told)
    booster.save_model(os.path.join(os.environ["SM_MODEL_DIR"], "model.json"))  # noqa: PTH118
    return {"accuracy": float((booster.predict(data) == digits).mean()), "resumed_from": found.step if found else 0}


@task
def report(result: dict[str, float], model: str) -> str:
    """Fail where the model knows too few of the digits that it was trained on."""
    if result["accuracy"] < 0.9:
        raise ValueError(f"only {result['accuracy']:.0%} of the digits are right")
    return f"{result['accuracy']:.0%}: {model}"


with DAG(
    dag_id="spot_taskflow",
    schedule=None,
    catchup=False,
    doc_md=__doc__,
    tags=["airflow_spot", "example"],
    params={
        "bucket": "airflow-spot-demo",
        "role": "arn:aws:iam::123456789012:role/airflow-spot-demo",
        "image": "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1",
        "instance_type": "ml.m5.large",
        "rounds": Param(20, type="integer", minimum=1),
        "seconds_per_round": Param(0.0, type="number", minimum=0, description="slows training to be watched"),
    },
) as dag:
    trained = train(choose([2, 3])["depth"], "{{ params.rounds }}", "{{ params.seconds_per_round }}")
    # What the operator returns is in an XCom of its own.
    report(trained, "{{ ti.xcom_pull('train', key='sagemaker_spot')['Spot']['model_artifacts'] }}")


if __name__ == "__main__":
    dag.test()
