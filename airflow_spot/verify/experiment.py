"""What a setup and an experiment are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_spot.verify.pace import Length
from airflow_spot.verify.scratch import Scratch
from airflow_spot.verify.verdicts import Expectation, Facts, Verdict, judge


@dataclass(frozen=True)
class Setup:
    """
    Creates jobs and notes facts.

    :param id: goes into the names of its jobs.
    :param jobs: those that it may create; what may be refused counts, since it may be accepted.
    :param collect: notes facts in ``Scratch.facts`` as far as it comes, and why single ones are missing.
    """

    id: str
    jobs: Sequence[Length]
    collect: Callable[[Scratch], None]


@dataclass(frozen=True)
class Seen:
    """
    What a setup has seen.

    :param reason: why it saw no more; may be empty.
    :param why: why it did not see single facts.
    :param seconds: for which it ran.
    """

    facts: Facts
    reason: str = ""
    why: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True)
class Experiment:
    """
    One assumption, and what tells whether it is right.

    :param id: as ``--only`` and the report name it.
    :param title: what is looked at.
    :param assumption: what this package or Local SageMaker takes for granted.
    :param known: how it is known today: the mark and the page, as ``[A] docs/local-sagemaker.md``.
    :param setup: where its facts come from; experiments can share one.
    :param expectations: what of the facts is assumed.
    :param also: names of further facts that are worth reporting.
    """

    id: str
    title: str
    assumption: str
    known: str
    setup: Setup
    expectations: Sequence[Expectation]
    also: Sequence[str] = ()

    def judge(self, seen: Seen, told: Callable[[Any], Any] = lambda value: value) -> Verdict:
        """
        Return how it came out.

        :param told: see :func:`airflow_spot.verify.verdicts.judge`.
        """
        return judge(self.expectations, seen.facts, seen.reason, seen.why, told)

    def seen(self, facts: Facts) -> dict[str, object]:
        """Return the facts that it is about."""
        names = [*(each.fact for each in self.expectations), *self.also]
        return {name: facts[name] for name in dict.fromkeys(names) if name in facts}


def setups_of(experiments: Sequence[Experiment]) -> list[Setup]:
    """Return the setups of some experiments, each once, in order."""
    return list({each.setup.id: each.setup for each in experiments}.values())
