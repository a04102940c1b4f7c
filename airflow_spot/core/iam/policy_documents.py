"""IAM policy documents, made of the table of calls: as narrow as the names that are given allow."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_spot.core.iam.permissions import FEATURES, NEEDS, Need, Who
from airflow_spot.core.identity import MARKER
from airflow_spot.core.locations import check_s3_uri
from airflow_spot.core.parameter_errors import InvalidParameterError

_CONDITIONS: dict[str, dict[str, Any]] = {
    "role to pass": {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}},
}

#: Option -> what its value looks like, and one to take as a model. A name may end in a wildcard.
_FORMS = {
    "account": (r"\d{12}", "12 digits, such as 123456789012"),
    "region": (r"[a-z]{2,}(-[a-z]+)+-\d+", "a region, such as eu-central-1"),
    "role-arn": (r"arn:aws[a-z-]*:iam::\d{12}:role/\S+", "its ARN, such as arn:aws:iam::123456789012:role/NAME"),
    "queue-arn": (
        r"arn:aws[a-z-]*:sqs:[a-z0-9-]+:\d{12}:\S+",
        "its ARN, such as arn:aws:sqs:eu-central-1:123456789012:NAME",
    ),
    "repository-arn": (
        r"arn:aws[a-z-]*:ecr:[a-z0-9-]+:\d{12}:repository/\S+",
        "its ARN, such as arn:aws:ecr:eu-central-1:123456789012:repository/NAME",
    ),
    # An alias is no resource of a policy.
    "key-arn": (
        r"arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key/\S+",
        "the key's ARN, not an alias: arn:aws:kms:eu-central-1:123456789012:key/ID",
    ),
}


@dataclass(frozen=True)
class Names:
    """
    What stands in the resources; a name in capitals is a placeholder.

    :param account: the AWS account, 12 digits.
    :param region: such as ``eu-central-1``.
    :param role_arn: of the training job's role.
    :param output: and ``checkpoints``, ``code``, ``model``: S3 URIs. Unset, checkpoints and code are below the output.
    :param data: S3 URIs of the channels.
    :param namespace: of the deployment: only its part of the checkpoints.
    :param queue_arn: of the queue of events.
    :param repository_arn: of the image's repository in ECR.
    :param key_arn: of the KMS key.
    """

    account: str = "ACCOUNT"
    region: str = "REGION"
    role_arn: str = ""
    output: str = "s3://BUCKET/OUTPUT"
    data: tuple[str, ...] = ("s3://BUCKET/DATA",)
    checkpoints: str = ""
    code: str = ""
    model: str = "s3://BUCKET/MODELS"
    namespace: str = ""
    queue_arn: str = ""
    repository_arn: str = ""
    key_arn: str = ""

    @property
    def partition(self) -> str:
        """Return AWS's name of the region's part of the world."""
        if self.region.startswith("cn-"):
            return "aws-cn"
        return "aws-us-gov" if self.region.startswith("us-gov-") else "aws"

    def arns(self, place: str) -> list[str]:
        """Return the resources of a place of the table."""
        if place == "*":
            return ["*"]
        kind, _, of = place.partition(" ")
        if of in ("data", "output", "checkpoints", "code", "model"):
            return [self._s3(kind, uri) for uri in self._uris(of)]
        own = f"{self.region}:{self.account}"
        logs = f"arn:{self.partition}:logs:{own}:log-group:/aws/sagemaker/TrainingJobs"
        role = self.role_arn or f"arn:{self.partition}:iam::{self.account}:role/TRAINING-ROLE"
        return [
            {
                "jobs": f"arn:{self.partition}:sagemaker:{own}:training-job/*-{MARKER}-*",
                "any job": f"arn:{self.partition}:sagemaker:{own}:training-job/*",
                "role": role,
                "role to pass": role,
                "log group": f"{logs}:*",
                # A stream is called as its job, a slash and the instance.
                "log streams": f"{logs}:log-stream:*-{MARKER}-*",
                "any log stream": f"{logs}:log-stream:*",
                "queue": self.queue_arn or f"arn:{self.partition}:sqs:{own}:QUEUE",
                "image": self.repository_arn or f"arn:{self.partition}:ecr:{own}:repository/REPOSITORY",
                "key": self.key_arn or f"arn:{self.partition}:kms:{own}:key/KEY",
            }[place]
        ]

    def _uris(self, of: str) -> Sequence[str]:
        if of == "data":
            return self.data
        if of == "checkpoints":
            base = (self.checkpoints or f"{self.output.rstrip('/')}/checkpoints").rstrip("/")
            return [f"{base}/{self.namespace}" if self.namespace else base]
        if of == "code":
            return [self.code or f"{self.output.rstrip('/')}/code"]
        return [self.output if of == "output" else self.model]

    def _s3(self, kind: str, uri: str) -> str:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        arn = f"arn:{self.partition}:s3:::{bucket}"
        if kind == "bucket":
            return arn
        # The folder's own objects, and with them an object of that very name.
        return f"{arn}/{key.rstrip('/')}{'/' if key else ''}*"


def check_names(names: Names) -> None:
    """
    Check what is to stand in resources.

    :raises InvalidParameterError: something is no S3 URI, no ARN of its kind, or no account or region. IAM itself would
        refuse such a resource, or take it and allow nothing.
    """
    for option, (form, fix) in _FORMS.items():
        field = option.replace("-", "_")
        value = getattr(names, field)
        if value != getattr(Names, field) and not re.fullmatch(form, value):
            raise InvalidParameterError(f"--{option}", value, f"give {fix}")
    for option, uri in [("output", names.output), ("model", names.model), *(("data", uri) for uri in names.data)]:
        check_s3_uri(f"--{option}", uri)
    for option, uri in (("checkpoints", names.checkpoints), ("code", names.code)):
        if uri:
            check_s3_uri(f"--{option}", uri)


def check_features(given: Iterable[str]) -> tuple[str, ...]:
    """
    Return features in the order of the table, ``core`` always among them.

    :raises InvalidParameterError: one is not known.
    """
    chosen = {"core", *given}
    if unknown := sorted(chosen - FEATURES.keys()):
        raise InvalidParameterError("--features", unknown[0], f"choose from {', '.join(FEATURES)}")
    return tuple(name for name in FEATURES if name in chosen)


def policy(who: Who | Sequence[Who], features: Collection[str], names: Names) -> dict[str, Any]:
    """
    Return the least policy of somebody, or of a role that is several; without statements where they need none.

    :param features: of :data:`~airflow_spot.core.iam.permissions.FEATURES`.
    """
    statements: dict[tuple[str, ...], dict[str, Any]] = {}
    for need in needs_of(who, features):
        for place in need.places:
            # One statement for each set of actions' resources: what is read in one place is not read in another.
            key = (place,)
            made = statements.setdefault(key, {"actions": set(), "place": place})
            made["actions"].update(need.actions)
    merged: dict[tuple[tuple[str, ...], str], list[str]] = {}
    for made in statements.values():
        condition = made["place"] if made["place"] in _CONDITIONS else ""
        resources = merged.setdefault((tuple(sorted(made["actions"])), condition), [])
        resources.extend(arn for arn in names.arns(made["place"]) if arn not in resources)
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": _sid(actions, number),
                "Effect": "Allow",
                "Action": list(actions),
                "Resource": resources,
                **({"Condition": _CONDITIONS[condition]} if condition else {}),
            }
            for number, ((actions, condition), resources) in enumerate(merged.items(), 1)
        ],
    }


def trust_policy() -> dict[str, Any]:
    """Return what lets SageMaker take the training job's role: the role's trust policy."""
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }


def needs_of(who: Who | Sequence[Who], features: Collection[str]) -> list[Need]:
    """Return the rows of the table that are somebody's, or of any of several."""
    people = {who} if isinstance(who, Who) else set(who)
    return [need for need in NEEDS if people.intersection(need.who) and need.feature in features]


def _sid(actions: tuple[str, ...], number: int) -> str:
    """Return letters and digits, of which a Sid is made."""
    services = "".join(dict.fromkeys(action.partition(":")[0].capitalize() for action in actions))
    return f"{services}{actions[0].partition(':')[2] if len(actions) == 1 else ''}No{number}"
