"""The rows of the fault benchmark: what goes wrong, in which mode, and what both operators are given."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.chaos import operators
from tests.chaos.scenario import Blow, Strike

#: Seconds of training that a job needs: enough that one which nobody waits for is seen to run on.
WORK_SECONDS = 15.0
#: Spot types of this benchmark's market: never to be had, and refused with CapacityError.
NONE, FAILING = "ml.p3.2xlarge", "ml.p3.8xlarge"
MARKET = f"{NONE}=never;{FAILING}=script:fail=600;*=always"
QUOTAS = f"{operators.FORBIDDEN}:spot=0"
BOTH_MODES = ("sync", "deferrable")


@dataclass(frozen=True)
class Case:
    """
    One row.

    :param mode: ``sync`` or ``deferrable``.
    :param strikes: on the calls of both; ``stock_strikes`` and ``ours_strikes``: where the same moment is another call.
    :param blows: at a moment, counted from the first job's creation.
    :param retry_delay: seconds between Airflow's tries.
    :param due: the state that is right in the end.
    :param config: laid over the config of both.
    :param both: arguments of both operators; ``stock``, ``ours``: of one, where the other has nothing like it.
    :param telling: whether it stands in the README, and not only in docs/faults.md.
    """

    fault: str
    mode: str
    strikes: tuple[Strike, ...] = ()
    blows: tuple[Blow, ...] = ()
    retries: int = 1
    retry_delay: float = 5.0
    due: str = "success"
    clears: int = 0
    config: dict[str, Any] = field(default_factory=dict)
    both: dict[str, Any] = field(default_factory=dict)
    stock: dict[str, Any] = field(default_factory=dict)
    ours: dict[str, Any] = field(default_factory=dict)
    stock_strikes: tuple[Strike, ...] = ()
    ours_strikes: tuple[Strike, ...] = ()
    telling: bool = False

    def strikes_on(self, kind: str) -> tuple[Strike, ...]:
        """What befalls the calls of ``stock`` or ``ours``."""
        return self.strikes + (self.stock_strikes if kind == "stock" else self.ours_strikes)

    def arguments_of(self, kind: str) -> dict[str, Any]:
        """What ``stock`` or ``ours`` is given beside the config."""
        mode = {"deferrable": self.mode == "deferrable", "check_interval": 1}
        return {**mode, **self.both, **(self.stock if kind == "stock" else self.ours)}


def on(instance_type: str, max_wait: int = 600) -> dict[str, Any]:
    """Give the part of a config that says where a job runs, and how long it may wait for that."""
    return {
        "ResourceConfig": {"InstanceType": instance_type, "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": max_wait, "MaxWaitTimeInSeconds": max_wait},
    }


def _ladder(first: str) -> dict[str, Any]:
    return {"ladder": [{"instance_type": first}, {"instance_type": operators.TYPE}]}


def _while_waiting(operation: str, kind: str, seconds: float) -> tuple[Strike, ...]:
    return (Strike(operation, kind, count=10_000, seconds=seconds, at=5.0),)


def _in_both_modes(fault: str, telling: str = "", **more: Any) -> tuple[Case, ...]:
    return tuple(Case(fault, mode, telling=mode == telling, **more) for mode in BOTH_MODES)


def _create(kind: str, when: str) -> tuple[Strike, ...]:
    return (Strike("CreateTrainingJob", kind, when),)


#: Longer than the work, so that it is the wait that ends a job.
_MAX_WAIT = 20
#: The last look of a sync stock operator is its fourth; ours ends with a mark.
_BEFORE_SUCCESS: dict[str, Any] = {
    "stock_strikes": (Strike("DescribeTrainingJob", "kill", "before", nth=4),),
    "ours_strikes": (Strike("Deliver", "kill", "before"),),
}
_GONE_FOR_GOOD: dict[str, Any] = {
    "config": on(operators.TYPE, _MAX_WAIT),
    "blows": (Blow("interrupt", 5.0, 600.0),),
    "both": {"print_log": False},
}
#: botocore repeats the stock operator's call four times, in at most fifteen seconds; and Airflow's next try begins when
#: the fault is over.
_THROTTLED: dict[str, Any] = {"strikes": _while_waiting("DescribeTrainingJob", "throttle", 20), "retry_delay": 20.0}

CASES: tuple[Case, ...] = (
    *_in_both_modes("no fault"),
    *_in_both_modes("worker killed between create and its response", telling="sync", strikes=_create("kill", "during")),
    Case("worker killed between create and defer", "deferrable", _create("kill", "after"), telling=True),
    Case("worker killed while waiting", "sync", blows=(Blow("kill", 5.0),), telling=True),
    Case("worker killed after the job, before the task's success", "sync", **_BEFORE_SUCCESS),
    Case("triggerer killed while waiting", "deferrable", blows=(Blow("kill", 5.0),)),
    Case("worker superseded, and alive", "sync", blows=(Blow("supersede", 3.0, 3.0),)),
    Case("worker drained", "sync", blows=(Blow("drain", 2.0),)),
    *_in_both_modes("create's response lost", telling="deferrable", strikes=_create("cut", "during")),
    *_in_both_modes("task marked failed", telling="deferrable", due="marked failed", blows=(Blow("mark-failed", 5.0),)),
    *_in_both_modes("job stopped by a person", due="failed", blows=(Blow("stop", 5.0),)),
    Case(
        "job stopped by a person, print_log=False",
        "sync",
        blows=(Blow("stop", 5.0),),
        due="failed",
        both={"print_log": False},
        telling=True,
    ),
    *_in_both_modes("spot interruption", telling="deferrable", blows=(Blow("interrupt", 5.0, 2.0),)),
    Case("interrupted, then MaxWaitTime is over, print_log=False", "sync", telling=True, **_GONE_FOR_GOOD),
    Case("interrupted, then MaxWaitTime is over", "deferrable", **{**_GONE_FOR_GOOD, "both": {}}),
    *_in_both_modes("no capacity until MaxWaitTime is over", config=on(NONE, _MAX_WAIT), ours=_ladder(NONE)),
    Case(
        "no capacity until MaxWaitTime is over, print_log=False",
        "sync",
        config=on(NONE, _MAX_WAIT),
        both={"print_log": False},
        ours=_ladder(NONE),
    ),
    *_in_both_modes("CapacityError", telling="deferrable", config=on(FAILING), ours=_ladder(FAILING)),
    *_in_both_modes("no quota for the type", config=on(operators.FORBIDDEN), ours=_ladder(operators.FORBIDDEN)),
    *_in_both_modes(
        "script error", due="failed", config={"HyperParameters": {"simulated_seconds": "5", "simulated_exit_code": "3"}}
    ),
    Case("throttled for 20 s, print_log=False", "sync", both={"print_log": False}, **_THROTTLED),
    Case("throttled for 20 s", "deferrable", **_THROTTLED),
    *_in_both_modes("credentials expired for 3 s", telling="sync", strikes=_while_waiting("*", "expired", 3)),
    *_in_both_modes("cleared after success", clears=1),
    *_in_both_modes("execution_timeout", telling="deferrable", due="failed", retries=0, both={"execution_timeout": 8}),
    Case("longer than the poll limit", "deferrable", retries=0, stock={"max_attempts": 3}, telling=True),
)
