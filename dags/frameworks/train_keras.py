"""SageMaker training script (script mode): Keras that resumes from its newest checkpoint after an interruption.

Also in the middle of an epoch. The weights after any number of interruptions are the weights without them: the order of
the data follows from seed and epoch, and TensorFlow is told to add up in one order.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from airflow_spot.checkpoint import Checkpointer
from airflow_spot.checkpoint.for_keras import fit


def parse_args() -> argparse.Namespace:
    """Read the hyperparameters, which script mode passes as arguments, and the places SageMaker names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--checkpoint_every", type=int, default=50, help="batches between checkpoints")
    parser.add_argument("--learning_rate", type=float, default=0.001)
    parser.add_argument("--seed", type=int, default=0)
    # TensorFlow's container passes --model_dir with a place in S3: the model goes where SM_MODEL_DIR says.
    parser.add_argument("--train", type=Path, default=os.environ.get("SM_CHANNEL_TRAIN"))
    return parser.parse_known_args()[0]


def load(folder: Path | None, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Read ``train.npz`` of the channel; without one, make images and labels up."""
    if folder is not None:
        with np.load(folder / "train.npz") as found:
            return found["x"].astype("float32"), found["y"].astype("int64")
    drawn = np.random.default_rng(seed)
    labels = drawn.integers(10, size=3200)
    images = drawn.normal(size=(3200, 16, 16, 1)) + labels[:, None, None, None] / 5
    return images.astype("float32"), labels


def build(learning_rate: float) -> keras.Model:
    """Return a small network, compiled. With an Input its weights are there before a checkpoint is loaded."""
    model = keras.Sequential(
        [
            keras.layers.Input((16, 16, 1)),
            keras.layers.Conv2D(8, 3, activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(10),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.Adam(learning_rate), loss=loss, metrics=["accuracy"])
    return model


class Log(keras.callbacks.Callback):
    """Prints a line every few batches, with the number of batches in all: MetricDefinitions read it."""

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Print; called by Keras."""
        done = int(self.model.optimizer.iterations.numpy())
        if done % 10 == 0:
            print(f"step={done}", *(f"{name}={value:.5f}" for name, value in (logs or {}).items()), flush=True)


def main() -> None:
    """Train what is missing, save the model."""
    args = parse_args()
    keras.utils.set_random_seed(args.seed)
    tf.config.experimental.enable_op_determinism()
    images, labels = load(args.train, args.seed)

    def data(epoch: int) -> tf.data.Dataset:
        whole = tf.data.Dataset.from_tensor_slices((images, labels))
        return whole.shuffle(len(images), seed=args.seed + epoch).batch(args.batch_size)

    model = build(args.learning_rate)
    checkpoints = Checkpointer()
    checkpoints.on_sigterm()
    found = checkpoints.latest()
    # The log shows where each start resumes from.
    print(f"FROM {found.step if found else 0}", flush=True)
    fit(checkpoints, model, data, epochs=args.epochs, every=args.checkpoint_every, callbacks=[Log()], verbose=0)

    loss, accuracy = model.evaluate(images, labels, verbose=0)
    print(f"final loss={loss:.5f} accuracy={accuracy:.5f}", flush=True)
    folder = Path(os.environ.get("SM_MODEL_DIR", "/opt/ml/model"))
    folder.mkdir(parents=True, exist_ok=True)
    # Not model.save(): a .keras file holds the time, so that no two are the same. model_from_json reads this one.
    (folder / "model.json").write_text(model.to_json())
    model.save_weights(folder / "model.weights.h5")


if __name__ == "__main__":
    main()
