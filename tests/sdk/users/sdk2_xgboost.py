"""SDK 2: the XGBoost estimator with a script, on spot; its model deployed and asked."""

import json
import sys
from pathlib import Path

from sagemaker.deserializers import JSONDeserializer
from sagemaker.serializers import JSONSerializer
from sagemaker.xgboost import XGBoost

bucket, name = sys.argv[1:3]
source = str(Path(__file__).parent / "source")
estimator = XGBoost(
    base_job_name=name,
    entry_point="train.py",
    source_dir=source,
    framework_version="1.7-1",
    role="arn:aws:iam::123456789012:role/trainer",
    instance_type="ml.m5.xlarge",
    instance_count=1,
    hyperparameters={"steps": 60, "hold-at": 30},
    use_spot_instances=True,
    max_run=600,
    max_wait=1200,
    checkpoint_s3_uri=f"s3://{bucket}/checkpoints/{name}",
)
estimator.fit({"train": f"s3://{bucket}/data"}, wait=True, logs=False)
predictor = estimator.create_model(entry_point="inference.py", source_dir=source).deploy(
    initial_instance_count=1,
    instance_type="ml.m5.large",
    serializer=JSONSerializer(),
    deserializer=JSONDeserializer(),
    wait=False,
)
client = estimator.sagemaker_session.sagemaker_client
client.get_waiter("endpoint_in_service").wait(EndpointName=predictor.endpoint_name, WaiterConfig={"Delay": 1})
answer = predictor.predict([1, 2])
predictor.delete_endpoint()
print(
    json.dumps({"job": estimator.latest_training_job.name, "model_data": estimator.model_data, "predictions": answer})
)
