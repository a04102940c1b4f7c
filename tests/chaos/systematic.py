"""
Every call of a run, and what can befall the one who makes it: the form of chaos without dice.

A run of each variant is played in both modes without a fault, and its calls are counted. Then for each call n, before
the service has it and after the service has acted on it: its process is killed; frozen, and awake again at a
milestone; its answer never comes; it is sent SIGTERM, once or twice. A call that only repeats its process's last one is
not counted anew: how often a job is looked at depends on the machine, and the second look is no other place.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tests.chaos.cloud import BUCKET
from tests.chaos.scenario import ANY, Blow, Scenario, Strike

#: Seconds of training, of which a seeded run finds some done.
WORK, SEEDED = 0.6, 0.2
#: Seconds after which a call without an answer raises.
TIMEOUT_SECONDS = 1.5
MODES = ("sync", "deferrable")
WHENS = {"before": "before", "after": "during"}
WHAT: dict[str, Strike] = {
    "kill": Strike(ANY, "kill"),
    "freeze-attached": Strike(ANY, "freeze", until="attached"),
    "freeze-completed": Strike(ANY, "freeze", until="completed"),
    "freeze-generation": Strike(ANY, "freeze", until="generation"),
    "timeout": Strike(ANY, "timeout"),
    "sigterm": Strike(ANY, "term"),
    "sigterm-twice": Strike(ANY, "term-twice"),
}


@dataclass(frozen=True)
class Variant:
    """
    One kind of run.

    :param operator: its arguments; ``{token}`` stands for what is the run's own.
    """

    operator: Mapping[str, Any]
    clears: int = 0
    blows: tuple[Blow, ...] = ()
    seeded: float = 0.0


VARIANTS: dict[str, Variant] = {
    "plain": Variant({}),
    # No quota, then no capacity, then both.
    "ladder": Variant({"ladder": "short"}),
    "seed": Variant({"resume_from": f"s3://{BUCKET}/seed/{{token}}"}, seeded=SEEDED),
    "exact": Variant({"checkpoint_scope": "exact", "checkpoint_s3_uri": f"s3://{BUCKET}/exact/{{token}}"}),
    # The script keeps its own checkpoints: each start begins with nothing.
    "own": Variant({"use_checkpoints": False}),
    # A person clears it while its job trains, to train from nothing.
    "restart": Variant({"resume": False}, blows=(Blow("clear", 0.25),)),
    "clear": Variant({}, clears=1),
    "no-wait": Variant({"wait_for_completion": False}),
}


@dataclass(frozen=True)
class Point:
    """
    What strikes where. Written ``variant/mode/n/when/what``, of which the last three are missing where nothing strikes.

    :param n: which call, from 1; 0 for none.
    :param when: of :data:`WHENS`.
    :param what: of :data:`WHAT`.
    """

    variant: str
    mode: str
    n: int = 0
    when: str = ""
    what: str = ""

    def __str__(self) -> str:
        place = f"{self.variant}/{self.mode}"
        return f"{place}/{self.n}/{self.when}/{self.what}" if self.n else place

    @classmethod
    def parse(cls, text: str) -> Point:
        """
        Read one.

        :raises ValueError: there is none such.
        """
        variant, mode, *rest = text.split("/")
        point = cls(variant, mode, int(rest[0]), *rest[1:]) if rest else cls(variant, mode)
        struck = point.when in WHENS and point.what in WHAT and point.n > 0
        if variant not in VARIANTS or mode not in MODES or (rest and not struck):
            raise ValueError(f"{text!r} is no point: VARIANT/MODE/N/WHEN/WHAT, such as plain/sync/7/after/kill")
        return point


def scenario(point: Point) -> Scenario:
    """Return what a run suffers at a point."""
    variant = VARIANTS[point.variant]
    made = Scenario(
        seed=1,  # without the job's output: a simulated job writes none
        engine="simulated",
        deferrable=point.mode == "deferrable",
        work=WORK,
        faults=(f"{point.what} {point.when}",) if point.n else (),
        clears=variant.clears,
        blows=variant.blows,
        point=str(point),
        seeded=variant.seeded,
    )
    operator = {
        name: value.format(token=made.token) if isinstance(value, str) else value
        for name, value in variant.operator.items()
    }
    made = replace(made, operator={"check_interval": 0.1, **operator})
    if not point.n:
        return made
    strike = replace(WHAT[point.what], when=WHENS[point.when], nth=point.n)
    if point.what == "timeout":
        made.operator["timeout"] = TIMEOUT_SECONDS
    # It wakes up in a generation of which it knows nothing.
    clears = made.clears + (point.what == "freeze-generation")
    return replace(made, strikes=(strike,), clears=clears)


def is_missed(point: str, struck: Iterable[str]) -> bool:
    """Return whether a run never made the call at which it was to be struck."""
    at = Point.parse(point)
    return at.n > 0 and not any(line.split()[0] == WHAT[at.what].kind for line in struck)


def bases(variants: Iterable[str], modes: Iterable[str]) -> list[Point]:
    """Return the runs whose calls are to be counted."""
    wanted = list(modes)
    return [Point(variant, mode) for variant in variants for mode in wanted]


def points(calls: Mapping[Point, int]) -> list[Point]:
    """
    Return every point of some runs.

    :param calls: how many calls each run makes where nothing strikes.
    """
    return [
        replace(base, n=n, when=when, what=what)
        for base, count in calls.items()
        for n in range(1, count + 1)
        for when in WHENS
        for what in WHAT
    ]


def sample(found: list[Point], limit: int, seed: int) -> list[Point]:
    """Draw some points: of each variant, mode and kind alike, as far as it goes; the same for the same seed."""
    dice = random.Random(f"systematic/{seed}")
    groups: dict[tuple[str, str, str, str], list[Point]] = {}
    for point in dice.sample(found, len(found)):
        groups.setdefault((point.what, point.variant, point.mode, point.when), []).append(point)
    order = dice.sample(sorted(groups), len(groups))
    drawn: list[Point] = []
    while len(drawn) < min(limit, len(found)):
        drawn += [groups[name].pop() for name in order if groups[name]]
    return drawn[:limit]
