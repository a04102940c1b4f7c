"""PyTorch by its adapter, in an environment of its own: killed at random moments, it ends with the same weights."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.checkpoint.killing import killed_often
from tests.matrix.environment import ROOT
from tests.support.extent import ALL, seeds

TRAINER = """
import hashlib, os, random, sys, time
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
first = found.step if found else 0
for step in range(first, epochs * BATCHES):
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
    print("step=%d" % (step + 1), flush=True)
    if step + 1 - first == int(os.environ.get("HOLD_AFTER", 0)):
        time.sleep(600)  # until it is killed
weights = b"".join(value.numpy().tobytes() for value in model.state_dict().values())
print("END", hashlib.sha256(weights).hexdigest(), flush=True)
"""


#: Two processes' shares of a shuffle, together and from the middle on.
SAMPLER = """
from checkpoint.for_pytorch import SeededSampler

alone = SeededSampler(11, seed=3)
alone.go_to(2, 4)
shares = [SeededSampler(11, seed=3, rank=rank, world=2) for rank in (0, 1)]
for each in shares:
    each.go_to(2, 4)
assert list(alone) == [*[number for pair in zip(*shares) for number in pair], list(alone)[-1]], list(alone)
assert [len(each) for each in (alone, *shares)] == [7, 3, 3] == [len(list(each)) for each in (alone, *shares)]
print("END")
"""

#: Numbers of NumPy come back as Python's; what could not be read after an interruption is refused at the first save.
NO_TENSORS = """
import sys
import numpy, torch
from checkpoint import Checkpointer
from checkpoint.for_pytorch import TorchState

def state(rate):
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    optimizer = torch.optim.AdamW(model.parameters(), lr=numpy.logspace(-3, -1, 3)[1])
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    return optimizer, TorchState(model=model, optimizer=optimizer, schedule=schedule)

optimizer, first = state(lambda step: 1.0)
checkpoints = Checkpointer(sys.argv[1])
checkpoints.save(1, first.write)
optimizer, second = state(lambda step: 1.0)
optimizer.param_groups[0]["lr"] = 3.0
assert checkpoints.load(second.read).step == 1
assert optimizer.param_groups[0]["lr"] == numpy.logspace(-3, -1, 3)[1]

class Rate:
    def __init__(self):
        self.hidden = Rate

    def __call__(self, step):
        return 1.0

try:
    checkpoints.save(2, state(Rate())[1].write)
except TypeError as error:
    print("END", error)
assert checkpoints.latest().step == 1
"""

#: A checkpoint of two processes, with which one continues.
FEWER = """
import sys
import torch
from checkpoint import Checkpointer
from checkpoint.for_pytorch import TorchState, random_state
from checkpoint.for_pytorch_hosts import join, load, save

join()
checkpoints, state = Checkpointer(sys.argv[1]), TorchState(model=torch.nn.Linear(2, 2))
checkpoints.save(1, lambda path: state.write(path, [random_state()] * 2))
assert load(checkpoints, state).step == 1
save(checkpoints, 2, state)
print("END")
assert load(checkpoints, state).step == 2
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the library as it is copied into an image: a package of its own name, without ours."""
    package = tmp_path / "checkpoint"
    package.mkdir()
    for path in (ROOT / "airflow_spot" / "checkpoint").glob("*.py"):
        (package / path.name).write_text(path.read_text())
    (tmp_path / "train.py").write_text(TRAINER)
    (tmp_path / "sampler.py").write_text(SAMPLER)
    (tmp_path / "no_tensors.py").write_text(NO_TENSORS)
    (tmp_path / "fewer.py").write_text(FEWER)
    return tmp_path


def run(python: Path, *arguments: object, **environ: str) -> str:
    command = [python, *map(str, arguments)]
    whole = {**os.environ, **environ}
    return subprocess.run(command, capture_output=True, text=True, check=True, env=whole).stdout


@pytest.mark.slow
@pytest.mark.parametrize("seed", seeds(4))
def test_killed_without_a_loader_it_ends_with_the_same_weights(torch_python: Path, folder: Path, seed: int) -> None:
    whole = run(torch_python, folder / "train.py", folder / "whole", 20, 0)
    command = [str(torch_python), str(folder / "train.py"), str(folder / "c"), "20", "0.01"]
    # Of 160 steps ten kills leave some: 15 at most before each.
    found = killed_often(command, 10 if ALL else 4, seed, within=0.05, steps=range(3, 11))
    assert found.output.splitlines()[-1] == whole.splitlines()[-1]
    assert found.begun == sorted(found.begun)
    assert len(set(found.begun)) > 1


@pytest.mark.slow
def test_processes_share_what_is_drawn(torch_python: Path, folder: Path) -> None:
    assert run(torch_python, folder / "sampler.py") == "END\n"


@pytest.mark.slow
def test_what_could_not_be_read_again_is_refused_at_the_first_save(torch_python: Path, folder: Path) -> None:
    said = run(torch_python, folder / "no_tensors.py", folder / "c")
    assert "END no checkpoint can be read again that holds a __main__.Rate" in said


@pytest.mark.slow
def test_another_number_of_processes_is_said(torch_python: Path, folder: Path) -> None:
    said = run(torch_python, folder / "fewer.py", folder / "c")
    first, second = said.split("END")
    assert "the checkpoint of step 1 is of 2 processes, and here are 1: a step takes other samples" in first
    assert "processes" not in second
