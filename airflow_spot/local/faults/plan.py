"""Faults: how calls fail, by a plan that is the same each time it is run.

A plan is ``OPERATION=KIND`` or ``OPERATION=KIND:name=value,...`` entries joined by ``;``. OPERATION is a SageMaker
operation, or ``s3:`` and an S3 operation such as ``s3:PutObject``, with shell wildcards; or one of what tells prices,
capacity, quotas and permissions, with its service: ``pricing:GetProducts``, ``servicequotas:ListServiceQuotas``,
``ec2:GetSpotPlacementScores``, ``iam:GetRole``, ``ecr:DescribeImages``, ... Kinds:

========================  ==================================================================================
``throttle``              400 ThrottlingException: Rate exceeded
``error``                 500 InternalFailure
``unavailable``           503 ServiceUnavailable
``expired``               400 ExpiredTokenException
``denied``                400 AccessDeniedException: whoever calls may not; EC2 says UnauthorizedOperation
``missing``               what the call asks for does not exist: NoSuchEntity of ``iam:GetRole``, NoSuchKey of S3, ...
``slow``                  is carried out after ``seconds`` (default 1)
``cut-before``            the connection ends, nothing was carried out
``cut-after``             is carried out, and then the connection ends: the lost response
``cut-half``              the connection ends in the middle of the request's body; nothing was carried out
``lag``                   of ListTrainingJobs and Search: shows what was ``seconds`` ago (default 5)
``filter-after-paging``   of ListTrainingJobs: NameContains, CreationTimeAfter and LastModifiedTimeAfter are applied to
                          each page, so that pages can be empty and yet have a NextToken, as public threads report
``frozen-last-modified``  LastModifiedTime stays at the creation time while a job is InProgress
========================  ==================================================================================

The first ten strike single calls, each that matches unless limited by ``count=N`` (so many calls), ``after=N`` (not
the first N), ``p=0.1`` (each with this probability, drawn with ``seed=N``), ``key=PATTERN`` (S3 keys). The last three
are how the service is while the plan holds.

For training jobs OPERATION is ``job:`` and the job's name, with wildcards:

========================  ==================================================================================
``out-of-memory``         the script has used up its instance's memory after ``seconds`` of training (default 5):
                          SIGKILL, and ClientError. Strikes starts, limited as calls are, and by
                          ``type=PATTERN`` (instance types): a larger type has more memory
``restore-failed``        checkpoints that are larger than ``megabytes`` (default 100,000) are not restored: each start
                          fails with InternalServerError and without a log
``max-wait-late``         MaxWaitTimeInSeconds ends the job ``seconds`` later than it says (default 120)
========================  ==================================================================================

``job:*=restore-failed:megabytes=1;job:*=out-of-memory:type=ml.m5.large,count=1``
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

#: What each service answers: :mod:`airflow_spot.local.faults.answers`.
ERRORS = ("throttle", "error", "unavailable", "expired", "denied", "missing")
STRIKES = frozenset({*ERRORS, "slow", "cut-before", "cut-after", "cut-half"})
STATES = frozenset({"lag", "filter-after-paging", "frozen-last-modified"})
JOB = "job:"
JOB_STRIKES = frozenset({"out-of-memory"})
JOB_STATES = frozenset({"restore-failed", "max-wait-late"})
_KINDS = STRIKES | STATES | JOB_STRIKES | JOB_STATES
_SECONDS = {"slow": 1.0, "lag": 5.0, "out-of-memory": 5.0, "max-wait-late": 120.0}
MEGABYTES = 100_000.0


@dataclass(frozen=True)
class Rule:
    """One entry of a plan. Times in seconds; ``count`` is infinite where it is None."""

    pattern: str
    kind: str
    count: int | None = None
    after: int = 0
    probability: float = 1.0
    seed: int = 0
    seconds: float = 0.0
    key: str = "*"
    megabytes: float = MEGABYTES
    type: str = "*"


@dataclass
class _Progress:
    """How far a rule has got."""

    rule: Rule
    seen: int = 0
    struck: int = 0
    generator: random.Random = field(default_factory=random.Random)

    def strikes(self, operation: str, key: str, instance_type: str) -> bool:
        rule = self.rule
        if not (fnmatchcase(operation, rule.pattern) and fnmatchcase(key, rule.key)):
            return False
        if not fnmatchcase(instance_type, rule.type):
            return False
        self.seen += 1
        # Drawn for each call that matches, so that a limit changes no later draw.
        hit = self.generator.random() < rule.probability
        if self.seen <= rule.after or not hit or (rule.count is not None and self.struck >= rule.count):
            return False
        self.struck += 1
        return True


class Faults:
    """The plan in force. Thread-safe; can be replaced while calls come in."""

    def __init__(self, plan: str = "", operations: Collection[str] = ()) -> None:
        """
        :param operations: of the service, S3's with ``s3:``; a plan's patterns have to match one of them, if any is
            given.
        :raises ValueError: as :meth:`set` does.
        """
        self._operations = operations
        self._lock = threading.Lock()
        self._strikes: list[_Progress] = []
        self._job_strikes: list[_Progress] = []
        self._states: list[Rule] = []
        self.set(plan)

    def set(self, plan: str) -> None:
        """Replace the plan; an empty one ends all faults. Counts start again at 0.

        :raises ValueError: if it is wrong; then the one before stays.
        """
        rules = parse_faults(plan, self._operations)
        with self._lock:
            self._strikes = _progress(rules, STRIKES)
            self._job_strikes = _progress(rules, JOB_STRIKES)
            self._states = [rule for rule in rules if rule.kind in STATES | JOB_STATES]

    def strike(self, operation: str, key: str = "") -> list[Rule]:
        """Return the faults that strike this call, in the plan's order. Each call asks once."""
        with self._lock:
            return [progress.rule for progress in self._strikes if progress.strikes(operation, key, "")]

    def strike_job(self, kind: str, job: str, instance_type: str) -> Rule | None:
        """Return the fault of this kind that strikes a start of a training job. Each start asks once."""
        with self._lock:
            found = [item for item in self._job_strikes if item.rule.kind == kind]
            return next((item.rule for item in found if item.strikes(f"{JOB}{job}", "", instance_type)), None)

    @property
    def quiet(self) -> bool:
        """Whether no call can be struck."""
        return not self._strikes

    def state(self, kind: str, operation: str) -> float | None:
        """Return the seconds of a state of the service that holds for an operation, or None if it does not hold."""
        rule = self._state(kind, operation)
        return None if rule is None else rule.seconds

    def job_state(self, kind: str, job: str) -> Rule | None:
        """Return the fault of this kind that holds for a training job, or None."""
        return self._state(kind, f"{JOB}{job}")

    def _state(self, kind: str, name: str) -> Rule | None:
        with self._lock:
            found = (rule for rule in self._states if rule.kind == kind and fnmatchcase(name, rule.pattern))
            return next(found, None)


def _progress(rules: Iterable[Rule], kinds: Collection[str]) -> list[_Progress]:
    chosen = [rule for rule in rules if rule.kind in kinds]
    return [_Progress(rule, generator=random.Random(rule.seed)) for rule in chosen]  # noqa: S311 - no secret


def parse_faults(plan: str, operations: Collection[str] = ()) -> list[Rule]:
    """Read a plan.

    :param operations: one of which each pattern has to match, if any is given.
    :raises ValueError: naming the entry that is wrong.
    """
    rules = [_rule(plan, entry.strip()) for entry in plan.split(";") if entry.strip()]
    for rule in rules:
        if rule.kind in JOB_STRIKES | JOB_STATES:
            continue
        if operations and not any(fnmatchcase(operation, rule.pattern) for operation in operations):
            raise ValueError(f"faults {plan!r}: no operation of the service is called {rule.pattern!r}")
    return rules


def _rule(plan: str, entry: str) -> Rule:
    pattern, equals, rest = entry.partition("=")
    kind, _, options = rest.partition(":")
    if not pattern or not equals or kind not in _KINDS:
        kinds = ", ".join(sorted(_KINDS))
        raise ValueError(f"faults {plan!r}: {entry!r} is not OPERATION=KIND[:name=value,...] with KIND of {kinds}")
    if pattern.startswith(JOB) is not (kind in JOB_STRIKES | JOB_STATES):
        jobs = ", ".join(sorted(JOB_STRIKES | JOB_STATES))
        raise ValueError(f"faults {plan!r}: {entry!r}: {jobs} are for training jobs, as job:NAME=KIND, and no others")
    values: dict[str, float | int | str] = {"seconds": _SECONDS.get(kind, 0.0)}
    readers: dict[str, Callable[[str], float | int | str]] = {
        **{"count": int, "after": int, "p": float, "seed": int, "seconds": float, "key": str},
        **{"megabytes": float, "type": str},
    }
    for option in filter(None, options.split(",")):
        name, _, value = option.partition("=")
        try:
            values["probability" if name == "p" else name] = readers[name](value)
        except (KeyError, ValueError):
            raise ValueError(f"faults {plan!r}: {option!r} is not one of {', '.join(readers)} with its value") from None
    rule = Rule(pattern, kind, **values)  # type: ignore[arg-type]  # each value was read by its field's own parser
    numbers = (rule.seconds, rule.megabytes, rule.after, rule.count or 0)
    if not 0 <= rule.probability <= 1 or not all(number >= 0 for number in numbers):
        raise ValueError(f"faults {plan!r}: {entry!r} has a value out of range")
    return rule
