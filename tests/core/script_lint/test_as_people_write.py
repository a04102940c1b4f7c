"""Scripts as people write them: no false alarm, and no other fault than the one that they have."""

from __future__ import annotations

import pytest

from tests.core.script_lint.cases import look, rules

LOOP = """
net = torch.nn.Linear(1, 1)
step = 0
if os.path.exists(last):
    state = torch.load(last)
    net.load_state_dict(state["net"])
    step = state["step"]
for step in range(step, 9):
    net(torch.zeros(1)).sum().backward()
    torch.save({"net": net.state_dict(), "step": step + 1}, f"{last}.tmp")
    os.replace(f"{last}.tmp", last)
"""

POINTER = """
import json, os, torch
FOLDER = "/opt/ml/checkpoints"
def write_json(path, content):
    with open(path + ".tmp", "w") as file:
        json.dump(content, file)
    os.replace(path + ".tmp", path)
def save(net, step):
    name = "weights-%d.pt" % step
    torch.save(net.state_dict(), os.path.join(FOLDER, name))
    write_json(os.path.join(FOLDER, "latest.json"), {"weights": name, "step": step})
def load(net):
    path = os.path.join(FOLDER, "latest.json")
    if not os.path.exists(path):
        return 0
    newest = json.load(open(path))
    net.load_state_dict(torch.load(os.path.join(FOLDER, newest["weights"])))
    return newest["step"]
net = torch.nn.Linear(1, 1)
for step in range(load(net), 100):
    net(torch.zeros(1)).sum().backward()
    save(net, step)
"""

MARKED = """
import pathlib, torch
ROOT = pathlib.Path("/opt/ml/checkpoints")
def whole():
    found = [each for each in ROOT.glob("step_*") if (each / "DONE").exists()]
    return sorted(found, key=lambda each: int(each.name.split("_")[1]))
net = torch.nn.Linear(1, 1)
if whole():
    net.load_state_dict(torch.load(whole()[-1] / "net.pt"))
for step in range(10):
    net(torch.zeros(1)).sum().backward()
    folder = ROOT / f"step_{step}"
    folder.mkdir()
    torch.save(net.state_dict(), folder / "net.pt")
    (folder / "DONE").touch()
"""

OWN_S3 = """
import boto3, io, os, torch
s3 = boto3.client("s3")
bucket, key = os.environ["SM_HP_BUCKET"], "runs/last.pt"
net = torch.nn.Linear(1, 1)
try:
    net.load_state_dict(torch.load(io.BytesIO(s3.get_object(Bucket=bucket, Key=key)["Body"].read())))
except s3.exceptions.NoSuchKey:
    pass
for epoch in range(9):
    net(torch.zeros(1)).sum().backward()
    buffer = io.BytesIO()
    torch.save(net.state_dict(), buffer)
    s3.put_object(Bucket=bucket, Key=key, Body=buffer.getvalue())
torch.save(net.state_dict(), "/opt/ml/model/net.pt")
"""

SOUND = {
    "a prefix and a name": """
        import os, torch
        prefix = "/opt/ml/"
        checkpoint_path = os.path.join(prefix, "checkpoints")
        last = os.path.join(checkpoint_path, "last.pt")
    """,
    "text and text": """
        import os, torch
        prefix = "/opt/ml/"
        last = prefix + "checkpoints" + "/last.pt"
    """,
    "a default and a name": """
        import os, torch
        BASE = os.environ.get("SM_BASE", "/opt/ml")
        last = f"{BASE}/checkpoints/last.pt"
    """,
    "paths": """
        import os, torch
        from pathlib import Path
        ROOT = Path("/opt/ml")
        last = ROOT / "checkpoints" / "last.pt"
    """,
}
CATBOOST = """
from catboost import CatBoostClassifier, Pool
model = CatBoostClassifier(iterations=1000, train_dir="/opt/ml/checkpoints", save_snapshot=True)
model.fit(Pool("/opt/ml/input/data/train/t.csv"))
model.save_model("/opt/ml/model/m.cbm")
"""


@pytest.mark.parametrize("name", SOUND)
def test_a_folder_that_is_put_together_is_found(name: str) -> None:
    lines = [line.strip() for line in SOUND[name].splitlines()]
    assert rules("\n".join(lines) + LOOP) == []


def test_a_folder_that_is_put_together_somewhere_else_is_none() -> None:
    script = 'import os, torch\nprefix = "/opt/ml/"\nlast = os.path.join(prefix, "code", "last.pt")\n' + LOOP
    assert rules(script) == ["no-checkpoint-path"]


@pytest.mark.parametrize("script", [POINTER, MARKED, OWN_S3, CATBOOST])
def test_sound_scripts(script: str) -> None:
    assert rules(script) == []


def test_notes_beside_that_do_not_name_the_file_do_not_make_it_whole() -> None:
    script = POINTER.replace('{"weights": name, "step": step})', '{"step": step})')
    assert rules(script) == ["writes-in-place"]


def test_uploads_that_nothing_reads_are_no_checkpoints() -> None:
    assert rules(OWN_S3.replace("get_object(Bucket=bucket, Key=key)", "head()")) == ["no-checkpoint-path"]


def test_a_name_of_a_function_of_its_own_does_not_use_what_was_loaded() -> None:
    report = look("""
        import mxnet as mx, os, re
        def newest(folder):
            sym, arg, aux = mx.model.load_checkpoint(folder + "/m", 3)
            return sym, arg, aux, 3
        sym, arg, aux, epoch = newest("/opt/ml/checkpoints")
        mod = mx.mod.Module(mx.sym.Variable("data"))
        save = mx.callback.do_checkpoint("/opt/ml/checkpoints/m")
        mod.fit(None, begin_epoch=epoch, num_epoch=20, epoch_end_callback=save)
    """)
    assert [(each.rule, each.line) for each in report.findings] == [("load-unused", 6)]
