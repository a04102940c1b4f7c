"""TaskFlow around the training: a config before it, its metrics after it."""

from airflow.providers.amazon.aws.operators.sagemaker import SageMakerTrainingOperator
from airflow.sdk import dag as make_dag
from airflow.sdk import task

from tests.dags.styles.common import training_config


@make_dag(schedule=None)
def taskflow():
    @task
    def config() -> dict:
        return {"training": training_config("taskflow")}

    @task
    def report(trained: dict) -> str:
        return trained["Training"]["ModelArtifacts"]["S3ModelArtifacts"]

    train = SageMakerTrainingOperator(task_id="train", config=config()["training"], print_log=False)
    report(train.output)


dag = taskflow()
