"""
Run the package through everything that can go wrong, and count what it does not survive.

    python -m tests.chaos --runs 60 --seed 1 --engine simulated [--json] [--resume FILE] [--jobs P] [--only SEED]
    python -m tests.chaos --systematic [--variant NAME ...] [--mode sync|deferrable] [--limit N] [--only POINT] ...
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.chaos import systematic
from tests.chaos.campaign import Campaign, Done, summary
from tests.chaos.judge import COLUMNS
from tests.chaos.scenario import draw
from tests.chaos.systematic import MODES, VARIANTS, Point

ENGINES = ("simulated", "process")


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__.strip().splitlines()[0])
    parser.add_argument("--runs", type=int, default=60, help="how many runs of each engine (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="the first run's, the next ones follow; or the sample's")
    parser.add_argument("--systematic", action="store_true", help="strike at every call of every variant instead")
    parser.add_argument("--variant", choices=tuple(VARIANTS), action="append", help="systematic: again for several")
    parser.add_argument("--mode", choices=MODES, help="systematic; default: both")
    parser.add_argument("--limit", type=int, help="systematic: so many points, drawn by --seed; default: all")
    parser.add_argument("--engine", choices=ENGINES, action="append", help="again for both; default: simulated")
    parser.add_argument(
        "--jobs", type=int, default=0, help="how many at once; default: 16 simulated, 8 process or systematic"
    )
    parser.add_argument("--only", help="play this seed, or this point, alone")
    parser.add_argument("--resume", type=Path, help="a file that keeps the runs that are done, and is resumed from")
    parser.add_argument("--logs", type=Path, help="where failing runs leave theirs; default: a new temporary folder")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Play, print, and return 0 where every run survived."""
    args = parse(arguments)
    logs = args.logs or Path(tempfile.mkdtemp(prefix="airflow-spot-chaos-logs-"))
    found = _systematic(args, logs) if args.systematic else _random(args, logs)
    counts = {engine: summary(done) for engine, done in found.items()}
    if args.json:
        print(json.dumps(_as_json(args, found, counts)))
    else:
        for engine, done in found.items():
            _print(engine, done, counts[engine], "--systematic" if args.systematic else f"--engine {engine}")
    if all(count["survived"] == count["runs"] for count in counts.values()):
        if args.logs is None and not any(logs.iterdir()):
            logs.rmdir()
        return 0
    return 1


def _random(args: argparse.Namespace, logs: Path) -> dict[str, list[Done]]:
    seeds = [int(args.only)] if args.only is not None else list(range(args.seed, args.seed + args.runs))
    found: dict[str, list[Done]] = {}
    for engine in dict.fromkeys(args.engine or ["simulated"]):
        jobs = args.jobs or (16 if engine == "simulated" else 8)
        with Campaign(engine, jobs=jobs, logs=logs, resume=args.resume, tell=_Progress()) as campaign:
            found[engine] = campaign.run(draw(seed, engine) for seed in seeds)
    return found


def _systematic(args: argparse.Namespace, logs: Path) -> dict[str, list[Done]]:
    """Count the calls of the runs without a fault, then strike at each."""
    with Campaign("simulated", jobs=args.jobs or 8, logs=logs, resume=args.resume) as campaign:
        if args.only is not None:
            return {"simulated": campaign.run([systematic.scenario(Point.parse(args.only))])}
        bases = systematic.bases(args.variant or VARIANTS, [args.mode] if args.mode else MODES)
        counted = campaign.run(map(systematic.scenario, bases))
        points = systematic.points({Point.parse(each.point): len(each.points) for each in counted})
        if args.limit is not None:
            points = systematic.sample(points, args.limit, args.seed)
    tell, found = _Progress(), [*counted]
    exact = [point for point in points if point.variant == "exact"]
    for group in filter(None, (exact, [point for point in points if point.variant != "exact"])):
        # A service of their own: what an exact folder's task lists grows with the jobs of all runs before.
        over = len(found) - len(counted)
        with Campaign("simulated", jobs=args.jobs or 8, logs=logs, resume=args.resume) as campaign:
            campaign.tell = tell.part(over, len(points))
            found += campaign.run(map(systematic.scenario, group))
    return {"simulated": _again(args, logs, found)}


def _again(args: argparse.Namespace, logs: Path, found: list[Done]) -> list[Done]:
    """Play once more what was not struck: on a busy machine a run makes fewer looks than the one that was counted."""
    missed = [each for each in found if each.survived and systematic.is_missed(each.point, each.struck)]
    if not missed:
        return found
    # A service of their own: its jobs would have the names of those that are there.
    with Campaign("simulated", jobs=args.jobs or 8, logs=logs) as campaign:
        played = campaign.run(systematic.scenario(Point.parse(each.point)) for each in missed)
    newer = {each.point: each for each in played}
    return [newer.get(each.point, each) for each in found]


def _as_json(
    args: argparse.Namespace, found: dict[str, list[Done]], counts: dict[str, dict[str, int]]
) -> dict[str, Any]:
    if args.systematic:
        failing = [{"point": each.point, **each.problems} for each in found["simulated"] if not each.survived]
        missed = [each.point for each in found["simulated"] if systematic.is_missed(each.point, each.struck)]
        return {**counts["simulated"], "failing": failing, "missed": missed}
    return next(iter(counts.values())) if len(counts) == 1 else {**_total(counts), "engines": counts}


class _Progress:
    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._bad = 0

    def part(self, before: int, whole: int) -> Callable[[Done, int, int], None]:
        """Return what tells of a campaign that is a part of all runs."""
        return lambda done, over, _: self(done, before + over, whole)

    def __call__(self, done: Done, over: int, all: int) -> None:
        self._bad += not done.survived
        line = f"{over}/{all} runs, {self._bad} not survived, {time.monotonic() - self._begun:.0f} s"
        if sys.stderr.isatty():
            print(f"\r{line}", end="" if over < all else "\n", file=sys.stderr, flush=True)
        elif over % 20 == 0 or over == all or not done.survived:
            print(line, file=sys.stderr, flush=True)


def _total(counts: dict[str, dict[str, int]]) -> dict[str, int]:
    return {name: sum(count[name] for count in counts.values()) for name in ("runs", "survived", *COLUMNS)}


def _print(engine: str, done: list[Done], counts: dict[str, int], form: str) -> None:
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
    for each in sorted(done, key=lambda each: (each.seed, each.point)):
        if not each.survived:
            print(f"\n  {each.name} ({'deferrable' if each.deferrable else 'sync'}): {', '.join(each.faults)}")
            for column, sentences in each.problems.items():
                for sentence in sentences:
                    print(f"    {column}: {sentence}")
            print(f"    logs: {each.logs}")
            print(f"    alone: python -m tests.chaos {form} --only {each.name}")


if __name__ == "__main__":
    sys.exit(main())
