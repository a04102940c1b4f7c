"""One training a member: a mapped operator."""

from airflow.providers.amazon.aws.operators.sagemaker import SageMakerTrainingOperator
from airflow.sdk import DAG

from tests.dags.styles.common import training_config

with DAG("mapped", schedule=None) as dag:
    SageMakerTrainingOperator.partial(
        task_id="train", aws_conn_id="aws_default", check_interval=60, print_log=False
    ).expand(config=[training_config(f"member-{rate}", rate=str(rate)) for rate in (1, 2)])
