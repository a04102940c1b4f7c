"""
Run the package through everything that can go wrong, and count what it does not survive.

    python -m tests.chaos --runs 60 --seed 1 --engine simulated [--json] [--resume FILE] [--jobs P] [--only SEED]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.chaos.campaign import Campaign, Done, summary
from tests.chaos.judge import COLUMNS

ENGINES = ("simulated", "process")


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__.strip().splitlines()[0])
    parser.add_argument("--runs", type=int, default=60, help="how many runs of each engine (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="the first run's; the next ones follow")
    parser.add_argument("--engine", choices=ENGINES, action="append", help="again for both; default: simulated")
    parser.add_argument("--jobs", type=int, default=0, help="how many at once; default: 16 simulated, 8 process")
    parser.add_argument("--only", type=int, help="play this seed alone, and keep its logs")
    parser.add_argument("--resume", type=Path, help="a file that keeps the runs that are done, and is gone on from")
    parser.add_argument("--logs", type=Path, help="where failing runs leave theirs; default: a new temporary folder")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Play, print, and return 0 where every run survived."""
    args = parse(arguments)
    logs = args.logs or Path(tempfile.mkdtemp(prefix="airflow-spot-chaos-logs-"))
    engines = args.engine or ["simulated"]
    seeds = [args.only] if args.only is not None else list(range(args.seed, args.seed + args.runs))
    found: dict[str, list[Done]] = {}
    for engine in dict.fromkeys(engines):
        jobs = args.jobs or (16 if engine == "simulated" else 8)
        found[engine] = Campaign(engine, seeds, jobs=jobs, logs=logs, resume=args.resume, tell=_Progress()).run()
    counts = {engine: summary(done) for engine, done in found.items()}
    if args.json:
        single = counts[engines[0]] if len(counts) == 1 else None
        print(json.dumps(single or {**_total(counts), "engines": counts}))
    else:
        for engine, done in found.items():
            _print(engine, done, counts[engine])
    if all(count["survived"] == count["runs"] for count in counts.values()):
        if args.logs is None and not any(logs.iterdir()):
            logs.rmdir()
        return 0
    return 1


class _Progress:
    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._bad = 0

    def __call__(self, done: Done, over: int, all: int) -> None:
        self._bad += not done.survived
        line = f"{over}/{all} runs, {self._bad} not survived, {time.monotonic() - self._begun:.0f} s"
        if sys.stderr.isatty():
            print(f"\r{line}", end="" if over < all else "\n", file=sys.stderr, flush=True)
        elif over % 20 == 0 or over == all or not done.survived:
            print(line, file=sys.stderr, flush=True)


def _total(counts: dict[str, dict[str, int]]) -> dict[str, int]:
    return {name: sum(count[name] for count in counts.values()) for name in ("runs", "survived", *COLUMNS)}


def _print(engine: str, done: list[Done], counts: dict[str, int]) -> None:
    faults: Counter[str] = Counter()
    kept: Counter[str] = Counter()
    for each in done:
        for fault in set(each.faults):
            faults[fault] += 1
            kept[fault] += each.survived
    print(f"\n{engine} engine: {counts['runs']} runs")
    for name in ("survived", *COLUMNS):
        print(f"  {name:<18}{counts[name]:>6}")
    print(f"  {'jobs, tries':<18}{sum(each.jobs for each in done):>6}{sum(each.tries for each in done):>7}")
    print(f"\n  {'fault':<44}{'runs':>6}{'survived':>10}")
    for fault, number in sorted(faults.items()):
        print(f"  {fault:<44}{number:>6}{kept[fault]:>10}")
    for each in sorted(done, key=lambda each: each.seed):
        if not each.survived:
            print(f"\n  seed {each.seed} ({'deferrable' if each.deferrable else 'sync'}): {', '.join(each.faults)}")
            for column, sentences in each.problems.items():
                for sentence in sentences:
                    print(f"    {column}: {sentence}")
            print(f"    logs: {each.logs}")
            print(f"    alone: python -m tests.chaos --engine {engine} --only {each.seed}")


if __name__ == "__main__":
    sys.exit(main())
