"""One run of the fleet as plain facts, and which runs a page's filters ask for."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

from airflow_spot.render.ledger_format import OVER
from airflow_spot.render.values import FleetFilter, FleetRow
from airflow_spot.render.words import AIRFLOW_OVER, DAY, read_money

#: Filters of the state that are none of a single state.
LIVE, AT_RISK = "live", "at-risk"
_MOST_MOMENTS = 100


class Fact(NamedTuple):
    """
    One run. Times are in seconds since 1970; money is None where no price is known.

    :param state: the ledger's; where Airflow's task is over and the ledger does not say so, how Airflow has it.
    :param end: when it ended, or what is known of it last.
    :param margin: seconds from the expected end to the deadline; None where there is no deadline.
    :param at_risk: live, and expected to miss its deadline.
    """

    row: FleetRow
    state: str
    live: bool
    since: float
    began: float
    end: float
    type: str
    instances: int
    spot: bool
    attempts: int
    taken: int
    moments: tuple[tuple[float, str], ...]
    waited: float
    trained: float
    billed: float | None
    twice: float | None
    currency: str
    cost: Decimal | None
    worth: Decimal | None
    saved: Decimal | None
    progress: float | None
    deadline: float | None
    margin: float | None
    at_risk: bool

    @property
    def took(self) -> float:
        """Return how long it ran, waiting and pauses included."""
        return max(0.0, self.end - self.began)

    @property
    def savings(self) -> float | None:
        """Return what was saved, in percent: of money where a price is known, else of seconds."""
        if self.saved is not None and self.worth:
            return float(100 * self.saved / self.worth)
        useful = self.trained - (self.twice or 0.0)
        return None if self.billed is None or self.twice is None or useful <= 0 else 100 * (1 - self.billed / useful)


def read(rows: Iterable[FleetRow], now: float) -> tuple[list[Fact], list[FleetRow]]:
    """Return the runs, and the rows that cannot be read."""
    facts, unread = [], []
    for row in rows:
        if row.summary is None:
            unread.append(row)
            continue
        try:
            facts.append(_fact(row, now))
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError):
            unread.append(row)
    return facts, unread


def _fact(row: FleetRow, now: float) -> Fact:
    told = row.summary
    if told is None:
        raise ValueError("there is no summary")
    state = str(told["state"])
    live = state not in OVER
    if live and row.state in AIRFLOW_OVER:
        state, live = ("completed" if row.state == "success" else "failed" if row.state == "failed" else "left"), False
    began, updated = float(told["began"]), float(told["updated"])
    ended = told["ended"]
    end = max(now, updated) if live else float(ended) if ended is not None else updated
    # A summary is written when something happens; the page continues with the clock.
    since = max(0.0, now - updated)
    cost, worth, saved = (read_money(told[key]) for key in ("cost", "on_demand_cost", "saved"))
    currency = cost[1] if cost else ""
    same = worth is not None and saved is not None and worth[1] == saved[1] == currency
    deadline = float(told["deadline"]) if told["deadline"] is not None else None
    late = max(now, float(max(told["forecast"]))) if told["forecast"] else now
    margin = deadline - late if live and deadline is not None else None
    done = told["progress"]
    return Fact(
        row=row,
        state=state,
        live=live,
        since=float(told["since"]),
        began=began,
        end=max(end, began),
        type=str(told["type"]) or "unknown",
        instances=int(told["count"]),
        spot=bool(told["spot"]),
        attempts=int(told["attempts"]),
        taken=int(told["interruptions"]),
        moments=tuple((float(at), str(kind)) for at, kind in told["interrupted"][-_MOST_MOMENTS:]),
        waited=float(told["waited"]) + (since if live and state == "waiting" else 0.0),
        trained=float(told["trained"]) + (since if live and state == "training" else 0.0),
        billed=float(told["billed"]) if told["billed"] is not None else None,
        twice=float(told["twice"]) if told["twice"] is not None else None,
        currency=currency,
        cost=cost[0] if cost else None,
        worth=worth[0] if same and worth else None,
        saved=saved[0] if same and saved else None,
        progress=min(100.0, 100.0 * float(done[0]) / float(done[1])) if done and float(done[1]) > 0 else None,
        deadline=deadline,
        margin=margin,
        at_risk=margin is not None and margin < 0,
    )


def chosen(facts: Iterable[Fact], wanted: FleetFilter, now: float) -> list[Fact]:
    """Return the runs that the filters ask for."""
    since = now - wanted.days * DAY if wanted.days > 0 else float("-inf")
    return [
        fact
        for fact in facts
        if (fact.live or fact.end >= since)
        and (not wanted.dag or fact.row.dag_id == wanted.dag)
        and (not wanted.owner or wanted.owner in fact.row.owners)
        and (not wanted.tag or wanted.tag in fact.row.tags)
        and (not wanted.type or fact.type == wanted.type)
        and (not wanted.state or _is(fact, wanted.state))
    ]


def _is(fact: Fact, state: str) -> bool:
    return fact.live if state == LIVE else fact.at_risk if state == AT_RISK else fact.state == state


def choices(facts: Iterable[Fact]) -> dict[str, list[str]]:
    """Return what each filter can be set to, by the runs that there are."""
    dags: set[str] = set()
    owners: set[str] = set()
    tags: set[str] = set()
    types: set[str] = set()
    states: set[str] = set()
    for fact in facts:
        dags.add(fact.row.dag_id)
        owners.update(fact.row.owners)
        tags.update(fact.row.tags)
        types.add(fact.type)
        states.add(fact.state)
    return {
        "dag": sorted(dags),
        "owner": sorted(owners),
        "tag": sorted(tags),
        "type": sorted(types),
        "state": [LIVE, AT_RISK, *sorted(states)],
    }
