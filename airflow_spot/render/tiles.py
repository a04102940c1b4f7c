"""The figures at the top of a page, each with its name and what it means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from airflow_spot.render.ledger_format import AttemptLine, Timeline
from airflow_spot.render.picture import Moment
from airflow_spot.render.progress import reported
from airflow_spot.render.scale import Scale
from airflow_spot.render.segments import end_of
from airflow_spot.render.words import (
    NOTHING,
    clean,
    duration,
    listed,
    money_json,
    number,
    percent,
    plural,
    rough,
)


@dataclass(frozen=True)
class Tile:
    """
    One figure.

    :param kind: ``bad`` or ``wait`` for what needs a look, else nothing.
    """

    name: str
    value: str
    note: str
    kind: str = ""


def run_tiles(timeline: Timeline, attempts: Sequence[AttemptLine], at: Moment, scale: Scale) -> list[Tile]:
    """
    Return a run's figures.

    :param attempts: of its newest generation.
    """
    totals = timeline["totals"]
    found = []
    if at.live and timeline["deadline"] is not None:
        found.append(_margin(timeline, scale))
    if progress := _progress(timeline):
        found.append(progress)
    found.append(_took(timeline, attempts, at))
    twice = figure(totals, "trained_twice_seconds")
    taken = figure(totals, "interruptions") or 0
    again = "" if not taken or twice is None else f"{rough(twice) if twice else 'nothing'} trained again"
    found.append(
        Tile("Interruptions", number(taken), again or ("none so far" if at.live else "none" if not taken else ""))
    )
    launch = figure(totals, "launch_seconds")
    started = "" if not launch else f"{rough(launch)} to start"
    waits = plus(figure(totals, "waited_seconds"), timeline, at, "waiting")
    found.append(Tile("Waited", rough(waits), listed(("for capacity", started))))
    billed = figure(totals, "billable_seconds")
    said = f"billed {duration(billed)}" if billed is not None else "billed: after the job ends"
    found.append(Tile("Trained", rough(plus(figure(totals, "training_seconds"), timeline, at, "training")), said))
    saved, cost = _saved(totals), _cost(totals)
    # Of a run that continues, SageMaker says neither: one tile says so.
    found += [cost] if at.live and saved.value == cost.value == NOTHING else [saved, cost]
    return found


def plus(seconds: float | None, timeline: Timeline, at: Moment, state: str) -> float | None:
    """
    Return seconds of the ledger and those since it was written, where the run is in that state.

    A ledger is written when something happens; the page continues with the clock.
    """
    if seconds is None or not at.live or timeline["state"] != state:
        return seconds
    return seconds + max(0.0, at.now - timeline["updated"])


def _margin(timeline: Timeline, scale: Scale) -> Tile:
    t0, deadline = timeline["t0"], timeline["deadline"] or 0.0
    if timeline["forecast"] is None:
        return Tile("Deadline", scale.clock(t0 + deadline), "no forecast yet")
    _, likely, late = sorted(timeline["forecast"])
    moments = dict.fromkeys((scale.clock(t0 + likely), scale.clock(t0 + late)))
    span = f"to the deadline; done {' to '.join(moments)}"
    margin = deadline - late
    return Tile("Margin", rough(margin), span, "bad" if margin < 0 else "")


def _progress(timeline: Timeline) -> Tile | None:
    step, total = reported(timeline)
    if step is None:
        return None
    if total is None:
        return Tile("Progress", f"step {number(step)}", "of an unknown number")
    return Tile("Progress", f"{min(100.0, 100.0 * step / total):.0f} %", f"step {number(step)} of {number(total)}")


def _took(timeline: Timeline, attempts: Sequence[AttemptLine], at: Moment) -> Tile:
    begin = min((each["created"] for each in attempts), default=timeline["since"])
    end = at.now if at.live else max((end_of(each, at.now) for each in attempts), default=begin)
    jobs = [each for each in attempts if each["role"] in ("", "attempt")]
    probes = len(attempts) - len(jobs)
    count = listed((plural(len(jobs), "attempt"), plural(probes, "probe") if probes else ""))
    return Tile("Runs for" if at.live else "Took", rough(max(0.0, end - begin)), count)


def _saved(totals: dict[str, Any]) -> Tile:
    saved, share = totals.get("saved"), totals.get("savings_percent")
    if not isinstance(share, (int, float)):
        # AWS's own figure counts what was trained twice as saved too.
        share = totals.get("spot_discount_percent")
        value = percent(share) if isinstance(share, (int, float)) else NOTHING
        return Tile("Saved", value, "of the training time, as AWS counts" if value != NOTHING else "after the job ends")
    amount = money_json(saved)
    note = "against on-demand" if amount == NOTHING else f"{amount} of {money_json(totals.get('on_demand_cost'))}"
    return Tile("Saved", percent(share), note)


def _cost(totals: dict[str, Any]) -> Tile:
    cost = money_json(totals.get("cost"))
    if cost != NOTHING:
        return Tile("Cost", cost, "of what was billed")
    known = totals.get("billable_seconds") is not None
    return Tile("Cost", NOTHING, clean("no price is known" if known else "after the job ends"))


def figure(totals: dict[str, Any], key: str) -> float | None:
    """Return one figure of a ledger's totals; None where it has none."""
    value = totals.get(key)
    return value if isinstance(value, (int, float)) else None
