"""The built-in XGBoost by another Python, where this project is not installed, and on Parquet."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_spot.local import LocalSageMaker
from bench.environments import HOME, Environment, NotMade
from tests.local.builtin.test_xgboost import IMAGE, channel, train
from tests.local.jobs import Jobs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

# pyarrow takes 170 MB, too much to have beside the other tests.
ENVIRONMENT = Environment(HOME / "parquet", "XGBoost with Parquet", ("xgboost-cpu>=3.0,<4", "pyarrow>=15"))
WRITE = """
import sys, pyarrow
from pyarrow import parquet
rows = [(3 * x - y, x, y) for x in range(8) for y in range(8)]
label, first, second = zip(*rows)
parquet.write_table(pyarrow.table({"label": label, "x": first, "y": second}), sys.argv[1])
"""


@pytest.fixture(scope="module")
def python() -> Path:
    if not (sys.platform == "linux" and sys.maxsize > 2**32):
        pytest.skip("xgboost-cpu is for Linux")
    try:
        return ENVIRONMENT.interpreter(print)
    except NotMade as error:
        pytest.skip(f"no environment with pyarrow: {error}")


@pytest.fixture(scope="module")
def elsewhere(python: Path) -> Iterator[Jobs]:
    with LocalSageMaker(images={"*sagemaker-xgboost*": str(python)}) as sm:
        yield Jobs(sm)


def test_parquet(elsewhere: Jobs, python: Path, tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    subprocess.run([python, "-c", WRITE, path], check=True)
    channels = [
        channel(elsewhere, name, path.read_bytes(), "application/x-parquet") for name in ("train", "validation")
    ]
    job = train(elsewhere, IMAGE, channels, num_round=12, eta=0.5, max_depth=3)
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    final = {metric["MetricName"]: metric["Value"] for metric in job["FinalMetricDataList"]}
    assert final["validation:rmse"] < 1


def test_parquet_that_is_none(elsewhere: Jobs) -> None:
    job = train(elsewhere, IMAGE, [channel(elsewhere, "train", "1,2", "application/x-parquet")], num_round=1)
    assert "Failed to load parquet data" in job["FailureReason"]


def test_a_metric_of_a_package_that_is_not_there(elsewhere: Jobs) -> None:
    rows = "".join(f"{x % 2},{x}\n" for x in range(20))
    job = train(
        elsewhere,
        IMAGE,
        [channel(elsewhere, "train", rows)],
        num_round=1,
        objective="binary:logistic",
        eval_metric="accuracy",
    )
    assert "scikit-learn for accuracy" in job["FailureReason"] and "airflow-spot[xgboost]" in job["FailureReason"]
