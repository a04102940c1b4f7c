"""A company's own operator: its defaults, and a role by name that it makes an ARN of."""

from airflow.providers.amazon.aws.operators.sagemaker import SageMakerTrainingOperator
from airflow.sdk import DAG

from tests.dags.styles.common import training_config


class CompanyTrainingOperator(SageMakerTrainingOperator):
    template_fields = (*SageMakerTrainingOperator.template_fields, "team")

    def __init__(self, *, team: str, **kwargs):
        super().__init__(check_interval=60, print_log=False, **kwargs)
        self.team = team

    def expand_role(self) -> None:
        self.config["RoleArn"] = f"arn:aws:iam::123456789012:role/{self.config['RoleArn']}"

    def preprocess_config(self) -> None:
        self.config.setdefault("Tags", []).append({"Key": "team", "Value": self.team})
        super().preprocess_config()

    def execute(self, context):
        self.log.info("Training for %s", self.team)
        return super().execute(context)


with DAG("subclassed", schedule=None, params={"team": "pricing"}) as dag:
    CompanyTrainingOperator(
        task_id="train", team="{{ params.team }}", config={**training_config("subclassed"), "RoleArn": "trainer"}
    )
