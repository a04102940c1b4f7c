"""The command line: what it does where nobody reads its output."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_spot.cli.aws import guarded


@pytest.mark.parametrize(
    ("arguments", "errors_too"),
    [(("iam",), False), (("iam", "--features", "all", "--explain"), True), (("check", "--help"), False)],
    ids=["little", "much", "help"],
)
def test_where_nobody_reads_it_ends_quietly(arguments: tuple[str, ...], errors_too: bool, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    errors = tmp_path / "errors"
    with errors.open("wb") as file:
        done = subprocess.run(
            [sys.executable, "-m", "airflow_spot.cli.main", *arguments],
            check=False,
            stdout=writing,
            stderr=writing if errors_too else file,
            env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
            timeout=60,
        )
    os.close(writing)
    assert (done.returncode, errors.read_text()) == (141, "")


def test_a_reader_that_has_gone_is_no_error_of_a_command() -> None:
    def print_much() -> int:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        guarded("history", print_much)
