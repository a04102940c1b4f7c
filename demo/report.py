"""The demo's table: measured from the task's result, and from what the training script itself printed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_spot.local import LocalSageMaker
from demo.standalone import StandaloneAirflow

LOG_GROUP = "/aws/sagemaker/TrainingJobs"


@dataclass(frozen=True)
class Start:
    """One start of the script, from its output.

    :param resumed_from: rounds that its checkpoint had.
    :param rounds: the rounds that it trained, in order.
    """

    resumed_from: int
    rounds: tuple[int, ...]


@dataclass(frozen=True)
class Report:
    """What a run of the pipeline came to.

    :param spot: ``Spot`` of the training task's result.
    :param starts: of the script, in order, over all attempts.
    :param accuracy: of the served model on the test split, from 0 to 1.
    """

    spot: dict[str, Any]
    starts: tuple[Start, ...]
    accuracy: float

    @property
    def attempts(self) -> list[dict[str, Any]]:
        """The attempts of the result."""
        return list(self.spot["attempts"])

    @property
    def interruptions(self) -> int:
        """Interruptions inside jobs."""
        return int(self.spot["interruptions"])

    @property
    def trained_twice(self) -> int:
        """Rounds that had to be trained again, because they were lost with an instance."""
        trained = [number for start in self.starts for number in start.rounds]
        return len(trained) - len(set(trained))

    def __str__(self) -> str:
        head = (
            "attempt",
            "training job",
            "instance",
            "outcome",
            "interruptions",
            "training",
            "billable",
            "spot discount",
            "cost",
        )
        rows = [
            (
                str(number),
                attempt["job_name"],
                attempt["instance_type"] + (" spot" if attempt["spot"] else ""),
                str(attempt["outcome"]).replace("_", " "),
                str(attempt["interruptions"]),
                _seconds(attempt["training_seconds"]),
                _seconds(attempt["billable_seconds"]),
                _percent(attempt["spot_discount_percent"]),
                _money(attempt["cost"]),
            )
            for number, attempt in enumerate(self.attempts, 1)
        ]
        totals = [
            ("attempts", str(len(self.attempts))),
            ("interruptions", str(self.interruptions)),
            ("rounds at each resume", ", ".join(str(start.resumed_from) for start in self.starts[1:])),
            ("rounds of the model", str(max(number for start in self.starts for number in start.rounds))),
            ("rounds trained twice", str(self.trained_twice)),
            ("waiting for instances", _seconds(self.spot["waited_seconds"])),
            ("training", _seconds(self.spot["training_seconds"])),
            ("billable", _seconds(self.spot["billable_seconds"])),
            ("spot discount", _percent(self.spot["spot_discount_percent"])),
            ("cost", f"{_money(self.spot['cost'])}{_by(self.spot['prices'])}"),
            ("on-demand would cost", _money(self.spot["on_demand_cost"])),
            ("saved", f"{_money(self.spot['saved'])}, {_percent(self.spot['savings_percent'])}"),
            ("model", str(self.spot["model_artifacts"])),
            ("accuracy", f"{100 * self.accuracy:.1f} % of the test digits, predicted by the endpoint"),
        ]
        return "\n" + "\n".join([*_table([head, *rows]), "", *_table(totals)])


def read_report(airflow: StandaloneAirflow, sagemaker: LocalSageMaker, dag_id: str, run_id: str) -> Report:
    """Collect the report of a DAG run that has succeeded."""
    spot = airflow.xcom(dag_id, run_id, "train")["Spot"]
    answer = airflow.xcom(dag_id, run_id, "check_endpoint")
    logs = sagemaker.client("logs")
    starts = [start for attempt in spot["attempts"] for start in read_starts(logs, attempt["job_name"])]
    return Report(spot, tuple(starts), float(answer["accuracy"]))


def read_starts(logs: Any, job_name: str) -> Iterable[Start]:
    """Read the starts of a job's script from CloudWatch, where each has a stream of its own."""
    pages = logs.get_paginator("describe_log_streams").paginate(
        logGroupName=LOG_GROUP, logStreamNamePrefix=f"{job_name}/"
    )
    # A stream's name ends with the time of the start.
    for name in sorted(stream["logStreamName"] for page in pages for stream in page["logStreams"]):
        start = read_start(_lines(logs, name))
        if start is not None:
            yield start


def read_start(lines: Iterable[str]) -> Start | None:
    """
    Read one start from what the script printed; None where its instance was gone before it said anything.

    Its lines begin with ``name=number``: ``resume_from_round=10``, ``round=11 validation-mlogloss:0.1``.
    """
    said: dict[str, list[int]] = {}
    for line in lines:
        name, _, number = line.partition(" ")[0].partition("=")
        if number.isdecimal():
            said.setdefault(name, []).append(int(number))
    resumed = said.get("resume_from_round")
    return Start(resumed[0], tuple(said.get("round", ()))) if resumed else None


def _lines(logs: Any, stream: str) -> list[str]:
    lines: list[str] = []
    token: dict[str, str] = {}
    while True:
        answer = logs.get_log_events(logGroupName=LOG_GROUP, logStreamName=stream, startFromHead=True, **token)
        lines += [event["message"] for event in answer["events"]]
        # The end is where CloudWatch returns the token that it was given.
        if token.get("nextToken") == answer["nextForwardToken"]:
            return lines
        token = {"nextToken": answer["nextForwardToken"]}


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _seconds(value: Any) -> str:
    return "-" if value is None else f"{value} s"


def _money(value: Any) -> str:
    return "-" if value is None else f"{value['amount']} {value['currency']}"


def _by(prices: Any) -> str:
    """Return which prices costs were calculated from; nothing where there are none."""
    if not prices or not prices["hourly"]:
        return ""
    each = ", ".join(f"{kind} {price}" for kind, price in prices["hourly"].items())
    return f", by {each} {prices['currency']} an hour on-demand ({prices['source']})"


def _percent(value: Any) -> str:
    return "-" if value is None else f"{value} %"
