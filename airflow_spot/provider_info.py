"""What Airflow asks of a provider."""

from __future__ import annotations

from typing import Any

from airflow_spot import __version__


def get_provider_info() -> dict[str, Any]:
    """Describe this provider: the keys that Airflow reads, and those that its documentation tools list."""
    return {
        "package-name": "airflow-spot",
        "name": "SageMaker Spot",
        "description": "SageMaker managed spot training that never loses work and never pays twice.",
        "versions": [__version__],
        "operators": [
            {
                "integration-name": "SageMaker Spot",
                "python-modules": [f"airflow_spot.operators.{name}" for name in ("reaper", "training")],
            }
        ],
        "sensors": [
            {
                "integration-name": "SageMaker Spot",
                "python-modules": [f"airflow_spot.sensors.{name}" for name in ("capacity", "checkpoint", "training")],
            }
        ],
        "hooks": [{"integration-name": "SageMaker Spot", "python-modules": ["airflow_spot.hooks.training"]}],
        "triggers": [
            {
                "integration-name": "SageMaker Spot",
                "python-modules": [f"airflow_spot.triggers.{name}" for name in ("checkpoints", "training")],
            }
        ],
        "task-decorators": [
            {"name": "sagemaker_spot", "class-name": "airflow_spot.decorators.training.sagemaker_spot_task"}
        ],
        "extra-links": [
            "airflow_spot.links.training.SageMakerTrainingJobLink",
            "airflow_spot.links.training.SageMakerTrainingLogsLink",
            "airflow_spot.links.training.SageMakerCheckpointsLink",
            "airflow_spot.links.training.SageMakerModelLink",
            "airflow_spot.links.training.SpotTimelineLink",
        ],
        "config": {
            "airflow_spot": {
                "description": "Options of the airflow-spot provider.",
                "options": {
                    "namespace": {
                        "description": (
                            "Keeps two Airflow deployments apart that train in one AWS account and region: it is "
                            "part of every run's key. Unset, it is the MWAA environment's name, else the base URL "
                            "unless that is a default, else the Variable airflow_spot_namespace, which the first "
                            "task makes. "
                            "Changing it orphans unfinished runs."
                        ),
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "ml-platform-prod",
                        "default": None,
                    },
                    "check_interval": {
                        "description": (
                            "Polling interval in seconds of a training job, for tasks that do not set "
                            "check_interval themselves."
                        ),
                        "version_added": "0.1.0",
                        "type": "float",
                        "example": "60",
                        "default": "30",
                    },
                    "events_queue_url": {
                        "description": (
                            "The SQS queue that SageMaker's events come to: a triggerer is notified of a change at "
                            "once and polls rarely. For tasks that do not set events_queue_url themselves."
                        ),
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "https://sqs.eu-central-1.amazonaws.com/123456789012/airflow-spot-events",
                        "default": None,
                    },
                    "prices": {
                        "description": (
                            "A JSON file of on-demand prices, from which costs in logs and results are calculated: "
                            '{"currency": "USD", "hourly": {"ml.g5.xlarge": "1.408"}}. They override those of AWS. '
                            "Where a price is not known, seconds and percent are shown."
                        ),
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "/opt/airflow/prices.json",
                        "default": None,
                    },
                    "aws_prices": {
                        "description": (
                            "Whether AWS is asked (pricing:GetProducts) for the on-demand prices that the file of "
                            "prices does not have: once a day and instance type."
                        ),
                        "version_added": "0.1.0",
                        "type": "boolean",
                        "example": "False",
                        "default": "True",
                    },
                    "cache_folder": {
                        "description": (
                            "Where answers of AWS about prices, quotas and spot capacity are kept. Unset, "
                            "airflow_spot_cache below Airflow's home; where that cannot be written, in memory."
                        ),
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "/opt/airflow/cache",
                        "default": None,
                    },
                    "preflight": {
                        "description": (
                            "What a task does about what would go wrong, before the first job of a generation: warn "
                            "(without further permissions), fail (asks all that airflow-spot check does) or off. For "
                            "tasks that do not set preflight themselves."
                        ),
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "fail",
                        "default": "warn",
                    },
                    "tabs": {
                        "description": (
                            "Whether each task instance and DAG run has a tab for spot trainings, on Airflow 3.1 and "
                            "above. Airflow shows a tab on every task, whatever it is."
                        ),
                        "version_added": "0.1.0",
                        "type": "boolean",
                        "example": "False",
                        "default": "True",
                    },
                    "actions": {
                        "description": (
                            "Whether the pages let whoever may edit a task instance stop its training job, or have "
                            "the run continue on-demand."
                        ),
                        "version_added": "0.1.0",
                        "type": "boolean",
                        "example": "False",
                        "default": "True",
                    },
                    "events_file": {
                        "description": (
                            "A file that each run's events are appended to as JSON lines, by workers and the "
                            "triggerer: for development."
                        ),
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "/opt/airflow/events.jsonl",
                        "default": None,
                    },
                    "stop_on_kill": {
                        "description": (
                            "Whether a task that is killed or gives up stops its training job, for tasks that do "
                            "not set stop_on_kill themselves. The job's checkpoints stay either way."
                        ),
                        "version_added": "0.1.0",
                        "type": "boolean",
                        "example": "False",
                        "default": "True",
                    },
                },
            }
        },
    }
