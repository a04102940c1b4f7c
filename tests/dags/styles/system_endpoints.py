"""In the style of Airflow's own system test of endpoints: train, model, endpoint configuration, endpoint."""

from airflow.providers.amazon.aws.operators.sagemaker import (
    SageMakerEndpointConfigOperator,
    SageMakerEndpointOperator,
    SageMakerModelOperator,
    SageMakerTrainingOperator,
)
from airflow.sdk import DAG, chain, task

from tests.dags.styles.common import IMAGE, ROLE, training_config


@task
def set_up(ti=None):
    name = "env-2"
    variant = {"VariantName": "v", "ModelName": name, "InstanceType": "ml.t2.medium", "InitialInstanceCount": 1}
    data = f"s3://styles/output/{name}/output/model.tar.gz"
    ti.xcom_push(key="training_config", value=training_config(name))
    ti.xcom_push(
        key="model_config",
        value={
            "ModelName": name,
            "ExecutionRoleArn": ROLE,
            "PrimaryContainer": {"Mode": "SingleModel", "Image": IMAGE, "ModelDataUrl": data},
        },
    )
    ti.xcom_push(key="endpoint_config", value={"EndpointConfigName": name, "ProductionVariants": [variant]})
    ti.xcom_push(key="deploy", value={"EndpointName": name, "EndpointConfigName": name})


with DAG("system_endpoints", schedule=None) as dag:
    test_setup = set_up()
    train_model = SageMakerTrainingOperator(task_id="train_model", config=test_setup["training_config"])
    create_model = SageMakerModelOperator(task_id="create_model", config=test_setup["model_config"])
    configure = SageMakerEndpointConfigOperator(task_id="configure", config=test_setup["endpoint_config"])
    deploy = SageMakerEndpointOperator(task_id="deploy", config=test_setup["deploy"], check_interval=1)
    chain(test_setup, train_model, create_model, configure, deploy)
