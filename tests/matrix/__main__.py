"""Run the wheel on every supported version of Airflow: ``python -m tests.matrix``."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from tests.matrix.environment import CONSTRAINTS, NEWEST, Target
from tests.matrix.scenarios import play_all
from tests.matrix.table import table

#: MWAA's images, and the newest Airflow on every Python that takes it.
TARGETS = [
    *(Target(airflow, "3.12") for airflow in ("2.11.2", "3.0.6", "3.2.1", "3.3.1", NEWEST)),
    *(Target(NEWEST, python) for python in ("3.10", "3.11", "3.13")),
]


def main(arguments: list[str] | None = None) -> int:
    """Run what is asked for, print the table, and return 0 if all of it passed."""
    parser = argparse.ArgumentParser(prog="python -m tests.matrix", description=__doc__)
    parser.add_argument("--versions", nargs="+", metavar="AIRFLOW[-pyX.Y]", help="such as 3.0.6, newest-py3.13")
    parser.add_argument("--scenarios", choices=["bounded", "all"], default="all")
    parser.add_argument("--jobs", type=int, default=1, help="real Airflows at once, each wants a core; default: 1")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    parser.add_argument("--folder", type=Path, help="for environments and logs; a new temporary one by default")
    options = parser.parse_args(arguments)
    targets = [t for t in TARGETS if options.versions is None or {t.airflow, str(t)} & set(options.versions)]
    if not targets:
        parser.error(f"there are: {' '.join(map(str, TARGETS))}")
    folder = (options.folder or Path(tempfile.mkdtemp(prefix="airflow-spot-matrix-"))).resolve()
    if not CONSTRAINTS.is_dir():
        say(f"no constraints beside the checkout ({CONSTRAINTS.name}/): bounds of our own are taken")
    started = time.monotonic()
    rows = play_all(targets, folder, bounded=options.scenarios == "bounded", jobs=options.jobs, say=say)
    passed = all(row.passed for row in rows)
    if options.json:
        print(json.dumps({"rows": [row.as_json() for row in rows], "passed": passed}))
    else:
        print(table(rows))
        print(f"{'passed' if passed else 'failed'} in {time.monotonic() - started:.0f} s; logs in {folder}")
    return 0 if passed else 1


def say(line: str) -> None:
    """Tell how it continues, apart from the result."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
