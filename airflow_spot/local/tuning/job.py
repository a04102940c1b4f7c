"""A hyperparameter tuning job as SageMaker describes it: its request, and its training jobs."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, field
from typing import Any

from airflow_spot.local.storage.store import Kind
from airflow_spot.local.training.job import TrainingJob
from airflow_spot.local.tuning.rules import limits_of
from airflow_spot.local.tuning.trials import Limits, Trial, best, not_improving, objective_counters, status_counters

TERMINAL = ("Completed", "Failed", "Stopped")


@dataclass
class Child:
    """A training job of a tuning job.

    :param training: the training job.
    :param tuned: the hyperparameters that are its own.
    :param values: of the objective metric, as they are printed; what is no finite number does not count [A].
    :param judged: how many of them early stopping has looked at.
    """

    training: TrainingJob
    tuned: dict[str, str]
    values: list[float]
    judged: int = 0

    def trial(self) -> Trial:
        """Return what has become of it so far."""
        job = self.training
        with job.lock:
            return Trial(
                status=job.status,
                values=tuple(self.values),
                retryable=(job.failure_reason or "").startswith("InternalServerError"),
                ended=job.transitions[-1]["EndTime"] if job.terminal else None,
            )


@dataclass
class TuningJob:
    """One tuning job.

    :param request: the body of CreateHyperParameterTuningJob, tags left out, the objective's name among the static
        hyperparameters.
    :param facts: what the description has beside the request: status, times, reason.
    :param children: in the order of their launch.
    :ivar wake: set when its thread has something to look at.
    """

    region: str
    name: str
    request: dict[str, Any]
    creation_time: float
    facts: dict[str, Any]
    children: list[Child] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)
    wake: threading.Event = field(default_factory=threading.Event)

    @property
    def arn(self) -> str:
        return TUNING_JOBS.arn(self.region, self.name)

    @property
    def config(self) -> dict[str, Any]:
        """HyperParameterTuningJobConfig."""
        config: dict[str, Any] = self.request["HyperParameterTuningJobConfig"]
        return config

    @property
    def objective(self) -> dict[str, str]:
        """HyperParameterTuningJobObjective."""
        objective: dict[str, str] = self.config["HyperParameterTuningJobObjective"]
        return objective

    @property
    def limits(self) -> Limits:
        return limits_of(self.request, self.creation_time)

    @property
    def status(self) -> str:
        return str(self.facts["HyperParameterTuningJobStatus"])

    @property
    def terminal(self) -> bool:
        return self.status in TERMINAL

    @property
    def early_stopping(self) -> bool:
        return bool(self.config.get("TrainingJobEarlyStoppingType") == "Auto")

    def record_metric(self, values: list[float], name: str, value: float) -> None:
        """Record a value of a metric that a training job has printed."""
        if name == self.objective["MetricName"] and math.isfinite(value):
            values.append(value)
            if self.early_stopping:
                self.wake.set()

    def trials(self) -> list[Trial]:
        """Return what has become of all training jobs so far."""
        with self.lock:
            return [child.trial() for child in self.children]

    def describe(self, now: float) -> dict[str, Any]:
        """Return the answer of DescribeHyperParameterTuningJob.

        :param now: service time, for the seconds that it has run.
        """
        with self.lock:
            trials = self.trials()
            until = self.facts.get("HyperParameterTuningEndTime", now)
            answer: dict[str, Any] = {
                **self.request,
                **self.facts,
                "HyperParameterTuningJobArn": self.arn,
                "CreationTime": self.creation_time,
                "TrainingJobStatusCounters": status_counters(trials),
                "ObjectiveStatusCounters": objective_counters(trials),
                "TuningJobCompletionDetails": {
                    "NumberOfTrainingJobsObjectiveNotImproving": not_improving(trials, self.limits)
                },
                "ConsumedResources": {"RuntimeInSeconds": round(until - self.creation_time)},
            }
            champion = best(trials, self.limits)
            if champion is not None:
                answer["BestTrainingJob"] = self._summary(self.children[champion], trials[champion], now)
            return answer

    def summary(self) -> dict[str, Any]:
        """Return the job's line in ListHyperParameterTuningJobs."""
        with self.lock:
            trials = self.trials()
            return {
                "HyperParameterTuningJobName": self.name,
                "HyperParameterTuningJobArn": self.arn,
                "Strategy": self.config["Strategy"],
                "CreationTime": self.creation_time,
                "TrainingJobStatusCounters": status_counters(trials),
                "ObjectiveStatusCounters": objective_counters(trials),
                "ResourceLimits": self.config["ResourceLimits"],
                **{name: value for name, value in self.facts.items() if name != "FailureReason"},
            }

    def summaries(self, now: float) -> list[dict[str, Any]]:
        """Return those of its training jobs, for ListTrainingJobsForHyperParameterTuningJob."""
        with self.lock:
            return [self._summary(child, child.trial(), now) for child in self.children]

    def _summary(self, child: Child, trial: Trial, now: float) -> dict[str, Any]:
        job = child.training
        with job.lock:
            described = job.describe(now)
        line = {
            "TrainingJobName": job.name,
            "TrainingJobArn": job.arn,
            "CreationTime": job.creation_time,
            "TrainingJobStatus": trial.status,
            "TunedHyperParameters": dict(child.tuned),
            "ObjectiveStatus": trial.objective_status,
        }
        definition = self.request["TrainingJobDefinition"].get("DefinitionName")
        if definition is not None:
            line["TrainingJobDefinitionName"] = definition
        if trial.final is not None:
            line["FinalHyperParameterTuningJobObjectiveMetric"] = {**self.objective, "Value": trial.final}
        for name in ("TrainingStartTime", "TrainingEndTime", "FailureReason"):
            if name in described:
                line[name] = described[name]
        return line


TUNING_JOBS = Kind[TuningJob]("hyper-parameter-tuning-job", "Hyperparameter tuning job")
