"""Frameworks that checkpoint by themselves: no false alarm on scripts as their users write them, and what is wrong."""

from __future__ import annotations

import pytest

from tests.core.script_lint.cases import look, rules

HUGGING_FACE = """
import argparse, os
from transformers import AutoModelForSequenceClassification, AutoTokenizer, Trainer, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=3)
parser.add_argument("--model_name", type=str, default="distilbert-base-uncased")
parser.add_argument("--output_dir", type=str, default="/opt/ml/checkpoints")
parser.add_argument("--model_dir", type=str, default=os.environ.get("SM_MODEL_DIR"))
args, _ = parser.parse_known_args()
tokenizer = AutoTokenizer.from_pretrained(args.model_name)
model = AutoModelForSequenceClassification.from_pretrained(args.model_name)
training_args = TrainingArguments(output_dir=args.output_dir, num_train_epochs=args.epochs, save_strategy="epoch",
                                  save_total_limit=2)
trainer = Trainer(model=model, args=training_args, train_dataset=data)
last = get_last_checkpoint(args.output_dir) if os.path.isdir(args.output_dir) else None
trainer.train(resume_from_checkpoint=last)
trainer.save_model(args.model_dir)
"""

LIGHTNING = """
import os
import lightning as L
from lightning.pytorch.callbacks import ModelCheckpoint

class Net(L.LightningModule):
    def training_step(self, batch, index):
        return self(batch).sum()

def main():
    folder = "/opt/ml/checkpoints"
    keep = ModelCheckpoint(dirpath=folder, save_last=True, save_top_k=1)
    last = os.path.join(folder, "last.ckpt")
    trainer = L.Trainer(max_epochs=10, callbacks=[keep])
    trainer.fit(Net(), data, ckpt_path=last if os.path.exists(last) else None)
    trainer.save_checkpoint(os.path.join(os.environ["SM_MODEL_DIR"], "model.ckpt"))

main()
"""

CASES: dict[str, tuple[str, list[str]]] = {
    "Transformers": (HUGGING_FACE, []),
    "Transformers, by HfArgumentParser": (
        """
        import os, sys
        from transformers import HfArgumentParser, Seq2SeqTrainer, Seq2SeqTrainingArguments, set_seed
        from transformers.trainer_utils import get_last_checkpoint, is_main_process
        parser = HfArgumentParser((ModelArguments, Seq2SeqTrainingArguments))
        model_args, training_args = parser.parse_args_into_dataclasses()
        last_checkpoint = None
        if os.path.isdir(training_args.output_dir) and training_args.do_train:
            last_checkpoint = get_last_checkpoint(training_args.output_dir)
        trainer = Seq2SeqTrainer(model=model, args=training_args)
        checkpoint = training_args.resume_from_checkpoint or last_checkpoint
        trainer.train(resume_from_checkpoint=checkpoint)
        trainer.save_model()
        """,
        [],
    ),
    "Transformers that never resumes": (
        HUGGING_FACE.replace("resume_from_checkpoint=last", "").replace(
            "last = get_last_checkpoint(args.output_dir) if os.path.isdir(args.output_dir) else None", ""
        ),
        ["never-loads"],
    ),
    "Transformers, checkpoints in the model's folder": (
        HUGGING_FACE.replace("output_dir=args.output_dir", "output_dir=args.model_dir")
        .replace('parser.add_argument("--output_dir", type=str, default="/opt/ml/checkpoints")', "")
        .replace("args.output_dir", "args.model_dir"),
        ["no-checkpoint-path"],
    ),
    "Transformers, checkpoints in the working folder": (
        HUGGING_FACE.replace("output_dir=args.output_dir", 'output_dir="./results"')
        .replace('parser.add_argument("--output_dir", type=str, default="/opt/ml/checkpoints")', "")
        .replace("args.output_dir", '"./results"'),
        ["no-checkpoint-path"],
    ),
    "TRL": (
        """
        from trl import SFTConfig, SFTTrainer
        trainer = SFTTrainer(model="m", args=SFTConfig(output_dir="/opt/ml/checkpoints"), train_dataset=data)
        trainer.train(resume_from_checkpoint=has_checkpoint())
        """,
        [],
    ),
    "a trainer of the user's": (
        """
        from transformers import Trainer, TrainingArguments
        class Mine(Trainer):
            def compute_loss(self, model, inputs, return_outputs=False):
                return model(**inputs).loss
        trainer = Mine(model=model, args=TrainingArguments("/opt/ml/checkpoints", save_steps=100))
        trainer.train(resume_from_checkpoint=True)
        """,
        [],
    ),
    "Accelerate": (
        """
        import os, re
        from accelerate import Accelerator
        folder = os.environ.get("SM_CHECKPOINT_DIR", "/opt/ml/checkpoints")
        accelerator = Accelerator()
        model, optimizer = accelerator.prepare(model, optimizer)
        names = [n for n in os.listdir(folder) if n.startswith("step_")]
        if names:
            last = max(names, key=lambda n: int(n.split("_")[1]))
            accelerator.load_state(os.path.join(folder, last))
        for step in range(100):
            accelerator.backward(model(1).loss)
            if step % 10 == 0:
                accelerator.save_state(os.path.join(folder, f"step_{step}"))
        """,
        [],
    ),
    "DeepSpeed": (
        """
        import deepspeed
        engine, _, _, _ = deepspeed.initialize(args=args, model=model)
        _, state = engine.load_checkpoint("/opt/ml/checkpoints")
        for step in range(state["step"] if state else 0, 100):
            loss = engine(batch)
            engine.backward(loss)
            engine.step()
            engine.save_checkpoint("/opt/ml/checkpoints", client_state={"step": step})
        """,
        [],
    ),
    "Lightning": (LIGHTNING, []),
    "Lightning by its old name": (
        LIGHTNING.replace("import lightning as L", "import pytorch_lightning as L").replace("lightning.pytorch.", "pytorch_lightning."),
        [],
    ),
    "Lightning, the root folder": (
        """
        import pytorch_lightning as pl
        trainer = pl.Trainer(default_root_dir="/opt/ml/checkpoints", max_epochs=5)
        trainer.fit(model, ckpt_path="last")
        """,
        [],
    ),
    "Lightning that never resumes": (
        LIGHTNING.replace(", ckpt_path=last if os.path.exists(last) else None", ""),
        ["never-loads"],
    ),
    "Lightning without a folder": (
        """
        import pytorch_lightning as pl
        trainer = pl.Trainer(max_epochs=5)
        trainer.fit(model)
        """,
        ["no-checkpoint-path"],
    ),
    "Keras, BackupAndRestore": (
        """
        import tensorflow as tf
        model.fit(x, y, epochs=10, callbacks=[tf.keras.callbacks.BackupAndRestore("/opt/ml/checkpoints")])
        model.save("/opt/ml/model/1")
        """,
        [],
    ),
    "Keras, BackupAndRestore by a keyword": (
        """
        import os, keras
        backup = keras.callbacks.BackupAndRestore(backup_dir=os.environ["SM_CHECKPOINT_DIR"])
        model.fit(x, y, epochs=10, callbacks=[backup])
        """,
        [],
    ),
    "Keras, ModelCheckpoint": (
        """
        import os, re
        from tensorflow.keras.callbacks import ModelCheckpoint
        from tensorflow.keras.models import load_model
        folder = "/opt/ml/checkpoints"
        def newest():
            found = {int(re.search(r"(\\d+)", name).group()): name for name in os.listdir(folder) if name.endswith(".keras")}
            return (load_model(os.path.join(folder, found[max(found)])), max(found)) if found else (build(), 0)
        model, begin = newest()
        model.fit(x, y, epochs=50, initial_epoch=begin,
                  callbacks=[ModelCheckpoint(os.path.join(folder, "model-{epoch}.keras"))])
        """,
        [],
    ),
    "Keras, ModelCheckpoint that is never read": (
        """
        from tensorflow.keras.callbacks import ModelCheckpoint
        model.fit(x, y, epochs=50, callbacks=[ModelCheckpoint("/opt/ml/checkpoints/model.keras")])
        """,
        ["never-loads"],
    ),
    "Keras, weights": (
        """
        import argparse, tensorflow as tf
        parser = argparse.ArgumentParser()
        parser.add_argument("--checkpoint_path", type=str, default="/opt/ml/checkpoints")
        args = parser.parse_args()
        newest = tf.train.latest_checkpoint(args.checkpoint_path)
        if newest:
            model.load_weights(newest)
        keep = tf.keras.callbacks.ModelCheckpoint(args.checkpoint_path + "/cp-{epoch:04d}.ckpt", save_weights_only=True)
        model.fit(data, epochs=10, callbacks=[keep])
        """,
        [],
    ),
    "TensorFlow, CheckpointManager": (
        """
        import tensorflow as tf
        step = tf.Variable(0)
        checkpoint = tf.train.Checkpoint(step=step, model=model, optimizer=optimizer)
        manager = tf.train.CheckpointManager(checkpoint, "/opt/ml/checkpoints", max_to_keep=2)
        checkpoint.restore(manager.latest_checkpoint)
        for epoch in range(int(step), 10):
            with tf.GradientTape() as tape:
                loss = model(x)
            optimizer.apply_gradients(zip(tape.gradient(loss, w), w))
            manager.save()
        """,
        [],
    ),
    "TensorFlow, Checkpoint": (
        """
        import os, tensorflow as tf
        folder = "/opt/ml/checkpoints"
        ckpt = tf.train.Checkpoint(model=model)
        ckpt.restore(tf.train.latest_checkpoint(folder))
        for epoch in range(10):
            train_one_epoch(model)
            ckpt.save(os.path.join(folder, "ckpt"))
        """,
        [],
    ),
    "TensorFlow, estimator": (
        """
        import tensorflow as tf
        config = tf.estimator.RunConfig(model_dir="/opt/ml/checkpoints", save_checkpoints_steps=100)
        estimator = tf.estimator.Estimator(model_fn, config=config)
        tf.estimator.train_and_evaluate(estimator, train_spec, eval_spec)
        """,
        [],
    ),
    "XGBoost, callback": (
        """
        import os, re, xgboost as xgb
        folder = "/opt/ml/checkpoints"
        found = [f for f in os.listdir(folder) if re.fullmatch(r"round_\\d+\\.ubj", f)]
        newest = max(found, key=lambda f: int(f[6:-4]), default=None)
        booster = xgb.train(params, data, 100, xgb_model=os.path.join(folder, newest) if newest else None,
                            callbacks=[xgb.callback.TrainingCheckPoint(directory=folder, name="round")])
        booster.save_model("/opt/ml/model/model.ubj")
        """,
        [],
    ),
    "XGBoost in its container": (
        """
        import argparse, os
        import xgboost as xgb
        from sagemaker_xgboost_container import checkpointing
        parser = argparse.ArgumentParser()
        parser.add_argument("--checkpoint_config_dir", default="/opt/ml/checkpoints")
        args = parser.parse_args()
        booster = checkpointing.train({"params": {}, "dtrain": data, "num_boost_round": 10}, args.checkpoint_config_dir)
        booster.save_model(os.path.join(os.environ["SM_MODEL_DIR"], "xgboost-model"))
        """,
        [],
    ),
    "XGBoost without": (
        """
        import xgboost as xgb
        booster = xgb.train(params, data, num_boost_round=100)
        booster.save_model("/opt/ml/model/model.ubj")
        """,
        ["no-checkpoint-path"],
    ),
    "LightGBM": (
        """
        import lightgbm as lgb, os
        path = "/opt/ml/checkpoints/model.txt"
        def keep(env):
            env.model.save_model(path + ".tmp")
            os.replace(path + ".tmp", path)
        lgb.train(params, data, 100, init_model=path if os.path.exists(path) else None, callbacks=[keep])
        """,
        [],
    ),
    "CatBoost": (
        """
        from catboost import CatBoostClassifier
        model = CatBoostClassifier(iterations=1000)
        model.fit(x, y, save_snapshot=True, snapshot_file="/opt/ml/checkpoints/snapshot")
        """,
        [],
    ),
    "Composer": (
        """
        from composer import Trainer
        trainer = Trainer(model=model, max_duration="10ep", save_folder="/opt/ml/checkpoints", autoresume=True,
                          run_name="run")
        trainer.fit()
        """,
        [],
    ),
    "Gluon": (
        """
        import os
        from mxnet import autograd, gluon
        path = "/opt/ml/checkpoints/net.params"
        if os.path.exists(path):
            net.load_parameters(path)
        for epoch in range(10):
            with autograd.record():
                loss = net(x)
            loss.backward()
            trainer.step(32)
            net.save_parameters(path + ".tmp")
            os.rename(path + ".tmp", path)
        """,
        [],
    ),
    "Gluon, in place": (
        """
        from mxnet import autograd, gluon
        path = "/opt/ml/checkpoints/net.params"
        net.load_parameters(path)
        for epoch in range(10):
            loss.backward()
            net.save_parameters(path)
        """,
        ["writes-in-place"],
    ),
    "Orbax": (
        """
        import orbax.checkpoint as ocp
        manager = ocp.CheckpointManager("/opt/ml/checkpoints")
        if manager.latest_step() is not None:
            state = manager.restore(manager.latest_step())
        for step in range(100):
            state = train_step(state)
            manager.save(step, args=ocp.args.StandardSave(state))
        """,
        [],
    ),
    "torch's distributed checkpoints": (
        """
        import torch.distributed.checkpoint as dcp
        folder = "/opt/ml/checkpoints/last"
        dcp.load(state, checkpoint_id=folder)
        for step in range(100):
            loss.backward()
            optimizer.step()
            dcp.save(state, checkpoint_id=folder)
        """,
        [],
    ),
    "Ultralytics": (
        """
        import os
        from ultralytics import YOLO
        last = "/opt/ml/checkpoints/run/weights/last.pt"
        model = YOLO(last if os.path.exists(last) else "yolov8n.pt")
        model.train(data="d.yaml", project="/opt/ml/checkpoints", name="run", exist_ok=True, resume=os.path.exists(last))
        """,
        [],
    ),
    "stable-baselines": (
        """
        from stable_baselines3 import PPO
        from stable_baselines3.common.callbacks import CheckpointCallback
        model = PPO.load("/opt/ml/checkpoints/last.zip")
        model.learn(10_000, callback=CheckpointCallback(1000, save_path="/opt/ml/checkpoints"))
        """,
        [],
    ),
    "a script that is told its folders by a configuration": (
        """
        import hydra, torch, os
        @hydra.main(config_path="conf")
        def main(cfg):
            path = os.path.join(cfg.checkpoint_dir, "last.pt")
            state = torch.load(path) if os.path.exists(path) else None
            for epoch in range(state["epoch"] if state else 0, 10):
                loss.backward()
                torch.save({"epoch": epoch}, path + ".tmp")
                os.replace(path + ".tmp", path)
        main()
        """,
        [],
    ),
    "a library of the user's that is not here": (
        """
        from ourlib import checkpoints
        begin = checkpoints.resume(model, optimizer)
        for epoch in range(begin, 10):
            loss.backward()
            checkpoints.save_checkpoint(model, optimizer, epoch)
        """,
        [],
    ),
    "serving is not training": (
        """
        import torch
        def model_fn(model_dir):
            return torch.load(model_dir + "/model.pt")
        def predict_fn(data, model):
            return model(data)
        """,
        [],
    ),
    "our library": (
        """
        import json
        from pathlib import Path
        from airflow_spot.checkpoint import Checkpointer
        weights = [0.0]
        def write(path):
            Path(path).write_text(json.dumps(weights))
        checkpoints = Checkpointer()
        found = checkpoints.load(lambda path: json.loads(Path(path).read_text()))
        if found:
            weights = found.state
        for epoch in range(found.step if found else 0, 20):
            weights[0] += 1.0
            if checkpoints.due(epoch + 1, every=5):
                checkpoints.save(epoch + 1, write)
        """,
        [],
    ),
    "our library, with PyTorch": (
        """
        import torch
        from airflow_spot.checkpoint import Checkpointer
        from airflow_spot.checkpoint.for_pytorch import SeededSampler, TorchState
        def main():
            model = torch.nn.Linear(3, 1)
            optimizer = torch.optim.Adam(model.parameters())
            checkpoints = Checkpointer()
            state = TorchState(model=model, optimizer=optimizer)
            found = checkpoints.load(state.read)
            first = found.step if found else 0
            checkpoints.on_sigterm()
            for step in range(first, 100):
                optimizer.zero_grad()
                model(torch.ones(1, 3)).sum().backward()
                optimizer.step()
                if checkpoints.due(step + 1, every=10):
                    checkpoints.save(step + 1, state.write)
            torch.save(model.state_dict(), "/opt/ml/model/model.pt")
        if __name__ == "__main__":
            main()
        """,
        [],
    ),
    "our library, with Trainer": (
        """
        from transformers import AutoModelForSequenceClassification, Trainer, TrainingArguments
        from airflow_spot.checkpoint import Checkpointer
        from airflow_spot.checkpoint.for_transformers import Saving
        model = AutoModelForSequenceClassification.from_pretrained("x")
        saving = Saving(Checkpointer())
        trainer = Trainer(model, TrainingArguments("/tmp/trainer", save_steps=100), train_dataset=data, callbacks=[saving])
        found = saving.load()
        trainer.train(resume_from_checkpoint=found.path if found else None)
        trainer.save_model("/opt/ml/model")
        """,
        [],
    ),
    "our library, with Lightning": (
        """
        import lightning as L
        from airflow_spot.checkpoint import Checkpointer
        from airflow_spot.checkpoint.for_lightning import ResumableLoader, Saving
        def main():
            model = Net()
            saving = Saving(Checkpointer(), every=100)
            trainer = L.Trainer(callbacks=[saving], enable_checkpointing=False, max_epochs=3)
            found = saving.load()
            trainer.fit(model, ResumableLoader(data, batch_size=32, shuffle=True), ckpt_path=found.path if found else None)
            trainer.save_checkpoint("/opt/ml/model/model.ckpt")
        main()
        """,
        [],
    ),
    "our library, with Lightning, and never loaded": (
        """
        import lightning as L
        from airflow_spot.checkpoint import Checkpointer
        from airflow_spot.checkpoint.for_lightning import ResumableLoader, Saving
        def main():
            model = Net()
            saving = Saving(Checkpointer(), every=100)
            trainer = L.Trainer(callbacks=[saving], enable_checkpointing=False, max_epochs=3)
            trainer.fit(model, ResumableLoader(data, batch_size=32, shuffle=True))
            trainer.save_checkpoint("/opt/ml/model/model.ckpt")
        main()
        """,
        ["never-loads"],
    ),
    "our library, on several hosts": (
        """
        import torch, torch.distributed
        from airflow_spot.checkpoint import Checkpointer
        from airflow_spot.checkpoint.for_pytorch import TorchState
        from airflow_spot.checkpoint.for_pytorch_hosts import due, join, load, save
        rank, world = join("nccl")
        checkpoints = Checkpointer(barrier=torch.distributed.barrier)
        state = TorchState(model=model)
        found = load(checkpoints, state)
        for step in range(found.step if found else 0, 100):
            loss.backward()
            if due(checkpoints, step + 1, every=10):
                save(checkpoints, step + 1, state)
        if rank == 0:
            torch.save(model.state_dict(), "/opt/ml/model/model.pt")
        """,
        [],
    ),
    "our library, with XGBoost": (
        """
        import xgboost
        from airflow_spot.checkpoint import Checkpointer
        from airflow_spot.checkpoint.for_xgboost import train
        data = xgboost.DMatrix("/opt/ml/input/data/train")
        booster = train(Checkpointer(), {"objective": "binary:logistic"}, data, rounds=200, every=10)
        booster.save_model("/opt/ml/model/model.ubj")
        """,
        [],
    ),
    "our library, with Keras": (
        """
        import keras, tensorflow as tf
        from airflow_spot.checkpoint import Checkpointer
        from airflow_spot.checkpoint.for_keras import fit
        def data(epoch):
            return tf.data.Dataset.from_tensor_slices((x, y)).shuffle(len(x), seed=epoch).batch(32)
        model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(1)])
        model.compile("adam", "mse")
        fit(Checkpointer(), model, data, epochs=20, every=100)
        model.save("/opt/ml/model/model.keras")
        """,
        [],
    ),
    "our library, by its module": (
        """
        from airflow_spot.checkpoint import Checkpointer, for_keras
        model = build()
        for_keras.fit(Checkpointer(), model, data, epochs=20)
        model.save("/opt/ml/model/model.keras")
        """,
        [],
    ),
    "our library, imported and not used": (
        """
        import keras
        from airflow_spot.checkpoint import Checkpointer
        checkpoints = Checkpointer("/opt/ml/checkpoints")
        model = keras.Sequential([keras.layers.Dense(1)])
        model.compile("adam", "mse")
        model.fit(x, y, epochs=20)
        """,
        ["never-loads"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_framework(name: str) -> None:
    script, expected = CASES[name]
    assert rules(script) == expected


@pytest.mark.parametrize(("options", "expected"), [((), ["no-checkpoint-path"]), (("output_dir",), [])])
def test_an_argument_that_the_job_sets_to_the_folder(options: tuple[str, ...], expected: list[str]) -> None:
    script = HUGGING_FACE.replace('default="/opt/ml/checkpoints"', 'default=os.environ["SM_MODEL_DIR"]').replace(
        "get_last_checkpoint", "newest"
    )
    assert [each.rule for each in look(script, options=options).findings] == expected
