"""Spot as a switch in the config, with what the API wants beside it."""

from airflow.providers.amazon.aws.operators.sagemaker import SageMakerTrainingOperator
from airflow.sdk import DAG

from tests.dags.styles.common import training_config

with DAG("on_demand", schedule=None, params={"spot": False}) as dag:
    SageMakerTrainingOperator(
        task_id="train",
        config={
            **training_config("on-demand"),
            "EnableManagedSpotTraining": "{{ params.spot }}",
            "StoppingCondition": {"MaxRuntimeInSeconds": 600, "MaxWaitTimeInSeconds": 1200},
        },
        print_log=False,
    )
