"""
How long the pages take: all trainings of 10,000 runs in 90 days, read for the first time and again, and one large run.

On a SQLite database of its own, with as many other XComs beside as are asked for; or on the database that
``AIRFLOW__DATABASE__SQL_ALCHEMY_CONN`` names, which has to be empty.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

DAGS, DAYS = 40, 90
TYPES = ("ml.g5.xlarge", "ml.g5.2xlarge", "ml.p3.2xlarge", "ml.m5.large")


def main() -> int:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--others", type=int, default=0, help="other XComs beside; default: 0")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="airflow-spot-bench-") as home:
        os.environ["AIRFLOW_HOME"] = home
        os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
        os.environ.setdefault("AIRFLOW__LOGGING__LOGGING_LEVEL", "ERROR")
        figures = measure(options.runs, options.others)
    if options.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:24} {value}")
    return 0


def measure(runs: int, others: int) -> dict[str, Any]:
    """Fill a database, and time what pages ask of it."""
    from tests.ui.rows import migrate

    migrate()
    fill(runs, others)
    from airflow.settings import engine

    from airflow_spot.ui.pages import Pages
    from airflow_spot.ui.values import Request

    pages = Pages(credentials=True)

    def ask(path: str, **query: str) -> tuple[float, int]:
        # CPU time, so that a busy machine troubles it less; of a database in another process it misses the query.
        clock = time.process_time if engine.dialect.name == "sqlite" else time.perf_counter
        started = clock()
        answer = pages.answer(Request("GET", path, query, {}, Everybody(), "/airflow-spot"))
        if answer.status != 200:
            raise RuntimeError(f"{path}: {answer.status}")
        return clock() - started, len(answer.body)

    first, size = ask("/", days=str(DAYS))
    time.sleep(2.1)  # what was read a moment ago is taken as it is
    again, _ = ask("/", days=str(DAYS))
    at_once, _ = ask("/fragment/fleet", days=str(DAYS))
    csv, csv_size = ask("/fleet.csv", days=str(DAYS))
    place = "/fragment/run/dag_0/large/train/-1"
    ask(place)
    run, run_size = min(ask(place) for _ in range(5))
    return {
        "database": engine.dialect.name,
        "runs": runs,
        "other_xcoms": others,
        "fleet_first_seconds": round(first, 3),
        "fleet_again_seconds": round(again, 3),
        "fleet_at_once_seconds": round(at_once, 3),
        "fleet_kb": round(size / 1024),
        "csv_seconds": round(csv, 3),
        "csv_kb": round(csv_size / 1024),
        "run_seconds": round(run, 4),
        "run_kb": round(run_size / 1024),
    }


class Everybody:
    """Who may see all: rights are the auth manager's to give, and are not measured here."""

    name = "everybody"

    def may_read(self, dag_id: str) -> bool:
        return True

    def may_edit(self, dag_id: str) -> bool:
        return True

    def readable(self, dag_ids: frozenset[str]) -> frozenset[str]:
        return dag_ids


def fill(runs: int, others: int) -> None:
    """Put runs of all kinds into the database, and one with 30 attempts of 18 starts each."""
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance

    from airflow_spot.render.ledger_format import SUMMARY_KEY, TIMELINE_KEY
    from tests.ui.ledgers import summary, timeline
    from tests.ui.rows import Database, insert_many, task_id_of, xcom_model

    database, chance = Database(), random.Random(19)
    now = datetime.now(timezone.utc)
    for number in range(DAGS):
        database.dag(f"dag_{number}", owners=f"team {number % 7}", tags=("training",))
    database.run("dag_0", "large")
    database.task("dag_0", "large", "train", state="deferred")
    database.xcom(("dag_0", "large", "train"), SUMMARY_KEY, summary())
    database.xcom(("dag_0", "large", "train"), TIMELINE_KEY, timeline("dag_0", "large", "train", attempts=large()))
    runs_, tasks, xcoms = [], [], []
    for number in range(runs):
        dag_id, run_id = f"dag_{number % DAGS}", f"run_{number}"
        began = now - timedelta(days=chance.uniform(0, DAYS))
        state = "completed" if chance.random() < 0.93 else chance.choice(("failed", "training", "waiting"))
        written = began + timedelta(hours=chance.uniform(0.2, 9))
        taken = [[int(began.timestamp()) + 900 * n, chance.choice(TYPES)] for n in range(chance.randrange(4))]
        over = state in ("completed", "failed")
        runs_.append({"id": 1_000 + number, "dag_id": dag_id, "run_id": run_id, "at": began - timedelta(number)})
        airflow_state = {"completed": "success", "failed": "failed"}.get(state, "deferred")
        tasks.append({"dag_id": dag_id, "run_id": run_id, "task_id": "train", "state": airflow_state})
        ledger = summary(
            state=state,
            began=int(began.timestamp()),
            ended=int(written.timestamp()) if over else None,
            type=chance.choice(TYPES),
            interruptions=len(taken),
            interrupted=taken,
            waited=chance.randrange(3_000),
            trained=chance.randrange(600, 30_000),
            billed=chance.randrange(300, 10_000) if over else None,
        )
        row = {"dag_run_id": 1_000 + number, "dag_id": dag_id, "run_id": run_id, "task_id": "train"}
        xcoms.append({**row, "key": SUMMARY_KEY, "value": ledger, "timestamp": min(written, now)})
    for number in range(others):
        row = xcoms[number % runs]
        xcoms.append({**row, "key": f"other_{number // runs}", "value": {"x": "y" * 200}})
    insert_many(DagRun, runs_)
    insert_many(TaskInstance, [{**row, "id": task_id_of(TaskInstance)} for row in tasks])
    insert_many(xcom_model(), xcoms)


def large() -> list[dict[str, Any]]:
    """Return 30 attempts of 18 starts each: 540 segments."""
    from tests.ui.ledgers import attempt

    made = []
    for number in range(30):
        begin = number * 20_000.0
        starts = [
            [begin + n * 1_000, begin + n * 1_000 + 200, begin + n * 1_000 + 300, begin + n * 1_000 + 990, None]
            for n in range(18)
        ]
        made.append(
            attempt(
                number=number + 1,
                job=f"train-afspot-abcdefghij-1-{number + 1}",
                created=begin,
                ended=begin + 19_000,
                status="Stopped",
                outcome="capacity_timeout",
                interruptions=17,
                starts=starts,
                ticks=[[begin + n * 500 + 300, n] for n in range(20)],
            )
        )
    return made


if __name__ == "__main__":
    sys.exit(main())
