"""
What ``import airflow_spot.operators.training`` costs a DAG file, beside the stock operator's module.

    python bench/import_cost.py [--runs N] [--cold] [--json]

Each figure is the median over fresh interpreters, ours and the stock one in turn, so that a busy machine troubles
both alike; the seconds are of CPU time, for the same reason. Both include ``import airflow`` and everything else that
comes with it: what a DAG processor pays that has imported nothing yet. "Memory" is the peak resident size above a bare
interpreter's.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from typing import Any

OURS = "airflow_spot.operators.training"
STOCK = "airflow.providers.amazon.aws.operators.sagemaker"
#: Packages that are dear to import and that nobody needs to parse a DAG.
HEAVY = ("sagemaker", "sagemaker_core", "moto", "werkzeug", "sklearn", "pandas", "numpy", "scipy", "xgboost", "torch")

_MEASURE = """
import resource, sys, time
def peak():
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size / (1024 * 1024 if sys.platform == "darwin" else 1024)
before = peak()
begin = time.process_time()
__import__(sys.argv[1])
seconds = time.process_time() - begin
grown = peak() - before
import json
print("\\n" + json.dumps({"seconds": seconds, "mb": grown, "modules": sorted(sys.modules)}))
"""


def measure(module: str) -> dict[str, Any]:
    """Import a module in a fresh interpreter."""
    done = subprocess.run([sys.executable, "-c", _MEASURE, module], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{module} cannot be imported:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.rsplit("\n", 2)[-2])
    return found


def compare(repeat: int, *, cold: bool = False) -> dict[str, Any]:
    """Measure both, in turn."""
    for module in () if cold else (OURS, STOCK):
        measure(module)  # compiles what has no .pyc yet and warms the disk's cache; not counted
    ours, stock = [], []
    for turn in range(repeat):
        # Who is first changes with the turn.
        for module, runs in ((OURS, ours), (STOCK, stock)) if turn % 2 else ((STOCK, stock), (OURS, ours)):
            runs.append(measure(module))
    return {
        "ours_seconds": _median(ours, "seconds", 3),
        "stock_seconds": _median(stock, "seconds", 3),
        "ours_mb": _median(ours, "mb", 1),
        "stock_mb": _median(stock, "mb", 1),
        "heavy_modules": _heavy(ours[0]["modules"], stock[0]["modules"]),
        "repeat": repeat,
        "includes_import_airflow": True,
    }


def _median(runs: list[dict[str, Any]], name: str, digits: int) -> float:
    return round(statistics.median(run[name] for run in runs), digits)


def _heavy(ours: list[str], stock: list[str]) -> list[str]:
    """Say which dear packages ours loads that the stock module does not: Airflow itself may load some."""
    more = {name.split(".")[0] for name in ours} - {name.split(".")[0] for name in stock}
    return sorted(more.intersection(HEAVY))


def table(found: dict[str, Any]) -> list[str]:
    """Write the figures for people."""
    return [
        f"Median of {found['repeat']} fresh interpreters each, in turn; CPU time; `import airflow` included for both.",
        "",
        f"{'':46}{'seconds':>9}{'MB':>8}",
        f"{STOCK.removeprefix('airflow.providers.'):46}{found['stock_seconds']:9.3f}{found['stock_mb']:8.1f}",
        f"{OURS:46}{found['ours_seconds']:9.3f}{found['ours_mb']:8.1f}",
        "",
        f"Heavy modules that only ours loads: {', '.join(found['heavy_modules']) or 'none'}",
    ]


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="What importing the operator costs, beside the stock one.")
    parser.add_argument(
        "--runs", "--repeat", type=int, default=7, metavar="N", help="fresh interpreters for each (default 7)"
    )
    parser.add_argument("--cold", action="store_true", help="do not import both once before measuring")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    if options.runs < 1:
        parser.error("--runs is at least 1")
    found = compare(options.runs, cold=options.cold)
    if options.json:
        print(json.dumps(found))
        return
    print("\n".join(table(found)))


if __name__ == "__main__":
    main()
