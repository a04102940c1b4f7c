"""In the style of Airflow's own system test of SageMaker: a setup task makes the configs, a sensor waits by name."""

from airflow.providers.amazon.aws.operators.sagemaker import SageMakerTrainingOperator
from airflow.providers.amazon.aws.sensors.sagemaker import SageMakerTrainingSensor
from airflow.sdk import DAG, chain, task

from tests.dags.styles.common import training_config


@task
def set_up(ti=None):
    name = "env-1-train"
    ti.xcom_push(key="training_config", value=training_config(name))
    ti.xcom_push(key="training_job_name", value=name)


with DAG("system_training", schedule=None) as dag:
    test_setup = set_up()
    train_model = SageMakerTrainingOperator(task_id="train_model", config=test_setup["training_config"])
    # The system test asserts that creating a job does not wait.
    train_model.wait_for_completion = False
    await_training = SageMakerTrainingSensor(
        task_id="await_training", job_name=test_setup["training_job_name"], poke_interval=0.2, print_log=False
    )
    chain(test_setup, train_model, await_training)
