"""PyTorch in a job: what it asks of the machine beside its own code."""

from __future__ import annotations

import os
import subprocess

import pytest

from airflow_spot.local import LocalSageMaker
from tests.local.jobs import Jobs

VARIABLE = "AIRFLOW_SPOT_TEST_TORCH"
LOADER = """
import os, torch
from torch.utils.data import DataLoader, TensorDataset
if __name__ == "__main__":
    data = TensorDataset(torch.arange(64.0).reshape(64, 1))
    for strategy in ("file_descriptor", "file_system"):
        torch.multiprocessing.set_sharing_strategy(strategy)
        seen = sum(batch[0].sum().item() for batch in DataLoader(data, batch_size=4, num_workers=2))
        print(strategy, seen)
        assert seen == 2016.0
"""


@pytest.fixture
def torch_python() -> str:
    """An interpreter with PyTorch, which is no part of this environment: it is hundreds of megabytes."""
    python = os.environ.get(VARIABLE)
    if not python:
        pytest.skip(f"{VARIABLE} names no interpreter with PyTorch")
    subprocess.run([python, "-c", "import torch"], check=True)
    return python


@pytest.mark.slow
@pytest.mark.parametrize("isolation", ["auto", "relocate"])
def test_a_data_loader_with_two_workers_runs(torch_python: str, isolation: str) -> None:
    with LocalSageMaker(python=torch_python, isolation=isolation, grace_seconds=0.5) as service:
        done = Jobs(service).run(LOADER, spot=False)
    assert done["TrainingJobStatus"] == "Completed", done
