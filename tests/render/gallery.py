"""
Every state of the pages as an HTML file, to be looked at::

    python -m tests.render.gallery OUT              the pages
    python -m tests.render.gallery OUT --pictures   and each at 1280 and 400 pixels, light and dark, as PNG
    ... --axe node_modules/axe-core/axe.min.js      and what axe-core finds
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from airflow_spot.render import assets
from airflow_spot.render.fleet import fleet, fleet_page
from airflow_spot.render.run import run_page
from airflow_spot.render.values import Actions, FleetFilter, FleetRow, Viewed, Where
from tests.render import examples

NOW = examples.T0 + 40_000.0
COMMANDS = (
    ("Stop", "airflow-spot stop --run-key foljwgyftl"),
    ("Go on with a new job", "airflow-spot stop --run-key foljwgyftl --restart"),
)


def where(**more: object) -> Where:
    # Relative to the file, so that the pages open from the disk.
    return Where(base=".", live=False, **more)  # type: ignore[arg-type]


def _run(views: list[Viewed], now: float = NOW, actions: Actions | None = None) -> str:
    return run_page(views, where(), actions or Actions(), now)


def _fleet(rows: list[FleetRow], wanted: FleetFilter) -> str:
    return fleet_page(fleet(rows, wanted, NOW), where())


LONG = "a_rather_long_name_as_generators_of_dags_make_them_" * 4


def _long(index: int = -1) -> Viewed:
    """Names and reasons as long as Airflow and SageMaker allow, and figures as large as they get."""
    made = examples.live()
    made["reason"] = f"attempt 1: {LONG * 3}"
    made["totals"] = {**made["totals"], "training_seconds": 9_999_999, "interruptions": 12_345}
    made["progress"] = examples.said(123_456_789_012, 999_999_999_999)
    for attempt in made["attempts"]:
        attempt.update(type="ml.trn1n.32xlarge", count=128, why=LONG, job=LONG[:63], label="max wait exceeded")
        attempt["rung"] = "128 x ml.trn1n.32xlarge in another subnet"
    for decision in made["decisions"]:
        decision[2] = LONG
    ids = {"dag_id": LONG[:200], "run_id": f"manual__{LONG}", "task_id": f"group.{LONG}", "map_index": index}
    return examples.viewed(made, problem=LONG, **ids)


def _long_rows() -> list[FleetRow]:
    rows = examples.fleet_rows(12, NOW)
    return [
        replace(
            row, dag_id=LONG[:200], run_id=f"manual__{LONG}", task_id=f"{LONG}{index % 3}", owners=(LONG,), tags=(LONG,)
        )
        for index, row in enumerate(rows)
    ]


def pages() -> dict[str, Callable[[], str]]:
    """Every page by its name."""
    live = examples.live()
    end = live["t0"] + live["updated"]
    return {
        "run-training": lambda: _run([examples.viewed(examples.running())], examples.T0 + 4_420, Actions(allowed=True)),
        "run-waiting": lambda: _run([examples.viewed(examples.waiting())], examples.T0 + 5_400),
        "run-moved": lambda: _run([examples.viewed(examples.interrupted(), "success")]),
        "run-failed": lambda: _run([examples.viewed(examples.failed(), "failed")]),
        "run-cleared": lambda: _run([examples.viewed(examples.cleared(), "success")]),
        "run-many": lambda: _run([examples.viewed(examples.many(), "success")]),
        "run-mapped": lambda: _run(examples.mapped(), examples.T0 + 9_000),
        "run-live": lambda: _run([examples.viewed(live)], end, Actions(allowed=True)),
        "run-commands": lambda: _run([examples.viewed(live)], end, Actions(allowed=True, commands=COMMANDS)),
        "run-killed": lambda: _run([examples.viewed(examples.running(), "failed")]),
        "run-empty": lambda: _run([examples.viewed(None, "success")]),
        "run-unreadable": lambda: _run(
            [examples.viewed(None, problem="This timeline is of version 2, written by a newer airflow_spot.")]
        ),
        "run-long": lambda: _run([_long()], examples.T0 + 40_000, Actions(allowed=True)),
        "run-long-mapped": lambda: _run([_long(), _long(1)], examples.T0 + 40_000),
        "fleet-long": lambda: _fleet(_long_rows(), FleetFilter(days=90)),
        "fleet": lambda: _fleet(examples.fleet_rows(640, NOW), FleetFilter(days=90)),
        "fleet-filtered": lambda: _fleet(
            examples.fleet_rows(640, NOW), FleetFilter(days=7, dag="ads_ctr", sort="-runs.taken")
        ),
        "fleet-one": lambda: _fleet(examples.fleet_rows(1, NOW, live=0), FleetFilter(days=90)),
        "fleet-empty": lambda: _fleet([], FleetFilter()),
    }


def write(folder: Path) -> list[Path]:
    """Write every page, and what they load; return the pages' files."""
    (folder / "static").mkdir(parents=True, exist_ok=True)
    for name in assets.NAMES:
        content, _ = assets.asset(name) or (b"", "")
        (folder / "static" / name).write_bytes(content)
    written = []
    for name, make in pages().items():
        path = folder / f"{name}.html"
        path.write_text(make(), encoding="utf-8")
        written.append(path)
    return written


def main() -> int:
    parser = argparse.ArgumentParser(description="Writes every state of the pages.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--pictures", action="store_true")
    parser.add_argument("--axe", type=Path, help="axe.min.js of npm's axe-core, to look at each page too")
    parser.add_argument("--only", default="", help="pages whose name has this in it")
    args = parser.parse_args()
    written = [path for path in write(args.out) if args.only in path.name]
    for path in written:
        print(f"{path.stat().st_size:>8,} bytes  {path}")
    if args.pictures:
        from tests.render.pictures import take

        return 1 if take(written, axe=args.axe) else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
