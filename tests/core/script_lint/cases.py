"""What the tests of the lint share: look at a script, and a sound one to change."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import dedent

from airflow_spot.core.script_lint import Report, lint


def look(
    script: str,
    beside: Mapping[str, str] | None = None,
    *,
    options: tuple[str, ...] = (),
    folder: str = "/opt/ml/checkpoints",
) -> Report:
    """Lint a script and the files beside it."""
    files = {"train.py": script, **(beside or {})}
    sources = {name: dedent(text).encode() for name, text in files.items()}
    return lint(sources, "train.py", folder=folder, options=options)


def rules(script: str, folder: str = "/opt/ml/checkpoints") -> list[str]:
    """Return the names of the rules that a script breaks."""
    return [each.rule for each in look(script, folder=folder).findings]


#: A script of PyTorch without a fault; the tests replace parts of it.
SOUND = """\
import argparse
import os
import re

import torch
from torch import nn

FOLDER = os.environ.get("SM_CHECKPOINT_DIR", "/opt/ml/checkpoints")


def steps():
    found = {}
    for name in os.listdir(FOLDER):
        if match := re.fullmatch(r"step-(\\d+)\\.pt", name):
            found[int(match[1])] = os.path.join(FOLDER, name)
    return found


def resume(model, optimizer):
    found = steps()
    if not found:
        return 0
    state = torch.load(found[max(found)], map_location="cpu")
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return state["epoch"] + 1


def save(model, optimizer, epoch):
    path = os.path.join(FOLDER, f"step-{epoch}.pt")
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}
    torch.save(state, path + ".part")
    os.replace(path + ".part", path)
    for step, old in sorted(steps().items())[:-2]:
        os.remove(old)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--model-dir", default=os.environ.get("SM_MODEL_DIR"))
    args = parser.parse_args()
    os.makedirs(FOLDER, exist_ok=True)
    model = nn.Linear(4, 2)
    optimizer = torch.optim.Adam(model.parameters())
    begin = resume(model, optimizer)
    for epoch in range(begin, args.epochs):
        loss = model(torch.randn(8, 4)).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        save(model, optimizer, epoch)
    torch.save(model.state_dict(), os.path.join(args.model_dir, "model.pt"))


if __name__ == "__main__":
    main()
"""


def changed(old: str, new: str, *more: str) -> str:
    """Return the sound script with parts replaced, each of which must be there."""
    script = SOUND
    for before, after in zip((old, *more[::2]), (new, *more[1::2]), strict=True):
        assert before in script, before
        script = script.replace(before, after)
    return script
