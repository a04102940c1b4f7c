"""Hugging Face's Trainer, safe to interrupt at any moment: it ends with the weights of a run that was not.

Trainer writes its checkpoints by itself, and a kill in the middle leaves half a folder. Saving puts each that is whole
into the checkpoint folder, and after SIGTERM has Trainer save once more. The model is a tiny one with random weights:
nothing is downloaded; take from_pretrained() for yours.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

from airflow_spot.checkpoint import Checkpointer
from airflow_spot.checkpoint.for_transformers import Saving


def parse_args() -> argparse.Namespace:
    """Read the hyperparameters, and the places that SageMaker names."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--learning_rate", type=float, default=0.005)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--checkpoint_every", type=int, default=10, help="steps between checkpoints")
    parser.add_argument("--log_every", type=int, default=5, help="steps between lines of the log")
    parser.add_argument("--seconds_per_step", type=float, default=0.0, help="slows a demo down to be watched")
    parser.add_argument("--model_dir", type=Path, default=os.environ.get("SM_MODEL_DIR", "/opt/ml/model"))
    return parser.parse_args()


def made_up(seed: int, count: int = 320) -> list[dict[str, Any]]:
    """Return sentences of 16 tokens: of the first kind are those with more high numbers than low ones."""
    tokens = torch.randint(5, 100, (count, 16), generator=torch.Generator().manual_seed(seed))
    kinds = ((tokens > 52).sum(1) > 8).long()
    return [{"input_ids": row, "labels": kind} for row, kind in zip(tokens, kinds, strict=True)]


class Log(TrainerCallback):
    """Prints lines that MetricDefinitions can read."""

    def __init__(self, seconds_per_step: float) -> None:
        self._seconds_per_step = seconds_per_step

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Take a while."""
        time.sleep(self._seconds_per_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **more: Any) -> None:
        """Print a line."""
        if logs and "loss" in logs:
            print(f"step={state.global_step} loss={float(logs['loss']):.4f}", flush=True)


def main() -> None:
    """Train, checkpoint, save."""
    args = parse_args()
    set_seed(args.seed)
    config = BertConfig(
        vocab_size=100,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=16,
    )
    model = BertForSequenceClassification(config)
    arguments = TrainingArguments(
        output_dir=tempfile.mkdtemp(),  # not the checkpoint folder: what is half written stays here
        num_train_epochs=args.epochs,
        per_device_train_batch_size=args.batch_size,
        learning_rate=args.learning_rate,
        save_steps=args.checkpoint_every,
        logging_steps=args.log_every,
        seed=args.seed,
        dataloader_pin_memory=torch.cuda.is_available(),
        disable_tqdm=True,
        report_to="none",
    )
    data = made_up(args.seed)
    saving = Saving(Checkpointer())
    trainer = Trainer(model, arguments, train_dataset=data, callbacks=[saving, Log(args.seconds_per_step)])
    trainer.remove_callback(PrinterCallback)  # Log prints instead
    found = saving.load()
    # The log shows where each start resumes from.
    print(f"FROM {found.step if found else 0}", flush=True)
    trainer.train(resume_from_checkpoint=found.path if found else None)

    right = trainer.predict(data).predictions.argmax(1) == [int(each["labels"]) for each in data]
    print(f"accuracy={right.mean():.4f}", flush=True)
    model.save_pretrained(args.model_dir)


if __name__ == "__main__":
    main()
