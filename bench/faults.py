"""
What becomes of a training when something goes wrong: the stock operator, and ours, under the same faults.

    python bench/faults.py [--only TEXT] [--jobs P] [--json | --markdown] [--write]

Nothing is typed in. Each cell is a run of the real operator in processes of their own, with the tries, deferrals and
kills that Airflow would give it (see ``tests/chaos``), on Local SageMaker; jobs are simulated and need fifteen seconds
of training. The stock operator runs in an environment of its own (see ``bench/stock.py``), on the same Airflow and
amazon provider, with what its users write for spot: managed spot, a MaxWait, a checkpoint folder. Both may be tried
once more, unless the row is about a limit in time. Ours has a ladder where there is no capacity or no quota, as the
stock operator has nothing like it. What is counted is read from the service's audit log:

- ``state``: what the task says in the end; ``completed``: whether any job completed
- ``jobs``: training jobs created; ``at_once``: how many were live at the same time, at most
- ``left``: jobs that were live three seconds after the task's end, when nobody waits for them any more
- ``paid_seconds``: how long all its jobs held instances. Jobs that are left running are let run on until they end by
  themselves, and are paid until then; one that has not ended ten seconds later than its work takes is stopped.
- ``as_due``: it ended in the state that is right for this fault (after a script's error: failed), a success has a
  completed job, never were two live at once, and none was left
- ``struck``: what really befell the run. A cell whose fault found nothing to strike is void, and says so.

``--write`` puts the whole table into docs/faults.md and the telling rows into the README, between their markers.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench import fault_report, stock
from bench.fault_cases import CASES, MARKET, QUOTAS, WORK_SECONDS, Case, on
from tests.chaos import operators
from tests.chaos.airflow import TaskRun
from tests.chaos.cloud import BUCKET, Cloud
from tests.chaos.judge import alive_at_once, paid_seconds
from tests.chaos.scenario import Scenario
from tests.chaos.zygote import Zygote

#: What is live so long after the task's end is left running.
SETTLE_SECONDS = 3.0
#: A run that takes longer is stuck. The slowest that is not sees two jobs wait for MaxWait.
BOUND_SECONDS = 180.0


def measure(
    case: Case, kind: str, number: int, cloud: Cloud, zygote: Zygote, folder: Path, work: float
) -> dict[str, Any]:
    """Run one cell, whose job trains for so many seconds."""
    token = f"{kind}{number}"
    name = f"run-{token}-job"
    config = operators.config(name, BUCKET, "simulated", work, **on(operators.TYPE))
    if kind == "stock":
        config["EnableManagedSpotTraining"] = True
        config["CheckpointConfig"] = {"S3Uri": f"s3://{BUCKET}/checkpoints/{name}"}
    spec = {
        "kind": kind,
        "engine": "simulated",
        "config": {**config, **case.config},
        "arguments": case.arguments_of(kind),
    }
    scenario = Scenario(
        seed=number,
        engine=kind,
        deferrable=case.mode == "deferrable",
        work=work,
        faults=(case.fault,),
        strikes=case.strikes_on(kind),
        blows=case.blows,
        clears=case.clears,
    )
    task = TaskRun(
        scenario,
        zygote,
        spec,
        cloud.proxy.environ(token),
        folder / token,
        lambda job, gap: cloud.local.interrupt(job, capacity_gap=gap),
        BOUND_SECONDS,
        retries=case.retries,
        retry_delay=case.retry_delay,
        execution_timeout=case.both.get("execution_timeout"),
        stop=lambda job: cloud.stop({job: ""}),
    )
    cloud.proxy.wires[token] = task.wire
    state = task.run()
    left = cloud.settle(token, SETTLE_SECONDS)
    cloud.stop(cloud.settle(token, work + 10))
    cloud.settle(token, SETTLE_SECONDS)
    events = cloud.events(token)
    states = [event for event in events if event["event"] == "state"]
    struck = [*task.wire.struck, *task.struck]
    (folder / token).mkdir(parents=True, exist_ok=True)
    (folder / token / "story.txt").write_text("\n".join([f"{case.fault}, {case.mode}", *task.story, *struck]) + "\n")
    (folder / token / "audit.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    found = {
        "state": "marked failed" if "mark-failed" in struck else state,
        "jobs": len({event["job"] for event in states}),
        "at_once": alive_at_once(events),
        "left": len(left),
        "completed": any(event["status"] == "Completed" for event in states),
        "paid_seconds": round(paid_seconds(events), 1),
        "struck": sorted(set(struck)),
        "void": bool(case.blows or scenario.strikes or case.clears) and not struck,
        "error": task.error[:300] if state == "failed" else "",
    }
    return {**found, "as_due": fault_report.as_due(found, case.due)}


def compare(
    cases: Sequence[Case],
    tell: Callable[[str], None],
    *,
    jobs: int = 6,
    logs: Path | None = None,
    work: float = WORK_SECONDS,
) -> dict[str, Any]:
    """
    Run the rows, both columns, several at once.

    :param tell: told what is being done.
    :param logs: a folder for what each cell's processes said, and its part of the audit log.
    :param work: seconds for which each job trains.
    """
    defers = any(case.mode == "deferrable" for case in cases)
    python, not_run = sys.executable, ""
    try:
        python = str(stock.interpreter(tell))
    except stock.NotMade as error:
        tell(f"no environment for the stock operator: {error}")
        if "aiobotocore" not in stock.versions(python):
            not_run = "not run: no environment with aiobotocore"
    with ExitStack() as stack:
        folder = logs or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="airflow-spot-faults-")))
        cloud = stack.enter_context(Cloud("simulated", market=MARKET, quotas=QUOTAS))
        zygotes = {
            "stock": stack.enter_context(Zygote({}, "stock", python)),
            "ours": stack.enter_context(Zygote({})),
        }
        pool = stack.enter_context(ThreadPoolExecutor(jobs))

        def cell(job: tuple[int, Case, str]) -> dict[str, Any]:
            number, case, kind = job
            if kind == "stock" and case.mode == "deferrable" and not_run:
                return {"state": "not run", "error": not_run}
            begun = time.monotonic()
            found = measure(case, kind, number, cloud, zygotes[kind], folder, work)
            seconds = time.monotonic() - begun
            tell(f"{case.fault}, {case.mode}: {kind}: {fault_report.say(found)} [{seconds:.0f} s, {kind}{number}]")
            return found

        cells = list(pool.map(cell, [(i, case, kind) for i, case in enumerate(cases) for kind in zygotes]))
    rows = [
        {
            "fault": case.fault,
            "mode": case.mode,
            "due": case.due,
            "telling": case.telling,
            "stock": cells[2 * i],
            "ours": cells[2 * i + 1],
        }
        for i, case in enumerate(cases)
    ]
    return {
        "date": date.today().isoformat(),
        "work_seconds": work,
        "versions": {"stock": stock.versions(python), "ours": stock.versions(sys.executable)},
        "stock_deferrable": not (defers and not_run),
        "faults": rows,
        "totals": fault_report.totals(rows),
    }


def main(arguments: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("--only", default="", metavar="TEXT", help="only the faults whose name holds this")
    parser.add_argument("--mode", default="", choices=("sync", "deferrable"), help="only this mode")
    parser.add_argument("--jobs", type=int, default=6, metavar="P", help="how many cells run at once (default 6)")
    parser.add_argument(
        "--work", type=float, default=WORK_SECONDS, metavar="S", help="seconds that a job trains (default %(default)g)"
    )
    parser.add_argument("--logs", type=Path, metavar="FOLDER", help="keep what each cell's processes said")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    form.add_argument("--markdown", action="store_true", help="print the table as markdown")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/faults.md and README.md")
    args = parser.parse_args(arguments)
    cases = [case for case in CASES if args.only in case.fault and args.mode in ("", case.mode)]
    if not cases:
        parser.error(f"no fault has {args.only!r} in its name")
    if args.write and (len(cases) < len(CASES) or args.work != WORK_SECONDS):
        parser.error("--write takes the whole table, of jobs that train as long as they do by default")

    def tell(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    found = compare(cases, tell, jobs=args.jobs, logs=args.logs, work=args.work)
    if args.json:
        print(json.dumps(found))
    elif args.markdown:
        print(fault_report.markdown(found))
    else:
        print(fault_report.table(found))
    if args.write:
        fault_report.write(found, Path(__file__).parents[1])
    return 0


if __name__ == "__main__":
    sys.exit(main())
