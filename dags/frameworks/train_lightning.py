"""Lightning, safe to interrupt at any moment: it ends with the weights of a run that was not.

Lightning's own checkpoints keep no random state, and in the middle of an epoch the data begin again. Saving and
ResumableLoader do that, and after SIGTERM Saving saves once more.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import lightning
import torch
from torch.utils.data import TensorDataset

from airflow_spot.checkpoint import Checkpointer
from airflow_spot.checkpoint.for_lightning import ResumableLoader, Saving


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
    parser.add_argument("--model_dir", type=Path, default=os.environ.get("SM_MODEL_DIR", "/opt/ml/model"))
    return parser.parse_args()


class Classifier(lightning.LightningModule):
    """A small network with dropout.

    :param learning_rate: the highest.
    :param log_every: steps between lines of the log.
    :param seconds_per_step: slows it down.
    """

    def __init__(self, learning_rate: float, log_every: int, seconds_per_step: float) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Dropout(0.1), torch.nn.Linear(64, 10)
        )

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> torch.Tensor:
        """Return a batch's loss."""
        rows, labels = batch
        loss = torch.nn.functional.cross_entropy(self.layers(rows), labels)
        self.log("loss", loss)
        return loss

    def on_train_batch_end(self, outputs: dict[str, torch.Tensor], batch: object, batch_idx: int) -> None:
        """Print a line that MetricDefinitions can read."""
        time.sleep(self.hparams["seconds_per_step"])
        if self.global_step % self.hparams["log_every"] == 0:
            print(f"step={self.global_step} epoch={self.current_epoch} loss={outputs['loss'].item():.4f}", flush=True)

    def configure_optimizers(self) -> dict[str, object]:
        """Return the optimizer, and the schedule of the learning rate, by steps."""
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.hparams["learning_rate"])
        total = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.hparams["learning_rate"], total_steps=total)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def main() -> None:
    """Train, checkpoint, save."""
    args = parse_args()
    lightning.seed_everything(args.seed)
    rows = torch.randn(640, 64)
    data = TensorDataset(rows, (rows @ torch.randn(64, 10)).argmax(1))
    loader = ResumableLoader(data, args.batch_size, shuffle=True)
    model = Classifier(args.learning_rate, args.log_every, args.seconds_per_step)

    saving = Saving(Checkpointer(), every=args.checkpoint_every)
    trainer = lightning.Trainer(
        max_epochs=args.epochs,
        callbacks=[saving],
        enable_checkpointing=False,  # the others, which Lightning writes by itself
        enable_progress_bar=False,
        logger=False,
    )
    found = saving.load()
    # The log shows where each start resumes from.
    print(f"FROM {found.step if found else 0}", flush=True)
    trainer.fit(model, loader, ckpt_path=found.path if found else None)

    model.eval()
    with torch.no_grad():
        accuracy = (model.layers(data.tensors[0]).argmax(1) == data.tensors[1]).float().mean().item()
    print(f"accuracy={accuracy:.4f}", flush=True)
    args.model_dir.mkdir(parents=True, exist_ok=True)
    torch.save(model.layers.state_dict(), args.model_dir / "model.pt")


if __name__ == "__main__":
    main()
