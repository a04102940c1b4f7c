"""What a chaos run suffers, drawn from its seed."""

from __future__ import annotations

import hashlib
import random
from dataclasses import asdict, dataclass, field
from typing import Any

#: The kinds of faults. Each run's first one is its seed's, in turn, so that any stretch of seeds has them all.
KINDS = (
    "killed before create",
    "killed between create and its response",
    "killed after create",
    "killed while waiting",
    "killed between completed and delivered",
    "killed after delivered",
    "killed at any call",
    "superseded",
    "superseded at create",
    "drained",
    "database restored",
    "database restored, old worker alive",
    "create's response lost",
    "create's request lost",
    "connections cut",
    "throttled",
    "5xx",
    "expired credentials",
    "interrupted",
    "no capacity in time",
    "no capacity",
    "over quota",
    "list lags",
    "triggerer killed",
    "trigger run twice",
    "cleared after success",
    "probe beside the attempt",
    "out of memory",
    "restore failed",
    "max wait late",
)

#: Stands for any call that does not repeat its process's last one: S3's and the logs' too.
ANY = "#"

#: Operations that a worker or a triggerer calls.
CALLS = ("DescribeTrainingJob", "ListTrainingJobs", "ListTags", "AddTags", "CreateTrainingJob")


@dataclass(frozen=True)
class Strike:
    """
    What befalls a call on its way, see :mod:`tests.chaos.wire`.

    :param operation: a SageMaker operation, ``*``, ``Deliver``: the AddTags that marks a result as delivered; or
        :data:`ANY`.
    :param kind: ``kill`` (SIGKILL whoever calls), ``cut`` the connection, ``timeout`` (there is no answer until the
        caller hangs up), ``hold`` it while a second worker starts, ``freeze`` (SIGSTOP whoever calls, SIGCONT at
        ``until``), ``term`` and ``term-twice`` (SIGTERM), or an error: ``throttle``, ``error``, ``unavailable``,
        ``expired``, ``quota``.
    :param when: ``before`` the service has it, ``during`` (the service has acted, the caller does not know),
        ``after`` (the caller may know).
    :param nth: the first call that it strikes, among those that match.
    :param count: how many it strikes.
    :param seconds: how long it strikes from then on, where it is a span.
    :param at: seconds since the run's first job was created before which it strikes nothing, and counts nothing.
    :param until: of a freeze: ``attached``, ``completed`` or ``generation``, see :class:`tests.chaos.airflow.Frozen`.
    """

    operation: str
    kind: str
    when: str = "before"
    nth: int = 1
    count: int = 1
    seconds: float = 0.0
    at: float = 0.0
    until: str = ""


@dataclass(frozen=True)
class Blow:
    """
    What befalls a run at a moment.

    :param kind: ``kill``, ``supersede``, ``drain``, ``restore``, ``restore-alive``, ``interrupt``, ``twice``,
        ``mark-failed``; ``stop``: a person stops the job; ``clear``: a person clears the task, whatever its state;
        ``probe``: the worker dies and leaves a probe of the run.
    :param at: seconds since the run's first job was created.
    :param seconds: how long the zombie lives on, or for how long there is no capacity.
    """

    kind: str
    at: float
    seconds: float = 0.0


@dataclass(frozen=True)
class Scenario:
    """
    One run: what it trains, and what it suffers.

    :param work: seconds of training (simulated), or steps (process).
    :param job_faults: what befalls the run's jobs, as entries of Local SageMaker's fault plan; ``{run}`` stands for the
        beginning of their names.
    :param lag: seconds by which ListTrainingJobs is late.
    :param clears: how often a person clears the task after it succeeded.
    :param point: the name of a systematic scenario, see :mod:`tests.chaos.systematic`; empty for a drawn one.
    :param seeded: seconds of training that lie in the folder of ``resume_from``, where the operator has one.
    """

    seed: int
    engine: str
    deferrable: bool
    work: float
    faults: tuple[str, ...]
    strikes: tuple[Strike, ...] = ()
    blows: tuple[Blow, ...] = ()
    job_faults: tuple[str, ...] = ()
    lag: float = 0.0
    clears: int = 0
    operator: dict[str, Any] = field(default_factory=dict)
    point: str = ""
    seeded: float = 0.0

    @property
    def name(self) -> str:
        """Return what it is repeated by: ``--only``."""
        return self.point or str(self.seed)

    @property
    def token(self) -> str:
        """Return what its jobs' names hold: letters and digits."""
        if not self.point:
            return f"{self.engine[0]}{self.seed}"
        return f"x{hashlib.sha256(self.point.encode()).hexdigest()[:12]}"

    def to_json(self) -> dict[str, Any]:
        """Give it as JSON values, for people."""
        return asdict(self)


def draw(seed: int, engine: str) -> Scenario:
    """Make a seed's scenario. The same seed and engine give the same."""
    dice = random.Random(f"chaos/{engine}/{seed}")
    deferrable = dice.random() < 0.5
    first = KINDS[seed % len(KINDS)]
    if first in ("triggerer killed", "trigger run twice"):
        deferrable = True
    faults = (first, *dice.sample(KINDS, k=dice.choice((0, 0, 1, 1, 2))))
    work = round(dice.uniform(1.5, 4), 2) if engine == "simulated" else float(dice.randint(12, 30))
    length = work if engine == "simulated" else work * STEP_SECONDS
    drawn = _Drawn(dice, length)
    for fault in faults:
        drawn.add(fault)
    # By dice of its own, so that all else stays as it is. A real script would need a folder that outlives its job.
    if engine == "simulated" and random.Random(f"own/{seed}").random() < OWN_SHARE:
        drawn.operator["use_checkpoints"] = False
    return Scenario(
        seed=seed,
        engine=engine,
        deferrable=deferrable,
        work=work,
        faults=faults,
        strikes=tuple(drawn.strikes),
        blows=tuple(sorted(drawn.blows, key=lambda blow: blow.at)),
        job_faults=tuple(drawn.job_faults),
        # A probe that no list shows ends by itself in the real world; this one trains until it is stopped.
        lag=0.0 if any(blow.kind == "probe" for blow in drawn.blows) else drawn.lag,
        clears=drawn.clears,
        operator=drawn.operator,
    )


#: The share of simulated runs whose script keeps its own checkpoints: SageMaker restores nothing.
OWN_SHARE = 0.15
#: How long a step of the process engine's script takes.
STEP_SECONDS = 0.15


class _Drawn:
    def __init__(self, dice: random.Random, length: float) -> None:
        self.dice = dice
        self.length = length
        self.strikes: list[Strike] = []
        self.blows: list[Blow] = []
        self.job_faults: list[str] = []
        self.lag = 0.0
        self.clears = 0
        self.operator: dict[str, Any] = {}

    def add(self, fault: str) -> None:
        dice = self.dice
        if fault in _STRIKES:
            self.strikes.append(_STRIKES[fault])
        elif fault in _ERRORS:
            span = dice.uniform(1, 5)
            kind = dice.choice(_ERRORS[fault])
            self.strikes.append(Strike("*", kind, nth=dice.randint(1, 15), count=10_000, seconds=span))
        elif fault in _BLOWS:
            kind, seconds = _BLOWS[fault]
            self.blows.append(Blow(kind, dice.uniform(0.2, self.length), dice.uniform(*seconds)))
        else:
            _OTHERS[fault](self)

    def killed_at_any_call(self) -> None:
        for _ in range(self.dice.randint(1, 3)):
            when = self.dice.choice(("before", "during", "after"))
            self.strikes.append(Strike("*", "kill", when, nth=self.dice.randint(1, 30)))

    def connections_cut(self) -> None:
        for _ in range(self.dice.randint(1, 4)):
            when = self.dice.choice(("before", "during"))
            self.strikes.append(Strike(self.dice.choice(CALLS), "cut", when, nth=self.dice.randint(1, 5), count=2))
        self.strikes.append(Strike("*", "cut", "before", nth=self.dice.randint(1, 6)))

    def list_lags(self) -> None:
        # It matters to whoever looks again.
        self.lag = self.dice.uniform(2, 20)
        self.strikes.append(Strike("DescribeTrainingJob", "kill", "after", nth=self.dice.randint(4, 6)))

    def cleared(self) -> None:
        self.clears += 1

    def no_capacity_in_time(self) -> None:
        self.operator |= {"max_run": 20, "max_wait": 20}
        self.blows.append(Blow("interrupt", self.dice.uniform(0.2, self.length), 600))

    def out_of_memory(self) -> None:
        self.operator |= {"script_error_retries": 2}
        self.job_faults.append(f"job:{{run}}*-1-1=out-of-memory:seconds={self.dice.uniform(0.2, self.length):.2f}")

    def restore_failed(self) -> None:
        # Of the first attempt, once it has something to restore; the next one can.
        self.blows.append(Blow("interrupt", self.dice.uniform(0.4, self.length)))
        self.job_faults.append("job:{run}*-1-1=restore-failed:megabytes=0")

    def max_wait_late(self) -> None:
        self.no_capacity_in_time()
        self.job_faults.append(f"job:{{run}}*=max-wait-late:seconds={self.dice.uniform(1, 3):.2f}")

    def probe_beside(self) -> None:
        self.blows.append(Blow("probe", self.dice.uniform(0.2, self.length)))

    def no_capacity(self) -> None:
        self.operator |= {"ladder": "scarce"}

    def over_quota(self) -> None:
        if self.dice.random() < 0.5:
            self.strikes.append(Strike("CreateTrainingJob", "quota", count=self.dice.randint(1, 2)))
        else:
            self.operator |= {"ladder": "quota"}


_OTHERS = {
    "killed at any call": _Drawn.killed_at_any_call,
    "connections cut": _Drawn.connections_cut,
    "list lags": _Drawn.list_lags,
    "cleared after success": _Drawn.cleared,
    "no capacity in time": _Drawn.no_capacity_in_time,
    "no capacity": _Drawn.no_capacity,
    "over quota": _Drawn.over_quota,
    "probe beside the attempt": _Drawn.probe_beside,
    "out of memory": _Drawn.out_of_memory,
    "restore failed": _Drawn.restore_failed,
    "max wait late": _Drawn.max_wait_late,
}
_STRIKES = {
    "killed before create": Strike("CreateTrainingJob", "kill", "before"),
    "killed between create and its response": Strike("CreateTrainingJob", "kill", "during"),
    "killed after create": Strike("CreateTrainingJob", "kill", "after"),
    "killed between completed and delivered": Strike("Deliver", "kill", "before"),
    "killed after delivered": Strike("Deliver", "kill", "during"),
    "superseded at create": Strike("CreateTrainingJob", "hold", seconds=1.0),
    "create's response lost": Strike("CreateTrainingJob", "cut", "during", count=2),
    "create's request lost": Strike("CreateTrainingJob", "cut", "before", count=2),
}
_ERRORS = {
    "throttled": ("throttle",),
    "5xx": ("error", "unavailable"),
    "expired credentials": ("expired",),
}
_BLOWS = {
    "killed while waiting": ("kill", (0.0, 0.0)),
    "triggerer killed": ("kill", (0.0, 0.0)),
    "superseded": ("supersede", (0.2, 4.0)),
    "drained": ("drain", (0.0, 0.0)),
    "database restored": ("restore", (0.0, 0.0)),
    "database restored, old worker alive": ("restore-alive", (0.2, 4.0)),
    "trigger run twice": ("twice", (0.0, 0.0)),
    "interrupted": ("interrupt", (0.0, 2.0)),
}
