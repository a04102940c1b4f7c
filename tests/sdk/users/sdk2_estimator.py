"""SDK 2: the generic Estimator with AWS's built-in XGBoost, on spot, without a role; its model deployed and asked."""

import json
import os
import sys

from sagemaker import image_uris
from sagemaker.estimator import Estimator
from sagemaker.inputs import TrainingInput
from sagemaker.serializers import CSVSerializer

bucket, name = sys.argv[1:3]
estimator = Estimator(
    base_job_name=name,
    image_uri=image_uris.retrieve("xgboost", "us-east-1", version="1.7-1"),
    instance_type="ml.m5.xlarge",
    instance_count=1,
    hyperparameters={
        "objective": "reg:squarederror",
        "num_round": int(os.environ["ROUNDS"]),
        "eta": 0.03,
        "max_depth": 3,
        "nthread": 1,
    },
    use_spot_instances=True,
    max_run=600,
    max_wait=1200,
    checkpoint_s3_uri=f"s3://{bucket}/checkpoints/{name}",
)
rows = TrainingInput(f"s3://{bucket}/data", content_type="text/csv")
estimator.fit({"train": rows, "validation": rows}, wait=True, logs=False)
predictor = estimator.deploy(
    initial_instance_count=1, instance_type="ml.m5.large", serializer=CSVSerializer(), wait=False
)
client = estimator.sagemaker_session.sagemaker_client
client.get_waiter("endpoint_in_service").wait(EndpointName=predictor.endpoint_name, WaiterConfig={"Delay": 1})
answer = predictor.predict([[1, 2], [7, 0]]).decode()
predictor.delete_endpoint()
metrics = estimator.latest_training_job.describe()["FinalMetricDataList"]
print(
    json.dumps(
        {
            "job": estimator.latest_training_job.name,
            "model_data": estimator.model_data,
            "predictions": [float(line) for line in answer.split()],
            "metrics": [metric["MetricName"] for metric in metrics],
        }
    )
)
