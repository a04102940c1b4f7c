"""Fifty runs against one quota: a pool that counts deferred tasks, as the page on the operator advises."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from airflow_spot.operators.training import SageMakerSpotTrainingOperator
from tests.support.requests import stock_config

PAGE = (Path(__file__).parents[2] / "docs" / "operator.md").read_text()


def command() -> list[str]:
    found = re.search(r"^airflow (pools set .*)$", PAGE, re.MULTILINE)
    assert found is not None
    return shlex.split(found[1])


def test_the_pages_pool_counts_deferred_tasks_and_a_task_is_in_it() -> None:
    from airflow.cli import cli_parser

    args = cli_parser.get_parser().parse_args(command())
    assert args.include_deferred is True
    snippet = re.search(r'^arguments = (\{"pool".*?\})', PAGE, re.MULTILINE)
    assert snippet is not None
    arguments = eval(snippet[1])
    task = SageMakerSpotTrainingOperator(task_id="train", config=stock_config("bucket"), deferrable=True, **arguments)
    assert (task.pool, task.pool_slots) == (args.pool, 1)


@pytest.mark.slow
def test_a_deferred_task_keeps_its_slot(tmp_path: Path) -> None:
    """Airflow's own count of a pool, with the page's command."""
    environ = {**os.environ, "AIRFLOW_HOME": str(tmp_path)}

    def python(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments], env=environ, capture_output=True, text=True, timeout=600, check=False
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    python("-m", "airflow", "db", "migrate")
    python("-m", "airflow", *command())
    code = """
        from airflow.models.pool import Pool
        from airflow.utils.session import create_session
        with create_session() as session:
            pool = session.query(Pool).filter(Pool.pool == "g5-spot").one()
            states = set(map(str, pool.get_occupied_states()))
            print("STATES", *sorted(states))
    """
    assert "deferred" in python("-c", textwrap.dedent(code)).split("STATES")[1]
