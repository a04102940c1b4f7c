"""AWS's algorithms that keep no checkpoints, and what SageMaker lets them wait on spot."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_spot.core import spot_rules
from airflow_spot.core.builtin_algorithms import ACCOUNTS, REPOSITORIES, without_checkpoints

KMEANS = "382416733822.dkr.ecr.us-east-1.amazonaws.com/kmeans:1"
DEEPAR_CHINA = "390948362332.dkr.ecr.cn-north-1.amazonaws.com.cn/forecasting-deepar:latest"
OLD_XGBOOST = "685385470294.dkr.ecr.eu-west-1.amazonaws.com/xgboost:1"
CHECKPOINTING = [
    "141502667606.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-xgboost:1.7-1",
    "685385470294.dkr.ecr.eu-west-1.amazonaws.com/image-classification:1",
    "811284229777.dkr.ecr.us-east-1.amazonaws.com/semantic-segmentation:1",
]
OTHERS = [
    "123456789012.dkr.ecr.us-east-1.amazonaws.com/kmeans:1",  # somebody's own
    "382416733822.dkr.ecr.us-east-1.amazonaws.com/team/kmeans:1",
    "kmeans",
    "{{ var.value.image }}",
    None,
    7,
]


@pytest.mark.parametrize(
    ("image", "name"), [(KMEANS, "kmeans"), (DEEPAR_CHINA, "forecasting-deepar"), (OLD_XGBOOST, "xgboost")]
)
def test_an_algorithm_without_checkpoints_is_known_by_its_registry(image: str, name: str) -> None:
    assert without_checkpoints({"TrainingImage": image}) == name
    assert without_checkpoints({"TrainingImage": f"{image.partition(':')[0]}@sha256:{'0' * 64}"}) == name


@pytest.mark.parametrize("image", [*CHECKPOINTING, *OTHERS])
def test_other_images_are_left_alone(image: Any) -> None:
    assert without_checkpoints({"TrainingImage": image}) is None


@pytest.mark.parametrize("specification", [None, "text", {}, {"AlgorithmName": "arn:aws:sagemaker:…:algorithm/own"}])
def test_what_names_no_image_is_left_alone(specification: Any) -> None:
    assert without_checkpoints(specification) is None


def test_the_accounts_are_account_numbers() -> None:
    assert all(len(account) == 12 and account.isdigit() for account in ACCOUNTS)
    assert "sagemaker-xgboost" not in REPOSITORIES


def request(image: str, *, spot: Any = True, **stopping: int) -> dict[str, Any]:
    return {
        "AlgorithmSpecification": {"TrainingImage": image},
        "EnableManagedSpotTraining": spot,
        "StoppingCondition": stopping,
    }


@pytest.mark.parametrize(
    ("stopping", "field"),
    [
        ({"MaxRuntimeInSeconds": 600, "MaxWaitTimeInSeconds": 7200}, "MaxWaitTimeInSeconds"),
        ({"MaxRuntimeInSeconds": 7200, "MaxWaitTimeInSeconds": 7200}, "MaxRuntimeInSeconds"),
        ({"MaxRuntimeInSeconds": 7200}, "MaxRuntimeInSeconds"),
    ],
)
def test_more_than_an_hour_is_refused_with_the_reason(stopping: dict[str, int], field: str) -> None:
    (error,) = spot_rules.violations(request(KMEANS, **stopping))
    assert error.name == f"StoppingCondition.{field}"
    assert "kmeans keeps no checkpoints" in error.fix
    assert "3600 s" in error.fix
    assert "use_spot_instances=False" in error.fix


def test_an_hour_is_not() -> None:
    assert not list(spot_rules.violations(request(KMEANS, MaxRuntimeInSeconds=3600, MaxWaitTimeInSeconds=3600)))


@pytest.mark.parametrize("image", CHECKPOINTING)
def test_others_may_wait_for_longer(image: str) -> None:
    assert not list(spot_rules.violations(request(image, MaxRuntimeInSeconds=7200, MaxWaitTimeInSeconds=90000)))


def test_on_demand_may_run_for_longer() -> None:
    assert not list(spot_rules.violations(request(KMEANS, spot=False, MaxRuntimeInSeconds=86400)))
