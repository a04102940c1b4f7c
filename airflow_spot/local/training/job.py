"""A training job as SageMaker describes it: pure state, with its transitions. No thread, no I/O."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from airflow_spot.local.container.toolkit import without_command
from airflow_spot.local.market.prices import billable_seconds
from airflow_spot.local.storage.store import Kind

TERMINAL = frozenset({"Completed", "Failed", "Stopped"})
DEFAULT_MAX_RUNTIME = 24 * 3600
FAILURE_REASON_CHARACTERS = 1024

MESSAGES = {
    "Starting": "Preparing the instances for training",
    "Pending": "Training job waiting for capacity",
    "Downloading": "Downloading input data",
    "Training": "Training image download completed. Training in progress.",
    "Restarting": "Restarting the training job after an internal error",
    "Interrupted": "Training job interrupted: the managed spot instances were reclaimed",
    "Uploading": "Uploading generated training model",
    "Stopping": "Stopping the training job",
    "Completed": "Training job completed",
    "Failed": "Training job failed",
    "Stopped": "Training job stopped",
    "MaxRuntimeExceeded": "Training job runtime exceeded MaxRuntimeInSeconds provided",
    "MaxWaitTimeExceeded": "Training job wait time exceeded MaxWaitTimeInSeconds provided",
}
WAITING_FOR_SPOT = "Insufficient capacity error from EC2 while launching instances, retrying!"
STARTING_ON_DEMAND = "Starting the training job"

LATE_SECONDS = 0.5
"""LastModifiedTime continues until so long after the end; recorded are 0.3 to 30."""

_DESCRIBED = (
    "HyperParameters",
    "AlgorithmSpecification",
    "RoleArn",
    "InputDataConfig",
    "OutputDataConfig",
    "ResourceConfig",
    "VpcConfig",
    "StoppingCondition",
    "CheckpointConfig",
    "DebugHookConfig",
    "ExperimentConfig",
    "DebugRuleConfigurations",
    "TensorBoardOutputConfig",
    "ProfilerConfig",
    "ProfilerRuleConfigurations",
    "Environment",
    "RetryStrategy",
    "RemoteDebugConfig",
    "InfraCheckConfig",
    "ServerlessJobConfig",
    "MlflowConfig",
    "ModelPackageConfig",
)
_FLAGS = ("EnableNetworkIsolation", "EnableInterContainerTrafficEncryption", "EnableManagedSpotTraining")


@dataclass(frozen=True)
class Parent:
    """The tuning job that has launched a training job.

    :param changed: called after each change of the training job's status, with its lock held.
    :param measured: called with each value of a metric that it prints.
    """

    arn: str
    changed: Callable[[], None]
    measured: Callable[[str, float], None]


@dataclass
class TrainingJob:
    """One training job.

    All times are service seconds since the epoch. Hold ``lock`` to read or change it, so that no half
    change is seen; what :meth:`describe` and :meth:`summary` return may be used without.

    :param request: the body of CreateTrainingJob, tags left out.
    :param starts: how often it has been given instances.
    :param retries: how often it was restarted after an internal error, see RetryStrategy.
    :param interruptions: how often they were taken back.
    :param training_seconds: instance time of the starts that have ended, without that in which they were stopped.
    :param stopping_seconds: what Stopping took of the present start's time, once that is over.
    :param last_stream: the number that ends the name of the newest log stream.
    :param instance_start: when the present instances began to download, or None while there are none.
    :param parent: the tuning job that launched it.
    """

    region: str
    name: str
    request: dict[str, Any]
    creation_time: float
    status: str = "InProgress"
    secondary: str = "Starting"
    last_modified: float = 0.0
    transitions: list[dict[str, Any]] = field(default_factory=list)
    failure_reason: str | None = None
    training_start: float | None = None
    training_end: float | None = None
    starts: int = 0
    interruptions: int = 0
    training_seconds: float = 0.0
    stopping_seconds: float = 0.0
    instance_start: float | None = None
    retries: int = 0
    instance_type: str = ""
    last_stream: int = 0
    metrics: dict[str, dict[str, Any]] = field(default_factory=dict)
    parent: Parent | None = field(default=None, repr=False, compare=False)
    lock: threading.RLock = field(default_factory=threading.RLock, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.instance_type:
            self.instance_type = self.candidates[0]

    @property
    def arn(self) -> str:
        return TRAINING_JOBS.arn(self.region, self.name)

    @property
    def spot(self) -> bool:
        return bool(self.request.get("EnableManagedSpotTraining", False))

    @property
    def candidates(self) -> list[str]:
        """Instance types that it may run on, in order of preference."""
        resources = self.request["ResourceConfig"]
        preferences = resources.get("InstancePreferences")
        return [entry["InstanceType"] for entry in preferences] if preferences else [resources["InstanceType"]]

    @property
    def max_retries(self) -> int:
        """How often it may be restarted after an internal error."""
        return int(self.request.get("RetryStrategy", {}).get("MaximumRetryAttempts", 0))

    @property
    def max_pending(self) -> float | None:
        """MaxPendingTimeInSeconds, which counts for accelerated types only; else None."""
        value = self.request.get("StoppingCondition", {}).get("MaxPendingTimeInSeconds")
        return float(value) if value is not None and any(map(accelerated, self.candidates)) else None

    @property
    def instance_count(self) -> int:
        resources = self.request["ResourceConfig"]
        for preference in resources.get("InstancePreferences", ()):
            if preference["InstanceType"] == self.instance_type and "InstanceCount" in preference:
                return int(preference["InstanceCount"])
        return int(resources.get("InstanceCount", 1))

    @property
    def max_runtime(self) -> float:
        """MaxRuntimeInSeconds, over all starts."""
        return float(self.request.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", DEFAULT_MAX_RUNTIME))

    @property
    def max_wait(self) -> float | None:
        """MaxWaitTimeInSeconds, which counts waiting and running together; None for on-demand."""
        value = self.request.get("StoppingCondition", {}).get("MaxWaitTimeInSeconds")
        return None if value is None else float(value)

    @property
    def terminal(self) -> bool:
        return self.status in TERMINAL

    @property
    def output_prefix(self) -> str:
        """The S3 URI below which the job's results go."""
        return f"{self.request['OutputDataConfig']['S3OutputPath'].rstrip('/')}/{self.name}/output"

    @property
    def model_uri(self) -> str:
        if self.request["OutputDataConfig"].get("CompressionType") == "NONE":
            return f"{self.output_prefix}/model/"
        return f"{self.output_prefix}/model.tar.gz"

    def enter(self, secondary: str, now: float, message: str | None = None) -> None:
        """Enter a secondary status: end the last transition and begin the next.

        :param message: instead of AWS's usual words for it.
        """
        if self.transitions:
            self.stopping_seconds = self._stopping(now)
            self.transitions[-1]["EndTime"] = now
        text = MESSAGES[secondary] if message is None else message
        self.transitions.append({"Status": secondary, "StartTime": now, "StatusMessage": text})
        self.secondary = secondary
        self.last_modified = now
        if self.parent is not None:
            self.parent.changed()

    def set_message(self, message: str, now: float) -> None:
        """Change the message of the present transition."""
        self.transitions[-1]["StatusMessage"] = message
        self.last_modified = now

    def begin_instances(self, now: float) -> None:
        """Instances are there: training time, which is billed, begins to count."""
        self.starts += 1
        self.instance_start, self.stopping_seconds = now, 0.0
        if self.training_start is None:
            self.training_start = now

    def end_instances(self, now: float) -> None:
        """The instances are gone. Does nothing if there were none."""
        if self.instance_start is not None:
            self.training_seconds = self.trained(now)
            self.instance_start, self.stopping_seconds = None, 0.0
            self.training_end = now

    def trained(self, now: float) -> float:
        """Return training seconds so far, those of the present start included. Stopping does not count [T]."""
        if self.instance_start is None:
            return self.training_seconds
        return self.training_seconds + now - self.instance_start - self._stopping(now)

    def _stopping(self, now: float) -> float:
        """Return what Stopping has taken of the present start's time so far."""
        if self.instance_start is None or self.secondary != "Stopping":
            return self.stopping_seconds
        begun: float = max(self.transitions[-1]["StartTime"], self.instance_start)
        return self.stopping_seconds + max(0.0, now - begun)

    def finish(self, status: str, secondary: str, now: float, reason: str | None = None) -> None:
        """End for good.

        :param status: one of TERMINAL.
        :param reason: FailureReason, cut to what SageMaker keeps of it.
        """
        self.end_instances(now)
        self.status = status
        if reason is not None:
            self.failure_reason = reason[:FAILURE_REASON_CHARACTERS]
        self.enter(secondary, now)
        self.transitions[-1]["EndTime"] = now

    def describe(self, now: float) -> dict[str, Any]:
        """Return the answer of DescribeTrainingJob. Tags are not in it, as with AWS."""
        request = self.request
        answer: dict[str, Any] = {
            "TrainingJobName": self.name,
            "TrainingJobArn": self.arn,
            "TrainingJobStatus": self.status,
            "SecondaryStatus": self.secondary,
            "CreationTime": self.creation_time,
            "LastModifiedTime": self.modified(now),
            "SecondaryStatusTransitions": [dict(transition) for transition in self.transitions],
        }
        if self.terminal:
            answer["ModelArtifacts"] = {"S3ModelArtifacts": self.model_uri}
        answer.update(with_defaults({name: request[name] for name in _DESCRIBED if name in request}))
        answer.update({name: bool(request.get(name, False)) for name in _FLAGS})
        if request["ResourceConfig"].get("InstancePreferences"):
            selected = {"SelectedInstanceType": self.instance_type, "SelectedInstanceCount": self.instance_count}
            answer["ResourceConfig"] = {**request["ResourceConfig"], **(selected if self.starts else {})}
        if self.failure_reason is not None:
            answer["FailureReason"] = self.failure_reason
        if self.training_start is not None:
            answer["TrainingStartTime"] = self.training_start
            answer["TrainingTimeInSeconds"] = whole_seconds(self.trained(now))
        if self.terminal and self.training_end is not None:
            answer["TrainingEndTime"] = self.training_end
            billable = billable_seconds(self.training_seconds, self.instance_type, self.spot)
            answer["BillableTimeInSeconds"] = whole_seconds(billable)
        if self.parent is not None:
            answer["TuningJobArn"] = self.parent.arn
        if self.metrics:
            answer["FinalMetricDataList"] = [dict(metric) for metric in self.metrics.values()]
        return answer

    def modified(self, now: float) -> float:
        """Return LastModifiedTime, which is some time after the end of a job that has ended [T]."""
        return min(now, self.last_modified + LATE_SECONDS) if self.terminal else self.last_modified

    @property
    def told_reason(self) -> str | None:
        """FailureReason without what may hold hyperparameters, for all that is not SageMaker's own answer."""
        return None if self.failure_reason is None else without_command(self.failure_reason)

    def summary(self, now: float) -> dict[str, Any]:
        """Return the job's line in ListTrainingJobs."""
        line: dict[str, Any] = {
            "TrainingJobName": self.name,
            "TrainingJobArn": self.arn,
            "CreationTime": self.creation_time,
            "LastModifiedTime": self.modified(now),
            "TrainingJobStatus": self.status,
            "SecondaryStatus": self.secondary,
        }
        if self.terminal and self.training_end is not None:
            line["TrainingEndTime"] = self.training_end
        return line


TRAINING_JOBS = Kind[TrainingJob]("training-job", "Training job")


def with_defaults(request: dict[str, Any]) -> dict[str, Any]:
    """Return a request as Describe shows it: with what SageMaker fills in [T]."""
    shown = dict(request)
    if "AlgorithmSpecification" in request:
        algorithm = {"EnableSageMakerMetricsTimeSeries": False}
        shown["AlgorithmSpecification"] = {**algorithm, **request["AlgorithmSpecification"]}
    shown["OutputDataConfig"] = {"KmsKeyId": "", **request["OutputDataConfig"]}
    if "InputDataConfig" in request:
        shown["InputDataConfig"] = [_channel(channel) for channel in request["InputDataConfig"]]
    return shown


def _channel(channel: dict[str, Any]) -> dict[str, Any]:
    source = channel["DataSource"].get("S3DataSource")
    if not source:
        return channel
    whole = {"S3DataSource": {"S3DataDistributionType": "FullyReplicated", **source}}
    return {"CompressionType": "None", "RecordWrapperType": "None", **channel, "DataSource": whole}


def accelerated(instance_type: str) -> bool:
    """Return whether a type is of the families that MaxPendingTimeInSeconds applies to: p, g and trn."""
    return instance_type.startswith(("ml.p", "ml.g", "ml.trn"))


def whole_seconds(seconds: float) -> int:
    """Return a duration as SageMaker reports it: whole, and at least 1."""
    return max(1, round(seconds))
