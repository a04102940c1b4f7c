"""PyTorch by its adapter, in an environment of its own: killed at random moments, it ends with the same weights."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.checkpoint.killing import killed_often, seeds

#: A Python that has torch; see tests/local/container/test_torch.py.
PYTHON = os.environ.get("AIRFLOW_SPOT_TEST_TORCH")
ROOT = Path(__file__).parents[2]

TRAINER = """
import hashlib, io, random, sys, time
import torch
from checkpoint import Checkpointer
from checkpoint.for_pytorch import SeededSampler, TorchState

folder, epochs, pause = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
torch.manual_seed(1)
random.seed(1)
torch.set_num_threads(1)
rows = torch.randn(64, 5)
wanted = rows[:, :1] * rows[:, 1:2]
model = torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.Dropout(0.2), torch.nn.Linear(8, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
schedule = torch.optim.lr_scheduler.StepLR(optimizer, 3, 0.9)
checkpoints = Checkpointer(folder)
state = TorchState(model=model, optimizer=optimizer, schedule=schedule)
found = checkpoints.load(state.read)
print("FROM", found.step if found else 0, flush=True)
sampler = SeededSampler(64, seed=3)
BATCHES = 8
for step in range(found.step if found else 0, epochs * BATCHES):
    epoch, batch = divmod(step, BATCHES)
    sampler.go_to(epoch, batch * 8)
    chosen = list(sampler)[:8]
    optimizer.zero_grad()
    noise = random.random() * 0.01 * sum(each.sum() for each in model.parameters())
    loss = ((model(rows[chosen]) - wanted[chosen]) ** 2).mean() + noise
    loss.backward()
    optimizer.step()
    if batch == BATCHES - 1:
        schedule.step()
    time.sleep(pause)
    if checkpoints.due(step + 1, every=5):
        checkpoints.save(step + 1, state.write)
weights = b"".join(value.numpy().tobytes() for value in model.state_dict().values())
print("END", hashlib.sha256(weights).hexdigest(), flush=True)
"""


@pytest.fixture
def trainer(tmp_path: Path) -> Path:
    if PYTHON is None:
        pytest.skip("AIRFLOW_SPOT_TEST_TORCH names no Python that has torch")
    (tmp_path / "train.py").write_text(TRAINER)
    # As it is copied into an image: a package of its own name, without ours.
    package = tmp_path / "checkpoint"
    package.mkdir()
    for path in (ROOT / "airflow_spot" / "checkpoint").glob("*.py"):
        (package / path.name).write_text(path.read_text())
    return tmp_path / "train.py"


@pytest.mark.slow
@pytest.mark.parametrize("seed", seeds(20))
def test_two_hundred_kills(trainer: Path, seed: int) -> None:
    assert PYTHON is not None
    whole = subprocess.run(
        [PYTHON, str(trainer), str(trainer.parent / "whole"), "20", "0"], capture_output=True, text=True, check=True
    )
    found = killed_often([PYTHON, str(trainer), str(trainer.parent / "c"), "20", "0.01"], 10, seed, within=0.6)
    assert found.output.splitlines()[-1] == whole.stdout.splitlines()[-1]
    assert found.begun == sorted(found.begun)
    assert len(set(found.begun)) > 1
