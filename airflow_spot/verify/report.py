"""What is told of a run of the experiments: to a person, and as JSON without names. No I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_spot.verify.experiment import Experiment, Seen
from airflow_spot.verify.scrubbing import Scrubber
from airflow_spot.verify.verdicts import Kind, Verdict

#: Of the shape of the report; keys are only ever added.
VERSION = 1


@dataclass(frozen=True)
class Result:
    """
    How one experiment came out, as it may be told: names and account numbers are taken out of it.

    :param seen: facts by name.
    :param seconds: for which its setup ran.
    """

    experiment: Experiment
    verdict: Verdict
    seen: Mapping[str, Any]
    seconds: float


def result(experiment: Experiment, seen: Seen, scrubber: Scrubber) -> Result:
    """Judge an experiment by what its setup has seen."""
    # The names of facts, and what is assumed of them, are this package's own.
    told = {fact: scrubber.value(value) for fact, value in experiment.seen(seen.facts).items()}
    return Result(experiment, experiment.judge(seen, scrubber.value), told, seen.seconds)


def to_json(results: Sequence[Result], about: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return the report.

    :param about: versions, region, date, service.
    """
    counts = Counter(each.verdict.kind for each in results)
    return {
        "v": VERSION,
        **about,
        "counts": {kind.value: counts[kind] for kind in Kind},
        "experiments": [
            {
                "id": each.experiment.id,
                "title": each.experiment.title,
                "assumption": each.experiment.assumption,
                "known": each.experiment.known,
                "assumed": {one.fact: one.words for one in each.experiment.expectations},
                "seen": dict(each.seen),
                "verdict": each.verdict.kind.value,
                "detail": each.verdict.detail,
                "seconds": round(each.seconds),
            }
            for each in results
        ],
    }


def rows(results: Sequence[Result]) -> list[tuple[str, str, str]]:
    """Return the table for a person, its head first."""
    return [
        ("experiment", "verdict", "what is looked at"),
        *((each.experiment.id, each.verdict.kind.value, each.experiment.title) for each in results),
    ]


def summary(results: Sequence[Result]) -> str:
    """Return the sum: ``18 as assumed, 1 differs, 2 not reached``."""
    counts = Counter(each.verdict.kind for each in results)
    differ = "differs" if counts[Kind.DIFFERS] == 1 else "differ"
    return (
        f"{counts[Kind.AS_ASSUMED]} as assumed, {counts[Kind.DIFFERS]} {differ}, {counts[Kind.NOT_REACHED]} not reached"
    )


def exit_code(results: Sequence[Result]) -> int:
    """Return 0 if nothing differs, 1 if something does, 2 if nothing at all was reached."""
    kinds = {each.verdict.kind for each in results}
    if Kind.DIFFERS in kinds:
        return 1
    return 0 if Kind.AS_ASSUMED in kinds else 2
