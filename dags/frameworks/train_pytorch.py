"""PyTorch in script mode, safe to interrupt at any moment: it ends with the weights of a run that was not.

A checkpoint holds the model, the optimizer, the learning rate's schedule, the scaler of mixed precision and the
random states, and the training resumes in the middle of an epoch. Data come from the channel ``train`` (CSV, the label
first, as prepare.py writes them); without one they are made up.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, TensorDataset

from airflow_spot.checkpoint import Checkpointer
from airflow_spot.checkpoint.for_pytorch import SeededSampler, TorchState


def parse_args() -> argparse.Namespace:
    """Read the hyperparameters, and the places that SageMaker names."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--learning_rate", type=float, default=0.01)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--checkpoint_every", type=int, default=10, help="steps between checkpoints")
    parser.add_argument("--log_every", type=int, default=5, help="steps between lines of the log")
    parser.add_argument("--seconds_per_step", type=float, default=0.0, help="slows a demo down to be watched")
    parser.add_argument("--train", type=Path, default=os.environ.get("SM_CHANNEL_TRAIN"))
    parser.add_argument("--model_dir", type=Path, default=os.environ.get("SM_MODEL_DIR", "/opt/ml/model"))
    return parser.parse_args()


def load_data(folder: Path | None, seed: int) -> TensorDataset:
    """Return images of digits and their labels, or something like them."""
    if folder is None:
        generator = torch.Generator().manual_seed(seed)
        rows = torch.randn(640, 64, generator=generator)
        return TensorDataset(rows, (rows @ torch.randn(64, 10, generator=generator)).argmax(1))
    table = np.concatenate([np.loadtxt(path, delimiter=",", ndmin=2) for path in sorted(folder.glob("*.csv"))])
    return TensorDataset(torch.tensor(table[:, 1:], dtype=torch.float32), torch.tensor(table[:, 0], dtype=torch.int64))


def main() -> None:
    """Train, checkpoint, save."""
    args = parse_args()
    torch.manual_seed(args.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    data = load_data(args.train, args.seed)
    sampler = SeededSampler(len(data), args.seed)
    # A generator of its own: a loader that begins in the middle of an epoch would draw from the one that dropout uses.
    own = torch.Generator().manual_seed(args.seed)
    loader = DataLoader(data, args.batch_size, sampler=sampler, drop_last=True, generator=own)

    model = torch.nn.Sequential(
        torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Dropout(0.1), torch.nn.Linear(64, 10)
    ).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.learning_rate)
    batches = len(data) // args.batch_size
    total = args.epochs * batches
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.learning_rate, total_steps=total)
    scaler = torch.amp.GradScaler(device, enabled=device == "cuda")

    checkpoints = Checkpointer()
    state = TorchState(model=model, optimizer=optimizer, schedule=schedule, scaler=scaler)
    found = checkpoints.load(state.read)
    step = found.step if found else 0
    # The log shows where each start resumes from.
    print(f"FROM {step}", flush=True)
    checkpoints.on_sigterm()
    while step < total:
        epoch, batches_done = divmod(step, batches)
        sampler.go_to(epoch, batches_done * args.batch_size)
        for rows, labels in loader:
            with torch.autocast(device, enabled=device == "cuda"):
                answers = model(rows.to(device))
                loss = torch.nn.functional.cross_entropy(answers, labels.to(device))
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            schedule.step()
            step += 1
            time.sleep(args.seconds_per_step)
            if step % args.log_every == 0:
                print(f"step={step} epoch={epoch} loss={loss.item():.4f}", flush=True)
            checkpoints.progress(step, total, {"loss": loss.item()})
            if checkpoints.due(step, args.checkpoint_every) or step == total:
                checkpoints.save(step, state.write)

    model.eval()
    with torch.no_grad():
        rows, labels = data.tensors
        accuracy = (model(rows.to(device)).argmax(1).cpu() == labels).float().mean().item()
    print(f"accuracy={accuracy:.4f}", flush=True)
    args.model_dir.mkdir(parents=True, exist_ok=True)
    torch.save(model.state_dict(), args.model_dir / "model.pt")


if __name__ == "__main__":
    main()
