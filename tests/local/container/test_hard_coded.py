"""Code that names ``/opt/ml`` where it cannot be: what runs is looked at, and no more."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from airflow_spot.local.container.hard_coded import find

OPENS = 'open("/opt/ml/model/m")\n'


def look(folder: Path, files: dict[str, str], *command: str) -> tuple[str, int] | None:
    for name, text in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text))
    words = [str(folder / word) if word in files else word for word in command]
    found = find(sorted(path for path in folder.rglob("*") if path.is_file()), words)
    return found and (found[0].relative_to(folder).as_posix(), found[1])


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (OPENS, 1),
        ("x = 1\nparser.add_argument('--model',\n    default='/opt/ml/model')\n", 3),
        ("def save(path='/opt/ml/model'): pass\n", 1),
        ("path = f'/opt/ml/{name}'\n", 1),
        ("print '/opt/ml'\n", 1),  # Python 2
        ("# /opt/ml\n", None),
        ('"""Writes to /opt/ml/model."""\ndef save():\n    "To /opt/ml."\n', None),
        ("path = os.environ.get(\n    'SM_MODEL_DIR',\n    '/opt/ml/model',\n)\n", None),
        ("path = os.getenv('SM_MODEL_DIR') or '/opt/ml/model'\n", None),
        ("path = os.environ['X'] if 'X' in os.environ else '/opt/ml/model'\n", None),
        (f"x = {' + '.join(['1'] * 1500)}\n" + OPENS, 2),  # generated: too deep to be walked
        (f"x = {' + '.join(['1'] * 50000)}\n" + OPENS, 2),  # and to be parsed
        ("paths = {'a': os.environ['A'], 'b': '/opt/ml/model'}\n", 1),
    ],
)
def test_what_a_script_says(tmp_path: Path, text: str, line: int | None) -> None:
    assert look(tmp_path, {"train.py": text}, "python", "train.py") == (line and ("train.py", line))


@pytest.mark.parametrize(
    ("script", "other"),
    [
        ("import data.rows", "data/rows.py"),
        ("import data.rows", "data/__init__.py"),
        ("from data import rows", "data/rows.py"),
        ("from . import rows", "rows.py"),
        ("def later():\n    import rows\n", "rows.py"),
        ("import steps\n", "rows.py"),  # which imports rows
        ("subprocess.run(['python', 'rows.py'])", "rows.py"),
        ("subprocess.run(['sh', './start.sh'])", "start.sh"),
    ],
)
def test_what_a_script_reaches(tmp_path: Path, script: str, other: str) -> None:
    files = {"steps.py": "import rows\n", "train.py": script}
    assert look(tmp_path, {**files, other: OPENS}, "python", "train.py") == (other, 1)


def test_what_it_does_not_reach_and_our_library_are_let_pass(tmp_path: Path) -> None:
    files = {
        "train.py": "from airflow_spot.checkpoint import Checkpointer\n",
        "older/train_all.py": OPENS,
        "airflow_spot/checkpoint/__init__.py": 'DEFAULT_PATH = "/opt/ml/checkpoints"\n',
    }
    assert look(tmp_path, files, "python", "train.py") is None
    assert look(tmp_path, files, "/bin/sh", "-c", "./train.sh") == ("older/train_all.py", 1)


def test_a_circle_of_imports_ends(tmp_path: Path) -> None:
    assert look(tmp_path, {"train.py": "import other", "other.py": "import train"}, "python", "train.py") is None
