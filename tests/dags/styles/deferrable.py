"""The stock operator's options, all of them, deferrable."""

from airflow.providers.amazon.aws.operators.sagemaker import SageMakerTrainingOperator
from airflow.sdk import DAG

from tests.dags.styles.common import training_config

with DAG("deferrable", schedule=None) as dag:
    SageMakerTrainingOperator(
        task_id="train",
        config=training_config("deferrable"),
        aws_conn_id="aws_default",
        region_name="us-east-1",
        deferrable=True,
        check_interval=1,
        max_attempts=100,
        max_ingestion_time=3600,
        check_if_job_exists=True,
        action_if_job_exists="fail",
        print_log=True,
    )
