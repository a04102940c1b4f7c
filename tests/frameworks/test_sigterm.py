"""SIGTERM, within the grace that SageMaker gives: saved once, after the step it came in, and exit code 143."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

from tests.frameworks.examples import SCRIPTS
from tests.frameworks.folders import of_library
from tests.frameworks.imported import Imported
from tests.frameworks.unpacked import Unpacked, end, read_until


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pytorch", "pytorch_two_hosts", "huggingface", "lightning"])
def test_it_saves_once_and_ends(torch_python: Path, torch_imported: Imported, tmp_path: Path, name: str) -> None:
    script = Unpacked(SCRIPTS / f"train_{name}.py", torch_python, tmp_path, torch_imported)
    process = script.start({"log_every": 1, "checkpoint_every": 1000}, held_at="step=5 ")
    said = read_until(process, "step=5 ")
    process.send_signal(signal.SIGTERM)
    code, more = end(process)
    assert code == 143, said + more
    told = [int(step) for step in re.findall(r"^step=(\d+)", said + more, re.MULTILINE)]
    (saved,) = of_library(script.checkpoints())
    assert saved.step in (told[-1], told[-1] + 1)
    assert told[-1] in (5, 6)
    process = script.start({"log_every": 1})
    read_until(process, f"FROM {saved.step}")
    process.kill()
    end(process)
