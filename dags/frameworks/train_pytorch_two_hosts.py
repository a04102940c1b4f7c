"""PyTorch on several hosts (InstanceCount 2 or more), safe to interrupt: all resume from the same step.

SageMaker says which hosts there are (SM_HOSTS, SM_CURRENT_HOST). Each has a checkpoint folder of its own, and all are
copied from and to the same place in S3, so one host writes. Where torchrun has started the processes, as with eight
GPUs a host, torchrun says who is who, and the script stays the same.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset

from airflow_spot.checkpoint import Checkpointer
from airflow_spot.checkpoint.for_pytorch import SeededSampler, TorchState
from airflow_spot.checkpoint.for_pytorch_hosts import due, join, load, save


def parse_args() -> argparse.Namespace:
    """Read the hyperparameters, and the places that SageMaker names."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch_size", type=int, default=16, help="of each host")
    parser.add_argument("--learning_rate", type=float, default=0.01)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--checkpoint_every", type=int, default=10, help="steps between checkpoints")
    parser.add_argument("--log_every", type=int, default=5, help="steps between lines of the log")
    parser.add_argument("--seconds_per_step", type=float, default=0.0, help="slows a demo down to be watched")
    parser.add_argument("--model_dir", type=Path, default=os.environ.get("SM_MODEL_DIR", "/opt/ml/model"))
    return parser.parse_args()


def made_up(seed: int) -> TensorDataset:
    """Return rows and their classes; each host has all of them, and draws its share."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(640, 64, generator=generator)
    return TensorDataset(rows, (rows @ torch.randn(64, 10, generator=generator)).argmax(1))


def main() -> None:
    """Train, checkpoint, save."""
    args = parse_args()
    rank, world = join("nccl" if torch.cuda.is_available() else "gloo")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(args.seed + rank)  # each host drops out others; all begin with the first one's weights
    data = made_up(args.seed)
    sampler = SeededSampler(len(data), args.seed, rank, world)
    own = torch.Generator().manual_seed(args.seed + rank)  # workers of each host augment by other numbers
    loader = DataLoader(data, args.batch_size, sampler=sampler, drop_last=True, generator=own)

    model = torch.nn.Sequential(
        torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Dropout(0.1), torch.nn.Linear(64, 10)
    ).to(device)
    together = DistributedDataParallel(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.learning_rate)
    batches = len(sampler) // args.batch_size
    total = args.epochs * batches
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.learning_rate, total_steps=total)

    checkpoints = Checkpointer(barrier=dist.barrier)
    found = load(checkpoints, state := TorchState(model=model, optimizer=optimizer, schedule=schedule))
    step = found.step if found else 0
    # The log shows where each start resumes from.
    print(f"FROM {step} host={rank}/{world}", flush=True)
    checkpoints.on_sigterm()
    while step < total:
        epoch, batches_done = divmod(step, batches)
        sampler.go_to(epoch, batches_done * args.batch_size * world)
        for rows, labels in loader:
            loss = torch.nn.functional.cross_entropy(together(rows.to(device)), labels.to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            step += 1
            time.sleep(args.seconds_per_step)
            if rank == 0 and step % args.log_every == 0:
                print(f"step={step} epoch={epoch} loss={loss.item():.4f}", flush=True)
            checkpoints.progress(step, total, {"loss": loss.item()})
            if due(checkpoints, step, args.checkpoint_every) or step == total:
                save(checkpoints, step, state)

    if rank == 0:
        model.eval()
        with torch.no_grad():
            rows, labels = data.tensors
            accuracy = (model(rows.to(device)).argmax(1).cpu() == labels).float().mean().item()
        print(f"accuracy={accuracy:.4f}", flush=True)
        args.model_dir.mkdir(parents=True, exist_ok=True)
        torch.save(model.state_dict(), args.model_dir / "model.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
