"""A heterogeneous cluster: data on CPUs, the model on a GPU."""

from airflow.providers.amazon.aws.operators.sagemaker import SageMakerTrainingOperator
from airflow.sdk import DAG

from tests.dags.styles.common import training_config

with DAG("groups", schedule=None) as dag:
    SageMakerTrainingOperator(
        task_id="train",
        config={
            **training_config("groups"),
            "ResourceConfig": {
                "InstanceGroups": [
                    {"InstanceGroupName": "data", "InstanceType": "ml.c5.18xlarge", "InstanceCount": 2},
                    {"InstanceGroupName": "train", "InstanceType": "ml.p3.2xlarge", "InstanceCount": 1},
                ],
                "VolumeSizeInGB": 30,
            },
        },
        print_log=False,
    )
