"""
An environment for each SageMaker SDK: neither can be installed beside Airflow's own pins.

Versions are pinned, so that a release of theirs is met when this is changed, and not in somebody's merge. Of SDK 3 it
is the part that trains, sagemaker-train, without MLflow, which half of its modules import and ModelTrainer does not.
"""

from __future__ import annotations

from bench.environments import HOME, Environment

SDK_2 = Environment(HOME / "sdk2", "SageMaker SDK 2", ("sagemaker==2.257.7",))
SDK_3 = Environment(
    HOME / "sdk3", "SageMaker SDK 3", ("sagemaker-core==2.27.0", "graphene<4"), alone=("sagemaker-train==1.27.0",)
)
