"""The library runs on the Pythons of containers, old ones too."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import pytest

from airflow_spot import checkpoint
from tests.matrix.environment import find_python

FOLDER = Path(checkpoint.__file__).parent
SCRIPT = """
import json
from checkpoint import Checkpointer

def write(path):
    with open(path, "w") as file:
        json.dump([1.5], file)

def read(path):
    with open(path) as file:
        return json.load(file)

checkpoints = Checkpointer("checkpoints")
checkpoints.on_sigterm()
for step in range(1, 5):
    if checkpoints.due(step, every=1):
        checkpoints.save(step, write, {"loss": 1 / step})
    checkpoints.progress(step, 4)
found = Checkpointer("checkpoints").load(read)
print(found.step, found.state, found.metrics)
"""


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_its_syntax_is_that_of_python_3_6(path: Path) -> None:
    ast.parse(path.read_text(), feature_version=(3, 6))


@pytest.mark.parametrize("version", ["3.6", "3.7", "3.8", "3.9"])
def test_it_saves_and_loads_on_an_old_python(version: str, tmp_path: Path) -> None:
    python = find_python(version)
    if python is None:
        pytest.skip(f"PATH has no Python {version}")
    (tmp_path / "checkpoint.py").write_text((FOLDER / "__init__.py").read_text())
    (tmp_path / "train.py").write_text(SCRIPT)
    done = subprocess.run([python, "train.py"], check=False, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1:] == ["4 [1.5] {'loss': 0.25}"], done.stderr
