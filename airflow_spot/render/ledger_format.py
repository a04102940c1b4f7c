"""
The copy of a run's ledger that pages read, as JSON: two XComs of the training task. Keys are only ever added.

SageMaker is the ledger. The copy is always written whole, never as a change; ``v`` says how to read it.
"""

from __future__ import annotations

from typing import Any, TypedDict

VERSION = 1
#: The XCom of :class:`Summary`, of some 350 bytes: what the fleet page reads of thousands of runs.
SUMMARY_KEY = "airflow_spot"
#: The XCom of :class:`Timeline`: what the run's page reads.
TIMELINE_KEY = "airflow_spot_timeline"
#: A timeline's size as JSON at most; the oldest starts, ticks and decisions are thinned to it.
MAX_TIMELINE_BYTES = 64 * 1024

#: What a run does now; ``left`` is not waited for any more.
STATES = (
    "waiting",  # for instances: SageMaker has a job of it and no capacity for it
    "starting",  # instances, data and image are fetched
    "training",
    "uploading",
    "stopping",
    "pausing",  # no job is live; the next is created later
    "completed",
    "failed",
    "stopped",
    "left",
)
#: Nothing follows these: whoever looks need not look again.
OVER = frozenset({"completed", "failed", "stopped", "left"})


class MoneyJson(TypedDict):
    """An amount as decimal text, and its currency."""

    amount: str
    currency: str


class Summary(TypedDict):
    """
    One run, in little. Times are whole seconds since 1970.

    ``interrupted`` has the newest 20 moments at which instances were taken, each ``[time, instance type]``.
    ``billed`` is None while SageMaker has not said it; ``cost``, ``on_demand_cost`` and ``saved`` where no price is
    known. ``twice`` are the seconds that were trained twice, None where that is not known. ``deadline`` is when the
    run has to end, None where it has none; ``forecast`` when it is expected to, as ``[early, likely, late]``.
    """

    v: int
    key: str
    state: str
    since: int
    began: int
    updated: int
    ended: int | None
    job: str
    type: str
    count: int
    spot: bool
    generation: int
    attempts: int
    interruptions: int
    interrupted: list[list[Any]]
    waited: int
    trained: int
    billed: int | None
    twice: int | None
    cost: MoneyJson | None
    on_demand_cost: MoneyJson | None
    saved: MoneyJson | None
    progress: list[float] | None  # [step, total]; total 0 where it is not known
    deadline: int | None
    forecast: list[int] | None


class AttemptLine(TypedDict):
    """
    One training job of a run: a lane of the picture. Times are seconds after the timeline's ``t0``, one decimal.

    Each of ``starts`` is ``[asked, granted, training, lost, ended]``, oldest first, None where that has not happened:
    from asked to granted it waits for capacity, to training it launches, then it trains until its instances are lost
    or it has ended. ``ticks`` are checkpoints as they came, each ``[time, step or None]``. ``again`` are spans of
    training whose work was lost and had to be done again. ``more_starts`` and ``more_ticks`` were thinned away.
    Of an attempt that is known from a list alone, as those of earlier generations are, ``type`` is empty, ``count`` 0,
    ``outcome`` None and ``starts`` empty: its times and ``status`` are all that is known.
    """

    generation: int
    number: int
    role: str
    job: str
    type: str
    count: int
    spot: bool
    rung: str
    why: str
    tried_by: int | None
    created: float
    ended: float | None
    status: str
    secondary_status: str
    outcome: str | None
    label: str
    reason: str
    exit_code: int | None
    interruptions: int
    training_seconds: int
    billable_seconds: int | None
    cost: MoneyJson | None
    checkpoint_s3_uri: str | None
    starts: list[list[float | None]]
    uploading: list[float] | None
    ticks: list[list[Any]]
    again: list[list[float]]
    more_starts: int
    more_ticks: int


class Timeline(TypedDict):
    """
    One run, whole. ``t0`` is in seconds since 1970; all other times are seconds after it, one decimal.

    ``decisions`` are what was decided and why, each ``[time, what, why]``: ``attempt 2``, ``attempt 3 refused``,
    ``pause``, ``attempt 1 stopped``, ``no progress``, ``failed``, ``stopped``. ``progress`` is what the script reported
    last, ``points`` the reports so far, each ``[time, step]``. ``reason`` says why it failed, or what it waits for.
    ``totals`` are of the newest generation, as are the sums of :class:`Summary`. ``more_attempts`` were thinned away.
    """

    v: int
    key: str
    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    try_number: int
    region: str
    partition: str
    t0: float
    updated: float
    state: str
    since: float
    reason: str
    generation: int
    attempts: list[AttemptLine]
    more_attempts: int
    decisions: list[list[Any]]
    more_decisions: int
    progress: dict[str, Any] | None
    points: list[list[float]]
    model: str | None
    deadline: float | None
    forecast: list[float] | None
    totals: dict[str, Any]  # RunTotals.to_json() and "attempts"
