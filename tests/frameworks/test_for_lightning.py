"""What is particular to Lightning: gradients that add up, epochs with validation, loaders of others."""

from __future__ import annotations

import random
import re
import time
from pathlib import Path

import pytest

from tests.frameworks.folders import of_library
from tests.frameworks.imported import Imported
from tests.frameworks.unpacked import Unpacked, end, kill, read_until
from tests.support.extent import ALL, seeds

pytestmark = pytest.mark.slow

#: Seven batches an epoch, which no number here divides; random numbers in the data, in the model and in Python.
TRAINER = """
import argparse, hashlib, os, random, signal, time
import lightning, torch
from torch.utils.data import DataLoader, Dataset
from airflow_spot.checkpoint import Checkpointer
from airflow_spot.checkpoint.for_lightning import ResumableLoader, Saving

parser = argparse.ArgumentParser()
parser.add_argument("--pause", type=float, default=0.0)
parser.add_argument("--hold", type=int, default=0)
parser.add_argument("--term-at", type=int, default=0)
parser.add_argument("--accumulate", type=int, default=1)
parser.add_argument("--workers", type=int, default=0)
parser.add_argument("--every", type=int, default=3)
parser.add_argument("--plain", type=int, default=0)
parser.add_argument("--plateau", type=int, default=0)
parser.add_argument("--validations", type=int, default=1)
args = parser.parse_args()
torch.set_num_threads(1)
lightning.seed_everything(1, verbose=False)
ROWS = torch.randn(56, 5)

class Noisy(Dataset):
    def __len__(self):
        return len(ROWS)
    def __getitem__(self, index):
        noise = torch.randn(5) * 0.1 if args.workers == 0 else 0.0
        return ROWS[index] + noise, ROWS[index, :1]

class Model(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.Dropout(0.2), torch.nn.Linear(8, 1))
    def training_step(self, batch, index):
        rows, wanted = batch
        loss = ((self.layers(rows) - wanted) ** 2).mean() + random.random() * 0.01 * self.layers[0].weight.sum()
        self.log("loss", loss)
        return loss
    def validation_step(self, batch, index):
        rows, wanted = batch
        self.log("val_loss", ((self.layers(rows) - wanted) ** 2).mean())
    def on_train_batch_end(self, outputs, batch, index):
        time.sleep(args.pause)
        print("step=%d batch=%d" % (self.global_step, index), flush=True)
        if args.term_at == self.global_step and self.global_rank == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        if 0 < args.hold <= self.global_step:
            time.sleep(600)  # until it is killed
    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), lr=0.01)
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.8)
        if args.plateau:
            schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="max", patience=0)
        return [optimizer], [{"scheduler": schedule, "interval": "epoch", "monitor": "val_loss"}]

kind = DataLoader if args.plain else ResumableLoader
loader = kind(Noisy(), batch_size=8, shuffle=True, num_workers=args.workers)
model = Model()
saving = Saving(Checkpointer(), every=args.every)
world = int(os.environ.get("WORLD_SIZE", 1))
trainer = lightning.Trainer(accelerator="cpu", devices=world, strategy="ddp" if world > 1 else "auto", max_epochs=6,
                            accumulate_grad_batches=args.accumulate, callbacks=[saving], logger=False,
                            val_check_interval=1 / args.validations, enable_checkpointing=False,
                            enable_progress_bar=False, enable_model_summary=False)
found = saving.load()
print("FROM", found.step if found else 0, flush=True)
trainer.fit(model, loader, DataLoader(Noisy(), batch_size=8), ckpt_path=found.path if found else None)
weights = b"".join(value.numpy().tobytes() for value in model.state_dict().values())
print("rate", trainer.optimizers[0].param_groups[0]["lr"])
print("END", trainer.current_epoch, trainer.global_step, hashlib.sha256(weights).hexdigest(), flush=True)
"""


@pytest.fixture
def script(torch_python: Path, tmp_path: Path, torch_imported: Imported) -> Unpacked:
    (tmp_path / "train.py").write_text(TRAINER)
    return Unpacked(tmp_path / "train.py", torch_python, tmp_path / "unpacked", torch_imported)


@pytest.mark.parametrize(
    "more",
    [
        *([{}] if ALL else []),
        {"accumulate": 3, "every": 2},
        {"workers": 2, "every": 1},
        {"validations": 2},
        {"plateau": 1, "every": 2},
    ],
)
def test_killed_in_and_between_epochs_it_ends_with_the_same_weights(script: Unpacked, more: dict[str, int]) -> None:
    code, whole = end(script.start(more, checkpoints="whole"))
    assert code == 0, whole
    for seed in seeds(4):
        drawn, reached = random.Random(seed), 0
        for _ in range(4 if ALL else 2):
            reached += drawn.randrange(2, 5)
            # Two steps more than it is waited for: the kill comes in one of them, however late.
            process = script.start({**more, "pause": 0.05, "hold": reached + 1}, checkpoints=f"c{seed}")
            read_until(process, f"step={reached} ")
            time.sleep(drawn.uniform(0, 0.1))
            kill(process)
            kept = of_library(script.checkpoints(f"c{seed}"))  # none, where it was killed before the first was written
            assert reached - more.get("every", 3) <= (kept[-1].step if kept else 0) <= reached + 1
        code, said = end(script.start(more, checkpoints=f"c{seed}"))
        assert code == 0, said
        assert said.splitlines()[-2:] == whole.splitlines()[-2:]


@pytest.mark.parametrize("at", [7, 14] if ALL else [14])
def test_it_goes_on_after_the_last_batch_of_an_epoch(script: Unpacked, at: int) -> None:
    _, whole = end(script.start({"every": 7}, checkpoints="whole"))
    process = script.start({"every": 7, "hold": at + 2})
    read_until(process, f"step={at + 2} ")
    kill(process)
    assert of_library(script.checkpoints())[-1].step == at
    code, said = end(script.start({"every": 7}))
    assert code == 0, said
    steps = [int(step) for step in re.findall(r"^step=(\d+)", said, re.MULTILINE)]
    assert steps == [*range(at + 1, 43)]
    assert said.splitlines()[-1] == whole.splitlines()[-1]


def test_a_loader_that_begins_anew_is_told(script: Unpacked) -> None:
    process = script.start({"plain": 1, "hold": 5})
    said = read_until(process, "step=5 ")
    assert "ResumableLoader" not in said
    kill(process)
    code, said = end(script.start({"plain": 1}))
    assert code == 0, said
    assert "the data begin again in the middle of an epoch: use a ResumableLoader" in said


def test_two_processes_go_on_with_their_own_random_numbers(script: Unpacked) -> None:
    ended = [end(each) for each in script.start_each({}, checkpoints="whole")]
    assert [code for code, _ in ended] == [0, 0], ended
    processes = script.start_each({"hold": 8})
    read_until(processes[0], "step=8 ")
    for each in processes:
        kill(each)
    assert of_library(script.checkpoints())[-1].step == 6
    code, said = end(script.start({}, processes=2))
    assert code == 0, said
    assert ends(said) == ends("".join(whole for _, whole in ended))


def test_sigterm_of_one_process_has_both_save_the_same_step(script: Unpacked) -> None:
    code, said = end(script.start({"term-at": 5, "every": 100}, processes=2))
    assert code != 0, said
    (saved,) = of_library(script.checkpoints())
    assert saved.step == 6


#: Two optimizers by hand, three steps a batch, in processes that Lightning itself starts.
OWN_PROCESSES = """
import sys
import lightning, torch
from torch.utils.data import TensorDataset
from airflow_spot.checkpoint import Checkpointer
from airflow_spot.checkpoint.for_lightning import ResumableLoader, Saving

torch.set_num_threads(1)
lightning.seed_everything(1, verbose=False)

class Model(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.layer, self.other = torch.nn.Linear(5, 1), torch.nn.Linear(5, 1)
    def training_step(self, batch, index):
        loss = self.layer(batch[0]).mean() + self.other(batch[0]).mean()
        self.manual_backward(loss)
        first, second = self.optimizers()
        for each in (first, second, second):
            each.step()
    def configure_optimizers(self):
        return [torch.optim.SGD(each.parameters(), 0.1) for each in (self.layer, self.other)]

saving = Saving(Checkpointer(), every=10)
trainer = lightning.Trainer(
    max_epochs=1, callbacks=[saving], enable_checkpointing=False, enable_progress_bar=False, logger=False,
    accelerator="cpu", devices=2, strategy=sys.argv[1].split("=")[1],
)
found = saving.load()
trainer.fit(Model(), ResumableLoader(TensorDataset(torch.randn(96, 5)), batch_size=4))
print("END", trainer.global_rank, flush=True)
"""


@pytest.mark.parametrize("strategy", ["ddp", "ddp_fork"])
def test_of_processes_that_lightning_starts_one_writes(torch_python: Path, tmp_path: Path, strategy: str) -> None:
    (tmp_path / "own.py").write_text(OWN_PROCESSES)
    script = Unpacked(tmp_path / "own.py", torch_python, tmp_path / "unpacked")
    code, said = end(script.start({"strategy": strategy}))
    assert code == 0, said
    assert [int(each) for each in re.findall("checkpoint of step ([0-9]+): ", said)] == [12, 21, 30], said


def ends(said: str) -> list[str]:
    """Return the lines that tell the weights, of each process."""
    found = sorted(line for line in said.splitlines() if line.startswith("END "))
    assert len(found) == 2, said
    return found
