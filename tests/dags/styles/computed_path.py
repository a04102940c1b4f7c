"""The next task computes the model's place from the job's name."""

from airflow.providers.amazon.aws.operators.sagemaker import SageMakerModelOperator, SageMakerTrainingOperator
from airflow.sdk import DAG

from tests.dags.styles.common import IMAGE, ROLE, training_config

JOB = "computed-{{ ts_nodash }}"

with DAG("computed_path", schedule=None) as dag:
    train = SageMakerTrainingOperator(task_id="train", config=training_config(JOB), print_log=False)
    model = SageMakerModelOperator(
        task_id="model",
        config={
            "ModelName": JOB,
            "ExecutionRoleArn": ROLE,
            "PrimaryContainer": {"Image": IMAGE, "ModelDataUrl": f"s3://styles/output/{JOB}/output/model.tar.gz"},
        },
    )
    train >> model
