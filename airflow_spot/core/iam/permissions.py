"""Which calls of AWS the package makes, who makes them, and what permits them: the table that policies are made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum


class Who(str, Enum):
    """Whose credentials a call is made with."""

    WORKER = "worker"
    TRIGGERER = "triggerer"
    WEB_SERVER = "web-server"
    COMMANDS = "commands"
    #: The role that the training job itself has: SageMaker and the script call with it.
    TRAINING = "training"


#: Feature -> when it is needed, as the end of "needed ...".
FEATURES = {
    "core": "always",
    "role-name": "where a task names its role without its ARN",
    "checkpoints": "unless use_checkpoints=False",
    "data": "for channels in S3, InputDataConfig",
    "code": "for entry_point and source_dir, and for @task.sagemaker_spot",
    "logs": "unless print_log=False",
    "config-file": "where config is a JSON file in S3",
    "s3-operations": "for S3Operations of the config",
    "resume-from": "for resume_from",
    "other-jobs": "for adopt_job, and for sensors of jobs that this package did not create",
    "events": "for events_queue_url",
    "model-copy": "for model_s3_uri",
    "retention": "for checkpoint_retention, and for airflow-spot gc",
    "reaper": "for the reaper, and for airflow-spot orphans",
    "history": "for airflow-spot history, and for advise --history",
    "stop": "for airflow-spot stop",
    "set-aside": "for airflow-spot checkpoints set-aside",
    "actions": "for the buttons of the Airflow pages",
    "market": 'for prices and quotas: max_cost, AWS\'s prices, preflight="fail", airflow-spot check and advise',
    "capacity": 'for spot prices and placement scores: ladder="auto", the capacity sensor, airflow-spot advise',
    "preflight": 'for preflight="fail" and airflow-spot check, which need market, too, and ecr for an image in ECR',
    "ecr": "for a training image in ECR",
    "vpc": "for VpcConfig",
    "kms": "for S3 objects or volumes with a KMS key of yours",
}

#: What a task needs that sets nothing but a config, an entry_point, and what goes with them.
DEFAULT_FEATURES = ("core", "checkpoints", "data", "code", "logs")


@dataclass(frozen=True)
class Need:
    """
    A call, and what permits it.

    :param feature: one of :data:`FEATURES`.
    :param call: ``service:Operation``, by boto3's name of the service; empty for what SageMaker or a script calls.
    :param actions: of IAM.
    :param places: what they are allowed on, see :mod:`airflow_spot.core.iam.policy_documents`.
    :param who: makes it.
    :param without: what is lost where it is not permitted; empty where the feature then does not work at all.
    """

    feature: str
    call: str
    actions: tuple[str, ...]
    places: tuple[str, ...]
    who: tuple[Who, ...]
    without: str = ""

    @property
    def required(self) -> bool:
        """Whether the feature does not work without."""
        return not self.without


_W, _T, _WEB, _C, _R = Who.WORKER, Who.TRIGGERER, Who.WEB_SERVER, Who.COMMANDS, Who.TRAINING
_BY_NAME = "a run's jobs are found by their names only, and a triggerer asks for each job by itself"
_UNMARKED = "after a crash a stop by Airflow looks manual, and a clear after a success may not train again"
_BLIND = "checkpoints cannot be seen: no warning, and no move to on-demand without progress"


def _sagemaker(feature: str, place: str, who: tuple[Who, ...], *operations: str, without: str = "") -> Iterator[Need]:
    for name in operations:
        yield Need(feature, f"sagemaker:{name}", (f"sagemaker:{name}",), (place,), who, without)


def _s3(feature: str, place: str, who: tuple[Who, ...], *operations: str, without: str = "") -> Iterator[Need]:
    for name in operations:
        for action, where in _S3_ACTIONS[name]:
            yield Need(feature, f"s3:{name}", (action,), (f"{where} {place}",), who, without)


_LIST, _GET = ("s3:ListBucket", "bucket"), ("s3:GetObject", "objects")
_PUT, _DELETE = ("s3:PutObject", "objects"), ("s3:DeleteObject", "objects")
#: Operation -> what permits it, and on what. Source: "Actions, resources, and condition keys for Amazon S3".
_S3_ACTIONS: dict[str, tuple[tuple[str, str], ...]] = {
    "HeadBucket": (_LIST,),
    "ListObjectsV2": (_LIST,),
    "GetObject": (_GET,),
    # Without s3:ListBucket, an object that is not there looks forbidden.
    "HeadObject": (_GET, _LIST),
    "PutObject": (_PUT,),
    "CopyObject": (_PUT,),
    "CreateMultipartUpload": (_PUT,),
    "UploadPart": (_PUT,),
    "UploadPartCopy": (_PUT,),
    "CompleteMultipartUpload": (_PUT,),
    "AbortMultipartUpload": (("s3:AbortMultipartUpload", "objects"),),
    "DeleteObject": (_DELETE,),
    "DeleteObjects": (_DELETE,),
    "CreateBucket": (("s3:CreateBucket", "bucket"),),
    "GetBucketLocation": (("s3:GetBucketLocation", "bucket"),),
}
_UPLOAD = ("PutObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload")
_COPY = ("CopyObject", "CreateMultipartUpload", "UploadPartCopy", "CompleteMultipartUpload")
_LEFT = "parts of an upload that failed stay, and cost, until a lifecycle rule deletes them"


def _one(
    feature: str, call: str, place: str, *who: Who, actions: tuple[str, ...] = (), without: str = ""
) -> Iterator[Need]:
    yield Need(feature, call, actions or (call.replace("service-quotas:", "servicequotas:"),), (place,), who, without)


def _core() -> Iterator[Need]:
    yield from _sagemaker("core", "jobs", (_W,), "CreateTrainingJob")
    yield Need("core", "sagemaker:CreateTrainingJob", ("iam:PassRole",), ("role to pass",), (_W,))
    yield from _sagemaker("core", "jobs", (_W, _T), "DescribeTrainingJob", "StopTrainingJob")
    yield from _sagemaker("core", "*", (_W, _T), "ListTrainingJobs", without=_BY_NAME)
    yield from _sagemaker("core", "jobs", (_W, _T), "AddTags", "ListTags", without=_UNMARKED)
    yield from _one("role-name", "iam:GetRole", "role", _W)
    yield from _s3(
        "checkpoints", "checkpoints", (_W,), "PutObject", without="checkpoint_retention and gc keep the folder"
    )
    yield from _s3("checkpoints", "checkpoints", (_W, _T), "ListObjectsV2", without=_BLIND)
    yield from _s3(
        "checkpoints", "checkpoints", (_W, _T), "GetObject", without="how far the script says it is is not shown"
    )
    yield from _s3("data", "data", (_W,), "HeadBucket", "HeadObject", "ListObjectsV2")
    yield from _s3(
        "data", "data", (_W,), "GetObject", without="a channel that was only renamed counts as another training"
    )
    yield from _s3("code", "code", (_W,), "HeadObject", *_UPLOAD)
    yield from _s3("code", "code", (_W,), "AbortMultipartUpload", without=_LEFT)
    yield from _s3("code", "code", (_W,), "GetObject", "ListObjectsV2", without="a moved script counts as another")
    # What a function returned: @task.sagemaker_spot.
    yield from _s3("code", "output", (_W,), "GetObject")
    yield from _one("logs", "logs:DescribeLogStreams", "log group", _W, without="the job's output is not in the log")
    yield from _one("logs", "logs:GetLogEvents", "log streams", _W, without="the job's output is not in the log")


def _by_option() -> Iterator[Need]:
    yield from _s3("config-file", "data", (_W,), "GetObject")
    yield from _s3("s3-operations", "data", (_W,), "HeadBucket", "CreateBucket", *_UPLOAD)
    yield from _s3("s3-operations", "data", (_W,), "AbortMultipartUpload", without=_LEFT)
    yield from _s3("resume-from", "checkpoints", (_W,), "ListObjectsV2", "GetObject", "PutObject", *_COPY)
    yield from _s3("resume-from", "checkpoints", (_W,), "AbortMultipartUpload", without=_LEFT)
    yield from _sagemaker("other-jobs", "any job", (_W, _T), "DescribeTrainingJob", "StopTrainingJob")
    yield from _sagemaker("other-jobs", "any job", (_W, _T), "AddTags", "ListTags", without=_UNMARKED)
    yield from _one("other-jobs", "logs:GetLogEvents", "any log stream", _W, without="its output is not in the log")
    yield from _one("events", "sqs:ReceiveMessage", "queue", _T)
    yield from _one("events", "sqs:DeleteMessageBatch", "queue", _T, actions=("sqs:DeleteMessage",))
    yield from _s3("model-copy", "output", (_W,), "HeadObject", "GetObject", "ListObjectsV2")
    yield from _s3("model-copy", "model", (_W,), "HeadObject", "ListObjectsV2", *_COPY)
    yield from _s3("model-copy", "model", (_W,), "AbortMultipartUpload", without=_LEFT)
    yield from _s3(
        "model-copy", "model", (_W,), "DeleteObject", without="a model that is not compressed cannot replace another"
    )
    for who in (_W, _C):
        yield from _sagemaker("retention", "*", (who,), "ListTrainingJobs")
        yield from _sagemaker("retention", "jobs", (who,), "DescribeTrainingJob")
        yield from _s3(
            "retention", "checkpoints", (who,), "ListObjectsV2", "GetObject", "DeleteObjects", "DeleteObject"
        )
        yield from _sagemaker("reaper", "*", (who,), "ListTrainingJobs")
        yield from _sagemaker("reaper", "jobs", (who,), "DescribeTrainingJob", "ListTags", "AddTags", "StopTrainingJob")
    yield from _sagemaker("history", "*", (_C,), "ListTrainingJobs")
    yield from _sagemaker("history", "jobs", (_C,), "DescribeTrainingJob")
    yield from _sagemaker("history", "jobs", (_C,), "ListTags", without="who stopped a job is not known")
    yield from _sagemaker("stop", "*", (_C,), "ListTrainingJobs")
    yield from _sagemaker("stop", "jobs", (_C,), "DescribeTrainingJob", "ListTags", "AddTags", "StopTrainingJob")
    yield from _s3(
        "set-aside", "checkpoints", (_C,), "ListObjectsV2", "HeadObject", "GetObject", "DeleteObject", *_COPY
    )
    yield from _s3("set-aside", "checkpoints", (_C,), "AbortMultipartUpload", without=_LEFT)
    yield from _sagemaker("set-aside", "jobs", (_C,), "DescribeTrainingJob")
    yield from _sagemaker("set-aside", "*", (_C,), "ListTrainingJobs")
    yield from _sagemaker("actions", "jobs", (_WEB,), "DescribeTrainingJob", "ListTags", "AddTags", "StopTrainingJob")


def _about_aws() -> Iterator[Need]:
    asking = (_W, _C)  # no trigger asks for prices, quotas or scores
    yield from _one("market", "pricing:GetProducts", "*", *asking, without="no price, unless you give a table")
    yield from _one("market", "service-quotas:ListServiceQuotas", "*", *asking, without="no quota is compared")
    yield from _one(
        "market", "cloudwatch:GetMetricData", "*", *asking, without="how much of a quota is used is not known"
    )
    yield from _one("capacity", "ec2:DescribeSpotPriceHistory", "*", *asking, without="no spot price")
    yield from _one("capacity", "ec2:GetSpotPlacementScores", "*", *asking, without="no placement score")
    checking = (_W, _C)
    # Nobody can be denied this call.
    yield Need("preflight", "sts:GetCallerIdentity", (), (), checking, without="")
    yield from _one("preflight", "iam:GetRole", "role", *checking, without="whether the role exists is not known")
    yield from _one(
        "preflight", "iam:SimulatePrincipalPolicy", "role", *checking, without="what the role may do is not known"
    )
    for place in ("data", "output", "checkpoints"):
        yield from _s3("preflight", place, checking, "HeadBucket", without="whether the bucket exists is not known")
    yield from _s3("preflight", "data", checking, "ListObjectsV2", without="whether channels hold data is not known")
    yield from _one(
        "preflight",
        "ec2:DescribeInstanceTypeOfferings",
        "*",
        *checking,
        without="whether the region has an instance type is not known",
    )
    yield from _one("ecr", "ecr:BatchGetImage", "image", *checking, without="whether the image exists is not known")


def _of_the_job() -> Iterator[Need]:
    """The role's own. Source: "CreateTrainingJob API: Execution Role Permissions" in SageMaker's developer guide."""

    def own(feature: str, place: str, *actions: str, without: str = "") -> Need:
        return Need(feature, "", actions, (place,), (_R,), without)

    nothing = "nothing of the job is in CloudWatch"
    yield own("core", "log group", "logs:CreateLogGroup", "logs:DescribeLogStreams", without=nothing)
    yield own("core", "log streams", "logs:CreateLogStream", "logs:PutLogEvents", without=nothing)
    yield own("core", "*", "cloudwatch:PutMetricData", without="no metrics of the instances")
    yield own("core", "objects output", "s3:PutObject")
    yield own("checkpoints", "bucket checkpoints", "s3:ListBucket")
    yield own("checkpoints", "objects checkpoints", "s3:GetObject", "s3:PutObject")
    yield own("checkpoints", "objects checkpoints", "s3:DeleteObject", without="what a script deletes stays in S3")
    yield own("data", "bucket data", "s3:ListBucket")
    yield own("data", "objects data", "s3:GetObject")
    yield own("code", "objects code", "s3:GetObject")
    yield own("ecr", "*", "ecr:GetAuthorizationToken")
    yield own("ecr", "image", "ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer", "ecr:BatchGetImage")
    yield own(
        "vpc",
        "*",
        "ec2:CreateNetworkInterface",
        "ec2:CreateNetworkInterfacePermission",
        "ec2:DeleteNetworkInterface",
        "ec2:DeleteNetworkInterfacePermission",
        "ec2:DescribeDhcpOptions",
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribeSecurityGroups",
        "ec2:DescribeSubnets",
        "ec2:DescribeVpcs",
    )
    yield own("kms", "key", "kms:Decrypt", "kms:GenerateDataKey", "kms:CreateGrant")
    yield Need("kms", "", ("kms:Decrypt", "kms:GenerateDataKey"), ("key",), (_W,))


#: Every call, in the order of :data:`FEATURES`.
NEEDS: tuple[Need, ...] = tuple(
    need
    for feature in FEATURES
    for need in (*_core(), *_by_option(), *_about_aws(), *_of_the_job())
    if need.feature == feature
)

#: Features whose calls a worker makes for every task, whatever else it was given.
OF_EVERY_RUN = frozenset({"core", "checkpoints", "data"})


def made_by_every_run(call: str) -> bool:
    """
    Return whether a worker may make a call without any permission beside those of the run itself.

    :param call: ``service:Operation``.
    """
    rows = [need for need in NEEDS if need.call == call and Who.WORKER in need.who]
    return any(need.feature in OF_EVERY_RUN or not need.actions for need in rows)
