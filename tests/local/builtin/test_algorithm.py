"""Which images hold a built-in algorithm, and which of its releases."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from airflow_spot.local.builtin import algorithm, metric_definitions
from airflow_spot.local.container.images import Images
from airflow_spot.local.settings import Settings

REGISTRY = "683313688378.dkr.ecr.us-east-1.amazonaws.com"


@pytest.mark.parametrize(
    ("image", "release"),
    [
        (f"{REGISTRY}/sagemaker-xgboost:1.7-1", (1, 7)),
        (f"{REGISTRY}/sagemaker-xgboost:0.90-1-cpu-py3", (0, 90)),
        (f"{REGISTRY}/sagemaker-xgboost:3.0-5", (3, 0)),
        (f"{REGISTRY}/sagemaker-xgboost@sha256:{'0' * 64}", (3, 0)),
        ("sagemaker-xgboost", (3, 0)),
        (f"{REGISTRY}/xgboost:1", (0, 72)),
        (f"{REGISTRY}/xgboost:latest", (0, 72)),
        (f"{REGISTRY}/xgboost:mine", None),
        (f"{REGISTRY}/my-xgboost:1", None),
        (f"{REGISTRY}/sagemaker-xgboost/other:1", None),
        ("image:1", None),
        (None, None),
    ],
)
def test_names(image: str | None, release: tuple[int, int] | None) -> None:
    found = algorithm(image)
    assert (found and found.release) == release


def test_metrics_are_found_in_the_log() -> None:
    known = algorithm("sagemaker-xgboost:1.7-1")
    assert known is not None
    assert len(known.metrics) <= 40  # as many as AWS takes
    regex = {metric["Name"]: metric["Regex"] for metric in known.metrics}
    line = "[12]#011train-rmse:0.125#011validation-rmse:2.5e-05"
    for name, value in (("train:rmse", 0.125), ("validation:rmse", 2.5e-05)):
        match = re.search(regex[name], line)
        assert match and float(match[1]) == value
    assert not re.search(regex["validation:mse"], line)


@pytest.mark.parametrize(
    ("given", "expected", "own"),
    [
        ((), ["/python", "XGB", "1.7"], None),
        ((("*sagemaker-xgboost*", "/other/bin/python3.12"),), ["/other/bin/python3.12", "XGB", "1.7"], None),
        ((("*", "./mine --fast"),), None, ["./mine", "--fast"]),
    ],
)
def test_what_runs(given: tuple[tuple[str, str], ...], expected: list[str] | None, own: list[str] | None) -> None:
    images, image = Images(Settings("/nowhere", images=given, python="/python")), "sagemaker-xgboost:1.7-1"
    assert images.entrypoint(image) == own
    if expected is not None:
        found = images.built_in(image)
        assert found is not None
        assert [*found[:-2], Path(found[-2]).name.upper(), found[-1]] == expected
    assert images.built_in("image:1") is None


def test_definitions_of_a_job() -> None:
    built_in, own = {"TrainingImage": "sagemaker-xgboost:1.7-1"}, [{"Name": "a", "Regex": "a(.)"}]
    assert "validation:rmse" in [each["Name"] for each in metric_definitions(built_in, {})]
    assert metric_definitions(built_in, {"sagemaker_program": "train.py"}) == []
    assert metric_definitions({**built_in, "MetricDefinitions": own}, {}) == own
    assert metric_definitions({"TrainingImage": "image:1"}, {}) == []
