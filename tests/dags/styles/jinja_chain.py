"""The next task pulls the model's place from the result, in Jinja."""

from airflow.providers.amazon.aws.operators.sagemaker import SageMakerModelOperator, SageMakerTrainingOperator
from airflow.sdk import DAG

from tests.dags.styles.common import IMAGE, ROLE, training_config

with DAG("jinja_chain", schedule=None) as dag:
    train = SageMakerTrainingOperator(task_id="train", config=training_config("chain"), print_log=False)
    model = SageMakerModelOperator(
        task_id="model",
        config={
            "ModelName": "chain-{{ ts_nodash }}",
            "ExecutionRoleArn": ROLE,
            "PrimaryContainer": {
                "Image": IMAGE,
                "ModelDataUrl": "{{ ti.xcom_pull('train')['Training']['ModelArtifacts']['S3ModelArtifacts'] }}",
            },
        },
    )
    train >> model
