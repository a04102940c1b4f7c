"""Ledgers of made-up runs, in the shapes that pages have to show."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any, cast

from airflow_spot.render.ledger_format import VERSION, AttemptLine, MoneyJson, Summary, Timeline
from airflow_spot.render.values import FleetRow, Viewed

#: 28 November 2026, 13:04 UTC.
T0 = 1_795_871_040.0
PRICES = {"ml.m5.large": 0.115, "ml.g5.2xlarge": 1.515, "ml.g5.12xlarge": 7.09, "ml.g5.xlarge": 1.408}
LABELS = {"no_capacity": "no capacity", "script_error": "script error", "completed": "completed", "moved": "moved"}


def dollars(amount: float) -> MoneyJson:
    return {"amount": f"{amount:.4f}", "currency": "USD"}


@dataclass
class Making:
    """An attempt in the making: what it does is told one thing after the other."""

    number: int
    at: float
    type: str = "ml.g5.2xlarge"
    generation: int = 1
    spot: bool = True
    why: str = "first attempt"
    tried_by: int = 1
    role: str = "attempt"
    rung: str = ""
    step: int = 0
    starts: list[list[float | None]] = field(default_factory=list)
    ticks: list[list[float | None]] = field(default_factory=list)
    again: list[list[float]] = field(default_factory=list)
    points: list[list[float]] = field(default_factory=list)
    uploading: list[float] | None = None
    begun: float = 0.0
    ended: float | None = None

    def __post_init__(self) -> None:
        self.begun = self.at

    def wait(self, seconds: float) -> Making:
        self.starts.append([self.at, None, None, None, None])
        self.at += seconds
        return self

    def launch(self, seconds: float) -> Making:
        self.starts[-1][1] = self.at
        self.at += seconds
        return self

    def train(self, seconds: float, every: float = 0.0, speed: float = 100.0) -> Making:
        """Train; a checkpoint comes every so often, of a step that continues with so many a second."""
        begun = self.at
        self.starts[-1][2] = begun
        self.at += seconds
        tick = begun + every
        while every and tick < self.at:
            self.step += round(every * speed)
            self.ticks.append([round(tick, 1), self.step])
            self.points.append([round(tick, 1), self.step])
            tick += every
        return self

    def lose(self) -> Making:
        """Lose the instances."""
        self.starts[-1][3] = self.starts[-1][4] = self.at
        kept = max(
            [float(tick[0] or 0) for tick in self.ticks if (tick[0] or 0) >= (self.starts[-1][2] or 0)], default=None
        )
        if self.starts[-1][2] is not None:
            self.again.append([kept if kept is not None else float(self.starts[-1][2]), self.at])
        return self

    def end(self, upload: float = 0.0) -> Making:
        if upload:
            self.uploading = [self.at, self.at + upload]
            self.at += upload
        if self.starts[-1][1] is not None:
            self.starts[-1][4] = self.at
        self.ended = self.at
        return self

    def line(self, outcome: str | None = None, reason: str = "", exit_code: int | None = None) -> AttemptLine:
        last = self.at
        trained = sum((each[3] or each[4] or last) - each[1] for each in self.starts if each[1] is not None)
        billed = round(trained * 0.38) if self.ended is not None else None
        live = ""
        return {
            "generation": self.generation,
            "number": self.number,
            "role": self.role,
            "job": f"ranking-afspot-foljwgyftl-{self.generation}-{self.role[0] if self.role != 'attempt' else ''}{self.number}",
            "type": self.type,
            "count": 1,
            "spot": self.spot,
            "rung": self.rung or f"{self.type} {'spot' if self.spot else 'on-demand'}",
            "why": self.why,
            "tried_by": self.tried_by,
            "created": self.begun,
            "ended": self.ended,
            "status": "InProgress" if outcome is None else "Failed" if outcome != "completed" else "Completed",
            "secondary_status": live if outcome is None else "Failed" if outcome != "completed" else "Completed",
            "outcome": outcome,
            "label": LABELS.get(outcome or "", (outcome or "").replace("_", " ")),
            "reason": reason,
            "exit_code": exit_code,
            "interruptions": sum(1 for each in self.starts if each[3] is not None),
            "training_seconds": round(trained),
            "billable_seconds": billed,
            "cost": None if billed is None else dollars(billed * PRICES[self.type] / 3600),
            "checkpoint_s3_uri": "s3://bucket/checkpoints/foljwgyftl/1/",
            "starts": self.starts,
            "uploading": self.uploading,
            "ticks": self.ticks,
            "again": self.again,
            "more_starts": 0,
            "more_ticks": 0,
        }


def timeline(lines: list[AttemptLine], state: str, since: float, **more: Any) -> Timeline:
    """A run of these attempts; totals are summed up as core/money/totals.py has them."""
    generation = max([line["generation"] for line in lines], default=1)
    its = [line for line in lines if line["generation"] == generation]
    trained = sum(line["training_seconds"] for line in its)
    billed = [line["billable_seconds"] for line in its]
    costs = [float(line["cost"]["amount"]) for line in its if line["cost"]]
    whole = all(each is not None for each in billed) and bool(its)
    twice = sum(end - begin for line in its for begin, end in line["again"])
    cost = sum(costs)
    worth = sum(line["training_seconds"] * PRICES[line["type"]] / 3600 for line in its) * (1 - twice / max(1, trained))
    waits = sum(
        (each[1] or each[4] or line["ended"] or more.get("updated", since)) - (each[0] or 0.0)
        for line in its
        for each in line["starts"]
        if each[0] is not None
    )
    return cast(
        Timeline,
        {
            "v": VERSION,
            "key": "foljwgyftl",
            "dag_id": "nightly_ranking",
            "run_id": "scheduled__2026-11-28T13:00:00+00:00",
            "task_id": "fit",
            "map_index": -1,
            "try_number": max([line["tried_by"] or 1 for line in lines], default=1),
            "region": "eu-west-1",
            "partition": "aws",
            "t0": T0,
            "updated": max([line["ended"] or since for line in lines], default=since),
            "state": state,
            "since": since,
            "reason": "",
            "generation": generation,
            "attempts": lines,
            "more_attempts": 0,
            "decisions": [],
            "more_decisions": 0,
            "progress": None,
            "points": [],
            "model": None,
            "deadline": None,
            "forecast": None,
            "totals": {
                "attempts": len(its),
                "interruptions": sum(line["interruptions"] for line in its),
                "waited_seconds": round(waits),
                "launch_seconds": 420 * len(its),
                "training_seconds": trained,
                "billable_seconds": sum(each or 0 for each in billed) if whole else None,
                "trained_twice_seconds": round(twice),
                "spot_discount_percent": 62.0 if whole else None,
                "savings_percent": round(100 * (1 - cost / worth), 1) if whole and worth else None,
                "cost": dollars(cost) if whole else None,
                "on_demand_cost": dollars(worth) if whole else None,
                "saved": dollars(worth - cost) if whole else None,
            },
            **more,
        },
    )


def said(step: int, total: int | None) -> dict[str, Any]:
    percent = round(100 * step / total, 1) if total else None
    return {
        "step": step,
        "total": total,
        "percent": percent,
        "metrics": {"loss": 0.231},
        "at": "2026-11-28T13:04:00+00:00",
    }


def running() -> Timeline:
    one = Making(1, 0.0).wait(180).launch(240).train(4_000, every=600)
    return timeline(
        [one.line()],
        "training",
        420.0,
        points=one.points,
        progress=said(360_000, 900_000),
        decisions=[[0.0, "attempt 1", "first attempt, on ml.g5.2xlarge spot"]],
        updated=4_420.0,
    )


def waiting() -> Timeline:
    one = Making(1, 0.0).wait(5_400)
    return timeline(
        [one.line()],
        "waiting",
        0.0,
        updated=5_400.0,
        reason="Insufficient capacity error from EC2 while launching instances, retrying",
        decisions=[[0.0, "attempt 1", "first attempt, on ml.g5.2xlarge spot"]],
    )


def interrupted() -> Timeline:
    """Interrupted twice, then moved to another rung, where it completes."""
    one = Making(1, 0.0).wait(240).launch(260).train(9_400, every=1_500).lose().wait(1_250).launch(250)
    one.train(8_000, every=1_500).lose().wait(5_400).end()
    two = Making(
        2,
        one.at + 140,
        "ml.g5.12xlarge",
        why="attempt 1 moved: no capacity for ml.g5.2xlarge spot in 1 h 30 min; resumes from the checkpoint of step 1,500,000",
        step=one.step,
    )
    two.wait(420).launch(300).train(5_200, every=900, speed=300).end(upload=180)
    first, second = one.line("moved"), two.line("completed")
    return timeline(
        [first, second],
        "completed",
        two.at,
        points=[*one.points, *two.points],
        progress=said(3_000_000, 3_000_000),
        model="s3://bucket/output/model.tar.gz",
        decisions=[
            [0.0, "attempt 1", "first attempt, on ml.g5.2xlarge spot"],
            [one.starts[0][3], "wait", "interrupted; SageMaker asks for another instance"],
            [one.starts[1][3], "wait", "interrupted; SageMaker asks for another instance"],
            [
                one.at,
                "move to ml.g5.12xlarge spot",
                "it waited for capacity for 1 h 30 min, as long as its rung allows",
            ],
            [two.begun, "attempt 2", "resumes from the checkpoint of step 1,500,000"],
        ],
    )


def failed() -> Timeline:
    one = Making(1, 0.0).wait(60).launch(240).train(1_320, every=300).end()
    reason = "AlgorithmError: ExecuteUserScriptError: ExitCode 1 ErrorMessage \"ValueError: could not convert string to float: 'n/a'\", exit code: 1"
    return timeline(
        [one.line("script_error", reason, exit_code=1)],
        "failed",
        one.at,
        reason=f"attempt 1: script error, exit code 1. {reason}",
        decisions=[
            [0.0, "attempt 1", "first attempt"],
            [one.at + 2, "fail", "the script's own error; another attempt would end alike"],
        ],
    )


def cleared() -> Timeline:
    """Completed, then cleared two days later: a second generation."""
    one = (
        Making(1, 0.0)
        .wait(120)
        .launch(240)
        .train(7_200, every=1_200)
        .lose()
        .wait(400)
        .launch(240)
        .train(5_000, every=1_200)
        .end(120)
    )
    two = Making(1, one.at + 170_000, generation=2, why="the task was cleared: a new generation", tried_by=2)
    two.wait(90).launch(230).train(9_000, every=1_200).lose().wait(300).launch(200).train(4_000, every=1_200).end(100)
    return timeline(
        [one.line("completed"), two.line("completed")],
        "completed",
        two.at,
        points=[*one.points, *two.points],
        progress=said(1_200_000, 1_200_000),
        decisions=[
            [0.0, "attempt 1", "first attempt"],
            [two.begun, "attempt 1", "generation 2: the task was cleared after it had completed"],
        ],
    )


def many(attempts: int = 30, starts: int = 18) -> Timeline:
    """Thirty attempts with 540 starts."""
    rnd = random.Random(7)
    lines, decisions, points, at, step = [], [], [], 0.0, 0
    for number in range(1, attempts + 1):
        one = Making(
            number,
            at,
            step=step,
            why=f"attempt {number - 1}: no capacity; same checkpoint" if number > 1 else "first attempt",
            spot=number % 9 != 0,
            tried_by=1 + number // 11,
        )
        for start in range(starts):
            one.wait(rnd.randint(60, 900)).launch(240).train(rnd.randint(900, 4_000), every=700, speed=10)
            if start < starts - 1:
                one.lose()
        one.end()
        lines.append(
            one.line(
                "completed" if number == attempts else "no_capacity",
                ""
                if number == attempts
                else "CapacityError: Unable to provision requested ML compute capacity. Please retry using a different ML instance type.",
            )
        )
        decisions.append([one.begun, f"attempt {number}", one.why])
        at, step, points = one.at + rnd.randint(30, 600), one.step, [*points, *one.points[::4]]
    return timeline(lines, "completed", at, decisions=decisions, points=points, progress=said(step, step))


def live() -> Timeline:
    """A deadline, a forecast, a probe, and instances that were taken 18 minutes ago."""
    one = Making(1, 0.0).wait(240).launch(350).train(9_800, every=1_900).lose().wait(1_200).launch(360)
    one.train(9_300, every=1_900).lose().wait(1_080)
    probe = (
        Making(1, one.at - 600, "ml.g5.12xlarge", role="probe", why="is there capacity for ml.g5.12xlarge spot?")
        .wait(420)
        .end()
    )
    now = one.at
    return timeline(
        [probe.line("no_capacity"), one.line()],
        "waiting",
        now - 1_080,
        updated=now,
        reason="Insufficient capacity error from EC2 while launching instances, retrying",
        points=one.points,
        progress=said(one.step, 3_600_000),
        deadline=57_600.0,
        forecast=[now + 22_000.0, now + 26_500.0, now + 32_600.0],
        decisions=[
            [0.0, "attempt 1", "first attempt, on ml.g5.2xlarge spot; 16 h to the deadline cover 10 h of work"],
            [one.starts[0][3], "wait", "interrupted; slack 4 h 10 min, more than a changeover"],
            [one.starts[1][3], "wait", "interrupted; slack 2 h 20 min; on-demand from 21:49 on, if nothing comes"],
            [probe.begun, "probe 1", "is there capacity for ml.g5.12xlarge spot?"],
        ],
    )


def mapped(count: int = 20) -> list[Viewed]:
    rnd = random.Random(3)
    views = []
    for index in range(count):
        one = (
            Making(1, float(rnd.randint(0, 400)), "ml.g5.xlarge")
            .wait(rnd.randint(30, 1_500))
            .launch(230)
            .train(rnd.randint(1_200, 6_000), every=600)
        )
        for _ in range(rnd.choice([0, 0, 1, 1, 2, 3])):
            one.lose().wait(rnd.randint(60, 1_600)).launch(220).train(rnd.randint(900, 4_000), every=600)
        if index == 4:
            made = timeline(
                [one.end().line("script_error", "AlgorithmError: exit code 1", 1)],
                "failed",
                one.at,
                reason="attempt 1: script error, exit code 1",
            )
        elif index % 7 == 5:
            made = timeline([one.lose().wait(700).line()], "waiting", one.at - 700)
        else:
            made = timeline([one.end(90).line("completed")], "completed", one.at)
        state = {"completed": "success", "failed": "failed"}.get(made["state"], "deferred")
        made["map_index"], made["task_id"] = index, "sweep"
        views.append(viewed(made, state, task_id="sweep", map_index=index))
    return views


LINKS = (
    ("Training job", "https://eu-west-1.console.aws.amazon.com/sagemaker/home?region=eu-west-1#/jobs/{job}"),
    ("Logs", "https://eu-west-1.console.aws.amazon.com/cloudwatch/home?region=eu-west-1#logsV2:log-groups"),
    ("Checkpoints", "https://eu-west-1.console.aws.amazon.com/s3/buckets/bucket?prefix=checkpoints/"),
)


def viewed(made: Timeline | None, state: str = "deferred", problem: str = "", **more: Any) -> Viewed:
    job = made["attempts"][-1]["job"] if made and made.get("attempts") else ""
    links = tuple((name, url.format(job=job)) for name, url in LINKS) if job else ()
    ids = {"dag_id": "nightly_ranking", "run_id": "scheduled__2026-11-28T13:00:00+00:00", "task_id": "fit", **more}
    return Viewed(**ids, state=state, try_number=1, timeline=made, problem=problem, links=links)


TYPES = ("ml.g5.xlarge", "ml.g5.2xlarge", "ml.g5.12xlarge", "ml.p3.2xlarge", "ml.m5.large")
RATES = (1.408, 1.515, 7.09, 3.825, 0.115)
DAGS = ("nightly_ranking", "churn_weekly", "vision_finetune", "ads_ctr", "speech_asr")


def summary(rnd: random.Random, now: float, days: float, state: str = "completed") -> Summary:
    """The summary of a made-up run that began so many days ago."""
    kind = rnd.randrange(len(TYPES) - 1)
    began = now - days * 86_400
    taken = rnd.choices((0, 1, 2, 3, 5), (45, 25, 15, 10, 5))[0]
    trained = rnd.randint(2_400, 40_000)
    waited = rnd.randint(60, 1_500) + sum(rnd.randint(60, 3_600) for _ in range(taken))
    end = began + trained + waited
    over = state in ("completed", "failed")
    billed = round(trained * rnd.uniform(0.3, 0.46))
    rate = RATES[kind] / 3600
    twice = taken * 300
    known = over and rnd.random() < 0.97
    moments = sorted(rnd.uniform(began, min(end, now)) for _ in range(taken))
    return {
        "v": VERSION,
        "key": f"{rnd.getrandbits(50):010x}",
        "state": state,
        "since": int(end if over else now - rnd.randint(60, 3_000)),
        "began": int(began),
        "updated": int(min(end, now)),
        "ended": int(end) if over else None,
        "job": "ranking-afspot-foljwgyftl-1-1",
        "type": TYPES[kind],
        "count": 1,
        "spot": True,
        "generation": 1,
        "attempts": 1 + taken // 3,
        "interruptions": taken,
        "interrupted": [[int(moment), TYPES[kind]] for moment in moments],
        "waited": waited,
        "trained": trained,
        "billed": billed if over else None,
        "twice": twice,
        "cost": dollars(billed * rate) if known else None,
        "on_demand_cost": dollars((trained - twice) * rate) if known else None,
        "saved": dollars((trained - twice - billed) * rate) if known else None,
        "progress": None if over else [rnd.randint(10, 90), 100],
        "deadline": None,
        "forecast": None,
    }


def fleet_rows(count: int, now: float, days: float = 89.0, live: int = 4) -> list[FleetRow]:
    rnd = random.Random(11)
    rows = []
    for index in range(count):
        state = "failed" if rnd.random() < 0.02 else "completed"
        made = summary(rnd, now, 1.0 + (days - 1.0) * rnd.random(), state)
        if index < live:
            made = summary(rnd, now, 0.1 + 0.1 * index, ("waiting", "training", "training", "pausing")[index % 4])
            made["deadline"] = int(now + 7_200 * (index + 1)) if index != 1 else None
            late = int(now + 7_200 * (index + 1) + (1_500 if index == 2 else -3_300))
            made["forecast"] = None if index == 1 else [late - 6_000, late - 3_000, late]
        dag = rnd.randrange(len(DAGS))
        at = made["began"]
        airflow = {"completed": "success", "failed": "failed"}.get(made["state"], "deferred")
        rows.append(
            FleetRow(
                DAGS[dag],
                f"scheduled__{at}",
                rnd.choice(("fit", "train")),
                -1,
                airflow,
                float(made["updated"]),
                made,
                owners=("ml" if dag < 3 else "ads",),
                tags=("nightly",) if dag % 2 else ("gpu", "weekly"),
            )
        )
    return rows
