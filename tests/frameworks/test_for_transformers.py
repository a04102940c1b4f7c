"""What is particular to Trainer: its folders in place, its best model, its own times to save."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.frameworks.folders import of_library
from tests.frameworks.imported import Imported
from tests.frameworks.unpacked import Unpacked, end, kill, read_until

pytestmark = pytest.mark.slow

#: Evaluates, and ends with the best model, that of step 8, which an instance that goes would take with it.
TRAINER = """
import argparse, os, signal, tempfile, time
import torch
from transformers import BertConfig, BertForSequenceClassification, set_seed
from transformers import Trainer, TrainerCallback, TrainingArguments
from airflow_spot.checkpoint import Checkpointer
from airflow_spot.checkpoint.for_transformers import Saving

parser = argparse.ArgumentParser()
parser.add_argument("--pause", type=float, default=0.0)
parser.add_argument("--hold", type=int, default=0)
parser.add_argument("--term-at", type=int, default=0)
parser.add_argument("--output", default="")
parser.add_argument("--save", default="steps")
parser.add_argument("--model-only", type=int, default=0)
args = parser.parse_args()
set_seed(1)
tokens = torch.randint(5, 100, (64, 8), generator=torch.Generator().manual_seed(1))
data = [{"input_ids": row, "labels": (row > 52).sum() % 2} for row in tokens]
sizes = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
model = BertForSequenceClassification(BertConfig(vocab_size=100, max_position_embeddings=8, **sizes))
best = args.save == "steps"
arguments = TrainingArguments(
    args.output or tempfile.mkdtemp(), num_train_epochs=4, per_device_train_batch_size=8, learning_rate=0.01,
    save_strategy=args.save, save_steps=4, eval_strategy="steps", eval_steps=4, load_best_model_at_end=best,
    save_total_limit=1 if best else None, logging_steps=1, disable_tqdm=True, report_to="none",
    metric_for_best_model="score" if best else None, greater_is_better=True, use_cpu=True,
    save_only_model=bool(args.model_only),
)

class Log(TrainerCallback):
    def on_step_end(self, args, state, control, **more):
        time.sleep(options.pause)
        print("step=%d" % state.global_step, flush=True)
        if options.term_at == state.global_step:
            os.kill(os.getpid(), signal.SIGTERM)
        if 0 < options.hold <= state.global_step:
            time.sleep(600)  # until it is killed

def score(answers):
    return {"score": -abs(trainer.state.global_step - 8)}

options = args
saving = Saving(Checkpointer())
trainer = Trainer(model, arguments, train_dataset=data, eval_dataset=data[:16], compute_metrics=score,
                  callbacks=[saving, Log()])
found = saving.load()
print("FROM", found.step if found else 0, flush=True)
trainer.train(resume_from_checkpoint=found.path if found else None)
print("best", os.path.basename(trainer.state.best_model_checkpoint or "none"), flush=True)
model.save_pretrained(os.environ["SM_MODEL_DIR"])
"""


@pytest.fixture
def script(torch_python: Path, tmp_path: Path, torch_imported: Imported) -> Unpacked:
    (tmp_path / "train.py").write_text(TRAINER)
    return Unpacked(tmp_path / "train.py", torch_python, tmp_path / "unpacked", torch_imported)


@pytest.mark.parametrize(("killed", "newest"), [(22, 20), (10, 8)])
def test_the_best_model_so_far_survives(script: Unpacked, killed: int, newest: int, tmp_path: Path) -> None:
    code, said = end(script.start({}, checkpoints="whole", model="whole-model"))
    assert code == 0, said
    assert "best checkpoint-8" in said
    process = script.start({"hold": killed, "output": tmp_path / "first"})
    read_until(process, f"step={killed}")
    kill(process)
    shutil.rmtree(tmp_path / "first")  # with its instance
    code, said = end(script.start({"output": tmp_path / "second"}))
    assert code == 0, said
    assert f"FROM {newest}" in said
    assert "best checkpoint-8" in said
    assert script.model() == script.model("whole-model")


@pytest.mark.parametrize(
    ("values", "why"),
    [({"output": "checkpoints/trainer"}, "output_dir is "), ({"model-only": 1}, "save_only_model is set: ")],
)
def test_what_would_not_survive_is_refused(script: Unpacked, values: dict[str, object], why: str) -> None:
    code, said = end(script.start(values, checkpoints="code/checkpoints"))
    assert code == 1
    assert f"ValueError: {why}" in said
    assert not of_library(script.checkpoints("code/checkpoints"))


def test_without_a_strategy_of_its_own_it_saves_as_often_as_loses_least(script: Unpacked) -> None:
    code, said = end(script.start({"save": "no", "pause": 0.4, "term-at": 8}))
    assert code == 143, said
    assert [each.step for each in of_library(script.checkpoints())] == [9]


def test_two_processes_end_with_the_same_weights(script: Unpacked) -> None:
    ended = [end(each) for each in script.start_each({}, checkpoints="whole", model="whole-model")]
    assert [code for code, _ in ended] == [0, 0], ended
    processes = script.start_each({"hold": 10})
    read_until(processes[0], "step=10")
    for each in processes:
        kill(each)
    code, said = end(script.start({}, processes=2))
    assert code == 0, said
    assert "FROM 8" in said
    assert script.model() == script.model("whole-model")
