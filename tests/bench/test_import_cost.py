"""The benchmark keeps its contract, and ours loads nothing heavy. What it takes is for the benchmark to say."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "bench" / "import_cost.py"


@pytest.fixture(scope="module")
def bench() -> Any:
    """The script, as a module."""
    spec = importlib.util.spec_from_file_location("import_cost", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_the_benchmark_speaks_json_and_finds_nothing_heavy(bench: Any) -> None:
    command = [sys.executable, str(SCRIPT), "--runs", "1", "--cold", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    for name in ("ours_seconds", "stock_seconds", "ours_mb", "stock_mb"):
        assert found[name] > 0
    assert found["heavy_modules"] == []
    table = "\n".join(bench.table(found))
    for shown in (bench.OURS, "amazon.aws.operators.sagemaker", f"{found['ours_mb']:.1f}", "none"):
        assert shown in table


def test_a_heavy_module_would_be_found(bench: Any) -> None:
    stock = ["airflow", "werkzeug.routing", "boto3"]
    assert bench._heavy([*stock, "moto.core", "sagemaker", "airflow_spot.core"], stock) == ["moto", "sagemaker"]
    assert bench._heavy([*stock, "werkzeug.serving"], stock) == []


def test_a_module_that_cannot_be_imported_ends_it(bench: Any) -> None:
    with pytest.raises(SystemExit, match="no_such_module"):
        bench.measure("no_such_module")
