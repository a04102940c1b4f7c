"""
What the pages in Airflow's UI cost: milliseconds to make each, and its bytes::

    python bench/pages_cost.py [--repeat 5]

Values in and HTML out, in this process: without a database, a network and a browser.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from airflow_spot.render.fleet import fleet, fleet_csv, fleet_page
from airflow_spot.render.reading import read_summary, read_timeline
from airflow_spot.render.run import run_page
from airflow_spot.render.values import Actions, FleetFilter, Where
from bench.pages import markdown_table
from tests.render import examples

NOW = examples.T0 + 40_000.0
WHERE = Where("/airflow-spot")


def measure(make: Callable[[], object], repeat: int) -> tuple[float, object]:
    """Return the least milliseconds of processor time of so many runs, and what the last one gave."""
    least, made = float("inf"), None
    for _ in range(repeat):
        begun = time.process_time()
        made = make()
        least = min(least, time.process_time() - begun)
    return 1000 * least, made


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--repeat", type=int, default=5)
    args = parser.parse_args()
    many, mapped = [examples.viewed(examples.many(), "success")], examples.mapped()
    usual = [examples.viewed(examples.interrupted(), "success")]
    rows = examples.fleet_rows(10_000, NOW)
    summaries, timeline = [row.summary for row in rows], examples.many()
    view = fleet(rows, FleetFilter(days=90), NOW)
    cases: dict[str, Callable[[], object]] = {
        "run, 2 attempts": lambda: run_page(usual, WHERE, Actions(), NOW),
        "run, 30 attempts with 540 starts": lambda: run_page(many, WHERE, Actions(), NOW),
        "its timeline, read": lambda: read_timeline(timeline),
        "DAG run, mapped 20 times": lambda: run_page(mapped, WHERE, Actions(), NOW),
        "fleet of 10,000, aggregated": lambda: fleet(rows, FleetFilter(days=90), NOW),
        "fleet of 10,000, rendered": lambda: fleet_page(view, WHERE),
        "fleet of 10,000, as CSV": lambda: fleet_csv(view),
        "10,000 summaries, read": lambda: [read_summary(one) for one in summaries],
    }
    lines = []
    for name, make in cases.items():
        least, made = measure(make, args.repeat)
        text = made if isinstance(made, str) else ""
        size = [f"{len(text):,}", f"{len(gzip.compress(text.encode())):,}"] if text else ["", ""]
        lines.append([name, f"{least:.1f}", *size])
    print("\n".join(markdown_table(["what", "ms of processor time", "bytes", "gzipped"], lines)))
    print(f"\nA timeline of 30 attempts with 540 starts is {len(json.dumps(timeline)):,} bytes of JSON.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
