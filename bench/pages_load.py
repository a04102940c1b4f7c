"""
How long the pages take: all trainings of 10,000 runs in 90 days, read for the first time and again, and one large run.

On a SQLite database of its own, with as many other XComs beside as are asked for; or on the database that
``AIRFLOW__DATABASE__SQL_ALCHEMY_CONN`` names, which has to be empty; or with ``--postgres`` on a PostgreSQL of its own.
Each page is timed by the clock and by CPU time, which a busy machine troubles less; of a database on another machine
that misses the query.
"""

from __future__ import annotations

import argparse
import contextlib
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
    parser.add_argument("--postgres", action="store_true", help="start a PostgreSQL, and measure on that")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        home = stack.enter_context(tempfile.TemporaryDirectory(prefix="airflow-spot-bench-"))
        if options.postgres:
            from tests.matrix.postgres import Postgres

            database = stack.enter_context(Postgres(Path(home) / "postgres.log"))
            os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = database.url
        os.environ["AIRFLOW_HOME"] = home
        os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
        os.environ.setdefault("AIRFLOW__LOGGING__LOGGING_LEVEL", "ERROR")
        figures = measure(options.runs, options.others)
    if options.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:24} {_in_words(value)}")
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

    def ask(path: str, **query: str) -> tuple[float, float, int]:
        begun = time.perf_counter(), processor_seconds(engine)
        answer = pages.answer(Request("GET", path, query, {}, Everybody(), "/airflow-spot"))
        ended = time.perf_counter(), processor_seconds(engine)
        if answer.status != 200:
            raise RuntimeError(f"{path}: {answer.status}")
        return ended[0] - begun[0], ended[1] - begun[1], len(answer.body)

    found: dict[str, Any] = {"database": engine.dialect.name, "runs": runs, "other_xcoms": others}
    place = "/fragment/run/dag_0/large/train/-1"
    ask(place)  # connects, and reads the templates
    for name, path in (("fleet_first", "/"), ("fleet_again", "/"), ("fleet_at_once", "/fragment/fleet")):
        found[name] = _told(ask(path, days=str(DAYS)))
        if name == "fleet_first":
            time.sleep(2.1)  # what was read a moment ago is taken as it is
    found["csv"] = _told(ask("/fleet.csv", days=str(DAYS)))
    found["run"] = _told(min(ask(place) for _ in range(10)))
    return found


def processor_seconds(engine: Any) -> float:
    """Return the CPU time of this process, and of its database where that has processes of its own on this machine."""
    own = time.process_time()
    if engine.dialect.name != "postgresql":
        return own
    if not _BACKENDS:
        with engine.connect() as connection:
            pids = connection.exec_driver_sql("select pid from pg_stat_activity where datname = current_database()")
            _BACKENDS.extend(int(pid) for (pid,) in pids)
    ticks = 0
    for pid in _BACKENDS:
        with contextlib.suppress(OSError):  # it has ended
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return own + ticks / os.sysconf("SC_CLK_TCK")


#: The database's processes that serve this one.
_BACKENDS: list[int] = []


def _told(measured: tuple[float, float, int]) -> dict[str, float]:
    wall, processor, size = measured
    return {"seconds": round(wall, 4), "cpu_seconds": round(processor, 4), "kb": round(size / 1024)}


def _in_words(value: Any) -> Any:
    """Return a figure for people."""
    if not isinstance(value, dict):
        return value
    times = f"{1000 * value['seconds']:.0f} ms, {1000 * value['cpu_seconds']:.0f} ms of CPU time"
    return f"{times}, {value['kb']} KB"


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
