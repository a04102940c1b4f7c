"""The benchmark keeps its contract, and ours loads nothing heavy. What it takes is for the benchmark to say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "bench" / "import_cost.py"


def test_the_benchmark_speaks_json_and_finds_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--repeat", "1", "--json"], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    for name in ("ours_seconds", "stock_seconds", "ours_mb", "stock_mb"):
        assert found[name] > 0
    assert found["heavy_modules"] == []


def test_a_heavy_module_would_be_found() -> None:
    sys.path.insert(0, str(SCRIPT.parent))
    try:
        import import_cost
    finally:
        sys.path.remove(str(SCRIPT.parent))
    stock = ["airflow", "werkzeug.routing", "boto3"]
    assert import_cost._heavy([*stock, "moto.core", "sagemaker", "airflow_spot.core"], stock) == ["moto", "sagemaker"]
    assert import_cost._heavy([*stock, "werkzeug.serving"], stock) == []


def test_the_table_names_both() -> None:
    done = subprocess.run([sys.executable, str(SCRIPT), "--repeat", "1"], capture_output=True, text=True, check=True)
    assert "airflow_spot.operators.training" in done.stdout
    assert "amazon.aws.operators.sagemaker" in done.stdout
    assert "none" in done.stdout
