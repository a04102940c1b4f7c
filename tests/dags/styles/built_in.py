"""AWS's k-means, which keeps no checkpoints: an hour on spot at most, which is the default then."""

from airflow.providers.amazon.aws.operators.sagemaker import SageMakerTrainingOperator
from airflow.sdk import DAG

with DAG("built_in", schedule=None) as dag:
    SageMakerTrainingOperator(
        task_id="train",
        config={
            "TrainingJobName": "mnist-kmeans",
            "AlgorithmSpecification": {
                "TrainingImage": "382416733822.dkr.ecr.us-east-1.amazonaws.com/kmeans:1",
                "TrainingInputMode": "File",
            },
            "HyperParameters": {"k": "10", "feature_dim": "784", "mini_batch_size": "500"},
            "InputDataConfig": [
                {
                    "ChannelName": "train",
                    "DataSource": {
                        "S3DataSource": {
                            "S3DataType": "S3Prefix",
                            "S3Uri": "s3://styles/data",
                            "S3DataDistributionType": "FullyReplicated",
                        }
                    },
                    "CompressionType": "None",
                    "RecordWrapperType": "None",
                    "InputMode": "File",
                }
            ],
            "OutputDataConfig": {"S3OutputPath": "s3://styles/kmeans"},
            "ResourceConfig": {"InstanceType": "ml.c4.8xlarge", "InstanceCount": 1, "VolumeSizeInGB": 50},
            "RoleArn": "arn:aws:iam::123456789012:role/trainer",
        },
        print_log=False,
    )
