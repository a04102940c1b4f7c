"""What the example DAGs' scripts train on, made once by the script that prepares it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

DAGS = Path(__file__).parents[2] / "dags"
SCRIPTS = DAGS / "scripts"


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train/train.csv, validation/validation.csv and test/test.csv."""
    folder = tmp_path_factory.mktemp("digits")
    subprocess.run([sys.executable, SCRIPTS / "prepare.py", "--output-dir", folder], check=True, timeout=600)
    return folder
