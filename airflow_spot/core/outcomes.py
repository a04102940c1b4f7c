"""How an attempt ended: one typed outcome for everything that SageMaker can say."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from airflow_spot.core.quotas import read_limit
from airflow_spot.core.stop_reasons import StopReason

#: Any other status is of a job that may train or write checkpoints, also one that is newer than this package: to
#: take it for an end would start a second job beside it.
ENDED_STATUSES = frozenset({"Completed", "Failed", "Stopped"})

#: Secondary statuses in which a job has no instances, or not all of them yet.
WAITING_STATUSES = frozenset({"Starting", "Pending", "Interrupted", "Restarting", "LaunchingMLInstances"})
#: And those in which it works, and is paid for.
WORKING_STATUSES = frozenset(
    {"Downloading", "Training", "Uploading", "DownloadingTrainingImage", "PreparingTrainingStack"}
)

#: Seconds after an interruption in which the other instances' scripts fail for want of their peer.
PEER_FAILURE_SECONDS = 300.0

#: What SageMaker, or the way to it, recovers from by itself: the code of a ClientError, or an HTTP status.
TRANSIENT_CODES = frozenset(
    {
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "RequestThrottled",
        "RequestThrottledException",
        "TooManyRequestsException",
        "RequestLimitExceeded",
        "SlowDown",
        "BandwidthLimitExceeded",
        "PriorRequestNotComplete",
        "TransactionInProgressException",
        "EC2ThrottledException",
        "InternalFailure",
        "InternalError",
        "InternalServerError",
        "InternalServerException",
        "InternalServiceException",
        "ServiceUnavailable",
        "ServiceUnavailableException",
        "RequestTimeout",
        "RequestTimeoutException",
    }
)
#: Credentials that a fresh session mends.
EXPIRED_CODES = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "RequestExpired",
        "TokenRefreshRequired",
        "InvalidClientTokenId",
        "UnrecognizedClientException",
        # A signature of another moment, after a machine's sleep or a step of its clock; or of keys that have changed.
        "InvalidSignatureException",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
    }
)
HTTP_SERVER_ERROR = 500

DENIED_CODES = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"})
#: Also of S3's HEAD requests, whose answer has no body: botocore names its status only.
DENIED_OR_STATUS = DENIED_CODES | {"403"}
#: What the codes begin with where AWS does not take the credentials at all.
BAD_CREDENTIALS = (*sorted(EXPIRED_CODES), "UnrecognizedClient", "AuthFailure", "InvalidSignature", "SignatureDoesNot")


_NO_CAPACITY = re.compile(
    r"insufficient\s+capacity|InsufficientCapacity|InsufficientInstanceCapacity|^Unable to provision", re.IGNORECASE
)
#: A script that used up its instance's memory, while it ran or at its upload. Behind ClientError, which else is the
#: request's fault.
_OUT_OF_MEMORY = re.compile(
    r"^ClientError:\s*(?:Please use an instance type with more memory|Artifact upload failed:.*Out of Memory)",
    re.IGNORECASE | re.DOTALL,
)
#: A script that left more than its volume holds.
_DISK_FULL = re.compile(
    r"ClientError:\s*Artifact upload failed:.*(?:disk space|No space left)", re.IGNORECASE | re.DOTALL
)
#: The form of AWS's framework containers, whatever class of error they name: the toolkit's, or one that it found in the
#: script's output. Source: process.py and errors.py of the SageMaker Training Toolkit.
_TOOLKIT = re.compile(r"AlgorithmError:\s*(?P<error>\w+):\s*ExitCode\s+(?P<code>-?\d+)\s*(?:\n|$)")
_TOOLKIT_HEAD = re.compile(r"AlgorithmError:\s*(?:Execute\w*Error|Install\w*Error|Framework Error|SMTrainingCompiler)")
#: Beside ExitCode: the container's own word that the kernel killed the script for its memory.
_KILLED_FOR_MEMORY = re.compile(r'^ExtraInfo "OutOfMemory', re.MULTILINE)


class Outcome(str, enum.Enum):
    """How an attempt ended. The values are part of the result that a task returns."""

    COMPLETED = "completed"
    CAPACITY_TIMEOUT = "capacity_timeout"
    NO_CAPACITY = "no_capacity"
    RUNG_TIMEOUT = "rung_timeout"
    QUOTA_EXCEEDED = "quota_exceeded"
    QUOTA_TOO_SMALL = "quota_too_small"
    MAX_WAIT_EXCEEDED = "max_wait_exceeded"
    INTERRUPTED = "interrupted"
    SERVICE_ERROR = "service_error"
    MAX_RUNTIME_EXCEEDED = "max_runtime_exceeded"
    SCRIPT_ERROR = "script_error"
    OUT_OF_MEMORY = "out_of_memory"
    INVALID_REQUEST = "invalid_request"
    STOPPED_BY_OPERATOR = "stopped_by_operator"
    MOVED = "moved"
    NO_PROGRESS = "no_progress"
    MAX_COST = "max_cost"
    STOPPED_EXTERNALLY = "stopped_externally"
    UNKNOWN = "unknown"

    def __str__(self) -> str:
        return self.value

    @property
    def label(self) -> str:
        """Return it in words for people, such as for the log: ``no_capacity`` is "no capacity"."""
        return self.value.replace("_", " ")


#: The script's own end: its log shows why.
SCRIPT_OUTCOMES = frozenset({Outcome.SCRIPT_ERROR, Outcome.OUT_OF_MEMORY})
QUOTA_OUTCOMES = frozenset({Outcome.QUOTA_EXCEEDED, Outcome.QUOTA_TOO_SMALL})
#: Nothing to resume from where the attempt was.
CAPACITY_OUTCOMES = frozenset(
    {
        Outcome.NO_CAPACITY,
        Outcome.CAPACITY_TIMEOUT,
        Outcome.RUNG_TIMEOUT,
        Outcome.QUOTA_EXCEEDED,
        Outcome.QUOTA_TOO_SMALL,
    }
)


def classify(description: Mapping[str, Any], *, stop_reason: str | None) -> Outcome | None:
    """
    Name how a training job ended.

    Branches on status, secondary status and the leading word of FailureReason only: AWS asks not to rely on
    StatusMessage.

    :param description: what DescribeTrainingJob returned.
    :param stop_reason: of our stop mark, if the job bears one.
    :return: the outcome; None while the job is live.
    """
    status = description.get("TrainingJobStatus")
    if status not in ENDED_STATUSES:
        return None
    if status == "Completed":
        return Outcome.COMPLETED
    if status == "Stopped":
        return _stopped(description, stop_reason)
    if status == "Failed":
        outcome = _failed(str(description.get("FailureReason") or ""))
        if outcome is Outcome.SCRIPT_ERROR and is_peer_failure(description):
            return Outcome.INTERRUPTED
        return outcome
    return Outcome.UNKNOWN


def _stopped(description: Mapping[str, Any], stop_reason: str | None) -> Outcome:
    secondary = str(description.get("SecondaryStatus"))
    if secondary == "MaxWaitTimeExceeded":
        return Outcome.MAX_WAIT_EXCEEDED if _worked_to_its_end(description) else Outcome.CAPACITY_TIMEOUT
    if secondary == "MaxRuntimeExceeded":
        return Outcome.MAX_RUNTIME_EXCEEDED
    if stop_reason is None:
        return Outcome.CAPACITY_TIMEOUT if _pended_to_its_end(description) else Outcome.STOPPED_EXTERNALLY
    if stop_reason in (StopReason.MOVE, StopReason.REQUEST):
        return Outcome.MOVED
    if stop_reason in (StopReason.NO_PROGRESS, StopReason.MAX_COST):
        return Outcome.NO_PROGRESS if stop_reason == StopReason.NO_PROGRESS else Outcome.MAX_COST
    return Outcome.RUNG_TIMEOUT if stop_reason == StopReason.RUNG_TIMEOUT else Outcome.STOPPED_BY_OPERATOR


def _worked_to_its_end(description: Mapping[str, Any]) -> bool:
    """Return whether a job had its instances when the stop came: its time was over, and no capacity was wanting."""
    statuses = [str(each.get("Status")) for each in description.get("SecondaryStatusTransitions") or ()]
    if "Stopping" in statuses:
        statuses = statuses[: statuses.index("Stopping")]
    before = [status for status in statuses if status in WAITING_STATUSES | WORKING_STATUSES]
    return bool(before) and before[-1] in WORKING_STATUSES


def _pended_to_its_end(description: Mapping[str, Any]) -> bool:
    """
    Return whether a job waited for its first instances until MaxPendingTimeInSeconds: that stops it, and no person.

    How SageMaker tells of such an end is not documented, and not recorded: its secondary status has no name for it.
    """
    limit = (description.get("StoppingCondition") or {}).get("MaxPendingTimeInSeconds")
    created = description.get("CreationTime")
    ended = description.get("TrainingEndTime") or description.get("LastModifiedTime")
    if not limit or not isinstance(created, datetime) or not isinstance(ended, datetime):
        return False
    statuses = {str(each.get("Status")) for each in description.get("SecondaryStatusTransitions") or ()}
    return not statuses & WORKING_STATUSES and (ended - created).total_seconds() >= float(limit)


def _failed(reason: str) -> Outcome:
    head = reason.split(":", 1)[0].strip()
    if head == "AlgorithmError":  # first: a script's own text may hold any of the words below
        killed = _TOOLKIT.match(reason) and _KILLED_FOR_MEMORY.search(reason)
        return Outcome.OUT_OF_MEMORY if killed else Outcome.SCRIPT_ERROR
    if head == "ClientError":
        return _client_error(reason)
    if head == "CapacityError" or _NO_CAPACITY.search(reason):
        return Outcome.NO_CAPACITY
    if head in ("InternalServerError", "InternalServiceError"):
        return Outcome.SERVICE_ERROR
    return Outcome.UNKNOWN


def _client_error(reason: str) -> Outcome:
    """Distinguish what the script did, late in a training, from what is wrong with the request."""
    if _OUT_OF_MEMORY.search(reason):
        return Outcome.OUT_OF_MEMORY
    if _DISK_FULL.match(reason):
        return Outcome.SCRIPT_ERROR
    return Outcome.INVALID_REQUEST


def classify_refusal(code: str, status: int = 400, message: str = "") -> Outcome | None:
    """
    Name why CreateTrainingJob, or a call about a job, was refused.

    :param code: the ClientError's.
    :param status: the HTTP status.
    :param message: what it says, which tells a limit that is used up from one that is too small for the job.
    :return: the outcome; None for what passes by itself, so that the same call is worth repeating.
    """
    if code == "ResourceLimitExceeded":
        limit = read_limit(message)
        return Outcome.QUOTA_TOO_SMALL if limit is not None and limit.too_small else Outcome.QUOTA_EXCEEDED
    if code in ("InsufficientCapacity", "InsufficientCapacityException", "CapacityError"):
        return Outcome.NO_CAPACITY
    if code in TRANSIENT_CODES or code in EXPIRED_CODES or status >= HTTP_SERVER_ERROR:
        return None
    if code in DENIED_CODES or code in ("ValidationException", "ValidationError", "InvalidParameterValue"):
        return Outcome.INVALID_REQUEST
    return Outcome.UNKNOWN


def exit_code(reason: str) -> int | None:
    """
    Read a script's exit code out of a FailureReason; None where it says none.

    AWS's framework containers say it in front, as ``ExitCode 42``; the ``exit code: 1`` at the end is then that of the
    toolkit, the same for every script, and may be cut off. Where the toolkit itself failed, or an installation before
    the script, there is none. Other containers say theirs at the end, behind the script's own text. Source: recorded
    reasons, and trainer.py of the SageMaker Training Toolkit.
    """
    toolkit = _TOOLKIT.match(reason)
    if toolkit is not None:
        return None if toolkit["error"].startswith("Install") else int(toolkit["code"])
    if _TOOLKIT_HEAD.match(reason):
        return None
    found = re.findall(r"exit code:?\s*(-?\d+)", reason, re.IGNORECASE)
    return int(found[-1]) if found else None


def is_peer_failure(description: Mapping[str, Any]) -> bool:
    """
    Return whether a script failed because its peer's spot instance was taken.

    With several instances, an interruption of one shows in the others as an error of their communication (NCCL,
    Gloo, MPI), and the job may end as AlgorithmError before SageMaker restarts it.
    """
    if instance_count(description.get("ResourceConfig") or {}) < 2:
        return False
    begun = [
        transition.get("StartTime")
        for transition in description.get("SecondaryStatusTransitions") or ()
        if transition.get("Status") == "Interrupted"
    ]
    ended = description.get("TrainingEndTime") or description.get("LastModifiedTime")
    if not begun or not isinstance(begun[-1], datetime) or not isinstance(ended, datetime):
        return False
    return (ended - begun[-1]).total_seconds() <= PEER_FAILURE_SECONDS


def instance_count(resources: Mapping[str, Any]) -> int:
    """Return how many instances a job has: of all its groups, where it has groups."""
    groups = resources.get("InstanceGroups") or ()
    count = resources.get("InstanceCount") or resources.get("SelectedInstanceCount")
    return int(count or sum(int(group.get("InstanceCount") or 0) for group in groups) or 1)


def waiting_since(description: Mapping[str, Any]) -> datetime | None:
    """
    Return since when a live job has waited for capacity; None while it works, and once it is told to stop.

    An interruption begins a new wait. From the transitions where there are any: a job that is told from its status
    alone has waited since it was created.
    """
    if description.get("TrainingJobStatus") != "InProgress":
        return None
    if description.get("SecondaryStatus") not in WAITING_STATUSES:
        return None
    begun: datetime | None = None
    for transition in reversed(description.get("SecondaryStatusTransitions") or ()):
        if transition.get("Status") not in WAITING_STATUSES:
            break
        begun = transition.get("StartTime") or begun
    return begun or description.get("CreationTime")


def working_spans(description: Mapping[str, Any]) -> tuple[float, datetime | None]:
    """
    Sum up how long a job has worked.

    :return: the seconds of the spans that are over, and when the one began that is not.
    """
    total, open_since = 0.0, None
    for transition in description.get("SecondaryStatusTransitions") or ():
        begun, ended = transition.get("StartTime"), transition.get("EndTime")
        if transition.get("Status") not in WORKING_STATUSES or begun is None:
            continue
        if ended is None:
            open_since = begun
        else:
            total += max(0.0, (ended - begun).total_seconds())
    return total, open_since


def count_interruptions(transitions: Sequence[Mapping[str, Any]]) -> int:
    """
    Count how often SageMaker took the instance back inside one job.

    From the whole list: between two looks a job can be interrupted and be training again, so its last status
    never shows it.
    """
    return sum(1 for transition in transitions if transition.get("Status") == "Interrupted")
