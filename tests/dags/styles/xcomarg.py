"""A config that another task makes, as its output."""

from airflow.providers.amazon.aws.operators.sagemaker import SageMakerTrainingOperator
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG

from tests.dags.styles.common import training_config


def make_config():
    return training_config("from-xcom", epochs="2")


with DAG("xcomarg", schedule=None) as dag:
    config = PythonOperator(task_id="config", python_callable=make_config)
    train = SageMakerTrainingOperator(task_id="train", config=config.output, print_log=False)
