"""What the training jobs of a tuning job have achieved, and when that is enough. Pure: values in, a verdict out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Literal

FRUITLESS_TRIALS = 5
IMPROVEMENT = 0.01

ObjectiveStatus = Literal["Succeeded", "Pending", "Failed"]


@dataclass(frozen=True)
class Trial:
    """One training job of a tuning job.

    :param status: its TrainingJobStatus.
    :param values: of the objective metric, as the job printed them: one an epoch.
    :param retryable: it failed by an internal error of the service.
    :param ended: when, in service seconds; None while it runs.
    """

    status: str
    values: tuple[float, ...] = ()
    retryable: bool = False
    ended: float | None = None

    @property
    def final(self) -> float | None:
        """The latest value of the objective metric [D]."""
        return self.values[-1] if self.values else None

    @property
    def objective_status(self) -> ObjectiveStatus:
        """Whether its objective metric counts: that of a job that failed does not, that of a stopped one does [A]."""
        if self.ended is None:
            return "Pending"
        return "Succeeded" if self.values and self.status in ("Completed", "Stopped") else "Failed"


@dataclass(frozen=True)
class Limits:
    """When a tuning job is over.

    :param maximize: the objective is to be large; else small.
    :param trials: how many training jobs there may be; None: no limit.
    :param target: a value of the objective that is good enough.
    :param not_improving: how many training jobs in a row may be no better.
    :param until: in service seconds.
    """

    maximize: bool
    trials: int | None = None
    target: float | None = None
    not_improving: int | None = None
    until: float | None = None

    def better(self, value: float, than: float) -> bool:
        """Return whether a value of the objective beats another."""
        return value > than if self.maximize else value < than


@dataclass(frozen=True)
class Verdict:
    """How a tuning job ends.

    :param reason: FailureReason, of one that has failed.
    """

    status: Literal["Completed", "Failed"]
    reason: str | None = None


def objective_counters(trials: Iterable[Trial]) -> dict[str, int]:
    """Return ObjectiveStatusCounters."""
    counters = {"Succeeded": 0, "Pending": 0, "Failed": 0}
    for trial in trials:
        counters[trial.objective_status] += 1
    return counters


def status_counters(trials: Iterable[Trial]) -> dict[str, int]:
    """Return TrainingJobStatusCounters."""
    counters = {"Completed": 0, "InProgress": 0, "RetryableError": 0, "NonRetryableError": 0, "Stopped": 0}
    for trial in trials:
        if trial.ended is None:
            counters["InProgress"] += 1
        elif trial.status == "Failed":
            counters["RetryableError" if trial.retryable else "NonRetryableError"] += 1
        else:
            counters[trial.status] += 1
    return counters


def best(trials: Sequence[Trial], limits: Limits) -> int | None:
    """Return the index of the best job that has completed [D]; of equal ones, the first."""
    found: int | None = None
    for index, trial in enumerate(trials):
        if trial.status == "Completed" and trial.ended is not None and trial.final is not None:
            champion = None if found is None else trials[found].final
            if champion is None or limits.better(trial.final, champion):
                found = index
    return found


def not_improving(trials: Iterable[Trial], limits: Limits) -> int:
    """Return how many jobs in a row, the last included, were not at least 1 % better than those before them [D].

    In the order of their ends; jobs whose objective does not count are left out [A].
    """
    champion: float | None = None
    since = 0
    counted = [trial for trial in trials if trial.objective_status == "Succeeded"]
    for trial in sorted(counted, key=lambda trial: trial.ended or 0.0):
        value = trial.values[-1]
        if champion is None or (
            limits.better(value, champion) and abs(value - champion) >= IMPROVEMENT * abs(champion)
        ):
            champion, since = value, 0
        else:
            since += 1
    return since


def should_stop_early(values: Sequence[float], epoch: int, others: Iterable[Trial], limits: Limits) -> bool:
    """Return whether TrainingJobEarlyStoppingType Auto stops a job after an epoch [D].

    The job's value is compared with the median of the running averages, up to the same epoch, of the
    jobs before it. Those are here the ones that have ended, and were not shorter [A].

    :param epoch: the one to judge, from 1.
    :param others: the tuning job's other training jobs.
    """
    averages = [
        fmean(other.values[:epoch])
        for other in others
        if other.objective_status == "Succeeded" and len(other.values) >= epoch
    ]
    return bool(averages) and limits.better(median(averages), values[epoch - 1])


def judge(trials: Sequence[Trial], limits: Limits, now: float, *, exhausted: bool) -> Verdict | None:
    """Return whether a tuning job is over; None if it continues.

    That it fails once five jobs have ended and none of them has given a value of the objective is what public threads
    show [T]; so does one whose fewer jobs have all ended so.

    :param now: service seconds.
    :param exhausted: there is no further combination of values.
    """
    ended = [trial for trial in trials if trial.ended is not None]
    all_ended = len(ended) == len(trials) and (exhausted or len(trials) == limits.trials)
    if not any(trial.objective_status == "Succeeded" for trial in ended):
        if len(ended) >= FRUITLESS_TRIALS or (all_ended and ended):
            return Verdict("Failed", _fruitless(ended))
    elif _good_enough(trials, limits):
        return Verdict("Completed")
    if all_ended or (limits.until is not None and now >= limits.until):
        return Verdict("Completed")
    return None


def _good_enough(trials: Sequence[Trial], limits: Limits) -> bool:
    champion = best(trials, limits)
    value = None if champion is None else trials[champion].final
    if limits.target is not None and value is not None and not limits.better(limits.target, value):
        return True
    return limits.not_improving is not None and not_improving(trials, limits) >= limits.not_improving


def _fruitless(ended: Sequence[Trial]) -> str:
    """Return the FailureReason, in AWS's words [T]."""
    if any(trial.status == "Completed" for trial in ended):
        return (
            f"No objective metrics found after running {len(ended)} training jobs. Please ensure that the custom "
            "algorithm is emitting the objective metric as defined by the regular expression provided."
        )
    return (
        f"No training job succeeded after {len(ended)} attempts. Please take a look at the training job failures to "
        "get more details."
    )
