"""Keras by its adapter, on Keras 3 and Keras 2: stopped in the middle of an epoch, it ends with the same weights."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from airflow_spot import checkpoint
from tests.frameworks import environments
from tests.support.extent import ALL

#: Stops a training by SIGTERM at a batch, continues with another model object, and tells what came of it.
TRAINER = """
import hashlib, json, os, signal, sys
import keras, numpy
import tensorflow as tf
from checkpoint import Checkpointer
from checkpoint.for_keras import fit

folder, kind = sys.argv[1], sys.argv[2]
tf.config.experimental.enable_op_determinism()
x = numpy.random.default_rng(1).normal(size=(160, 4)).astype("float32")
y = (x[:, 0] * x[:, 1] > 0).astype("float32")

class Batches(getattr(keras.utils, "PyDataset", None) or keras.utils.Sequence):
    def __init__(self, epoch):
        super().__init__()
        self.order = numpy.random.default_rng(epoch).permutation(160)
    def __len__(self):
        return 10
    def __getitem__(self, index):
        chosen = self.order[16 * index : 16 * (index + 1)]
        return x[chosen], y[chosen]

def data(epoch):
    assert 0 <= epoch < 4, epoch
    if kind == "batches":
        return Batches(epoch)
    return tf.data.Dataset.from_tensor_slices((x, y)).shuffle(160, seed=epoch).batch(16)

class Watch(keras.callbacks.Callback):
    def __init__(self, stop_at=None):
        super().__init__()
        self.seen, self.begun, self.ended, self.stop_at = [], 0, 0, stop_at
    def on_train_begin(self, logs=None):
        self.begun += 1
    def on_train_end(self, logs=None):
        self.ended += 1
    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(batch)
        if len(self.seen) == self.stop_at:
            os.kill(os.getpid(), signal.SIGTERM)

def train(folder, width=8, stop_at=None):
    keras.utils.set_random_seed(7)
    layers = [keras.layers.Dense(width or 8, activation="relu"), keras.layers.Dense(1, activation="sigmoid")]
    if int(keras.__version__.split(".")[0]) > 2:
        layers.insert(1, keras.layers.Dropout(0.2))
    model = keras.Sequential(layers)
    if width:
        model.build((None, 4))
    model.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy"])
    checkpoints, watch, code, history = Checkpointer(folder, tell=lambda line: None), Watch(stop_at), 0, None
    checkpoints.on_sigterm()
    try:
        history = fit(
            checkpoints, model, data, epochs=4, every=6, callbacks=[watch], verbose=0, validation_data=(x, y)
        )
    except SystemExit as end:
        code = end.code
    except ValueError as error:
        code = str(error)
    newest = checkpoints.latest()
    weights = b"" if not width else b"".join(each.tobytes() for each in model.get_weights())
    return {
        "code": code, "batches": len(watch.seen), "begun": watch.begun, "ended": watch.ended,
        "epochs": history and history.epoch, "val": history and len(history.history.get("val_loss", [])),
        "saved": newest and newest.step, "digest": hashlib.sha256(weights).hexdigest(),
    }

whole = train(folder + "/whole")
told = [train(folder + "/cut", stop_at=at) for at in (13, 7, None)] + [train(folder + "/cut")]
last = [train(folder + "/last", stop_at=20), train(folder + "/last")]
other = [train(folder + "/cut", width=9), train(folder + "/no", width=0)]
print(json.dumps({"whole": whole, "cut": told, "last": last, "other": other}))
"""


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("kind", ["dataset", *(["batches"] if ALL else [])])
@pytest.mark.parametrize("name", ["keras", *(["keras2"] if ALL else [])])
def test_a_training_that_is_stopped_goes_on_in_the_middle_of_an_epoch(name: str, kind: str, tmp_path: Path) -> None:
    try:
        python = environments.make(name)
    except environments.UnavailableError as error:
        pytest.skip(str(error))
    (tmp_path / "train.py").write_text(TRAINER)
    folder = Path(checkpoint.__file__).parent
    for path in folder.glob("*.py"):
        (tmp_path / "checkpoint").mkdir(exist_ok=True)
        source = path.read_text().replace("airflow_spot.checkpoint", "checkpoint")
        (tmp_path / "checkpoint" / path.name).write_text(source)
    command = [str(python), "train.py", str(tmp_path), kind]
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, check=False, cwd=tmp_path, env=quiet, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    whole, (first, second, third, again) = told["whole"], told["cut"]
    assert (whole["code"], whole["batches"], whole["epochs"], whole["val"]) == (0, 40, [0, 1, 2, 3], 4)
    assert (whole["begun"], whole["ended"]) == (1, 1)
    # At the batch that SIGTERM came at, and not again.
    assert [(each["code"], each["batches"], each["saved"]) for each in (first, second)] == [(143, 13, 13), (143, 7, 20)]
    assert (third["code"], third["batches"], third["epochs"]) == (0, 20, [2, 3])
    assert third["digest"] == whole["digest"] != first["digest"]
    # What is trained to its end, but for the batches behind the last checkpoint, is trained to its end.
    assert (again["code"], again["batches"], again["digest"]) == (0, 4, whole["digest"])
    # Behind the last batch of an epoch nothing of it is left.
    assert [(each["code"], each["batches"], each["saved"]) for each in told["last"]] == [(143, 20, 20), (0, 20, 36)]
    assert told["last"][1]["digest"] == whole["digest"]
    assert "of another model or optimizer" in told["other"][0]["code"]
    # Told at the first start, and not at the first resume.
    assert "has no weights yet" in told["other"][1]["code"]
