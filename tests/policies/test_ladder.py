"""Where the ladder's policy goes: on misses, on moves, and where a person asked for."""

from __future__ import annotations

from datetime import timedelta

import pytest

from airflow_spot.core.decide import Stop, Submit, Wait, decide
from airflow_spot.core.history import History
from airflow_spot.core.ladder import Rung
from airflow_spot.core.marks import RequestMark
from airflow_spot.core.outcomes import Outcome
from airflow_spot.core.policy import Move, NextRung, Stay
from airflow_spot.core.stop_reasons import ALWAYS, StopReason
from airflow_spot.policies.ladder import LadderPolicy
from tests.core.cases import NOW, SPOT, attempt, later, limits

OTHER, DEMAND = Rung("ml.g4dn.xlarge"), Rung("ml.g5.xlarge", 1, False)
LADDER = LadderPolicy((SPOT, OTHER, DEMAND))


@pytest.mark.parametrize(
    ("request_", "rung"),
    [
        (None, OTHER),
        (RequestMark("next-rung", 1), OTHER),
        (RequestMark("on-demand", 1), DEMAND),
        (RequestMark("on-demand", 7), OTHER),  # of another attempt: obeyed once, by the one that it was made of
    ],
)
def test_a_move_leaves_its_rung_for_the_one_that_was_asked_for(request_: RequestMark | None, rung: Rung) -> None:
    moved = attempt(1, Outcome.MOVED, request=request_)
    assert LADDER.next_rung([moved]) == NextRung(rung)


def test_a_request_is_obeyed_once() -> None:
    moved = attempt(1, Outcome.MOVED, request=RequestMark("on-demand", 1))
    again = attempt(2, Outcome.SERVICE_ERROR, rung=DEMAND)
    missed = attempt(3, Outcome.CAPACITY_TIMEOUT, rung=DEMAND)
    assert LADDER.next_rung([moved, again]).rung == DEMAND
    assert LADDER.next_rung([moved, again, missed]).rung == SPOT


def test_a_move_counts_against_no_budget_and_needs_no_pause() -> None:
    case = limits(SPOT, OTHER, DEMAND, service_faults=0)
    moves = tuple(attempt(number, Outcome.MOVED, rung=SPOT) for number in range(1, 30))
    action = decide(case.limits, History(1, moves), NOW, case.policy)
    assert isinstance(action, Submit) and action.rung == OTHER


class Mover:
    """A policy that moves what trains."""

    def next_rung(self, past: object) -> NextRung:
        return NextRung(DEMAND)

    def review(self, live: object, past: object, now: object) -> Move:
        return Move(StopReason.MOVE, "on-demand is cheaper now")


def test_a_policy_may_move_a_job_that_trains() -> None:
    case = limits()
    live = History(1, (attempt(1, None),))
    action = decide(case.limits, live, NOW, Mover())
    assert action == Stop(live.attempts[0], StopReason.MOVE, "on-demand is cheaper now")
    assert StopReason.MOVE in ALWAYS  # so stop_on_kill=False does not make it a failure


def test_no_policy_moves_a_job_that_is_stopping_or_whose_time_is_up() -> None:
    stopping = History(1, (attempt(1, None, status="Stopping"),))
    assert isinstance(decide(limits().limits, stopping, NOW, Mover()), Wait)
    late = limits(give_up_at=later(seconds=-1))
    action = decide(late.limits, History(1, (attempt(1, None),)), NOW, Mover())
    assert isinstance(action, Stop) and action.reason is StopReason.TIMEOUT


def test_a_job_that_trains_stays_and_one_that_waits_too_long_moves() -> None:
    patient = LadderPolicy((Rung("ml.g5.xlarge", wait=600.0), DEMAND))
    rung = patient.ladder[0]
    assert patient.review(attempt(1, None, rung=rung), (), NOW) == Stay(600.0)
    waits = attempt(1, None, rung=rung, waiting_since=NOW - timedelta(seconds=600))
    assert patient.review(waits, (), NOW) == Move(
        StopReason.RUNG_TIMEOUT, "it waited 10 min 00 s for capacity, as long as its rung allows"
    )
