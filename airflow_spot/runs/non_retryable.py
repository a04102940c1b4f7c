"""Errors after which an Airflow retry would meet the same: a wrong field, and a call that is not permitted."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError
from jinja2 import TemplateError

from airflow_spot.core.outcomes import DENIED_OR_STATUS
from airflow_spot.core.parameter_errors import InvalidParameterError
from airflow_spot.core.sentences import sentences

if TYPE_CHECKING:
    from airflow_spot.runs.controller import TrainingRun


#: What permits the calls that a run makes, where it is not the action of SageMaker's that is called as they are.
_ACTIONS = {
    "ListObjectsV2": "s3:ListBucket",
    "ListObjects": "s3:ListBucket",
    "HeadBucket": "s3:ListBucket",
    # Without s3:ListBucket, an object that is not there looks forbidden.
    "HeadObject": "s3:GetObject and s3:ListBucket",
    "GetObject": "s3:GetObject",
    "CopyObject": "s3:GetObject and s3:PutObject",
    "UploadPartCopy": "s3:GetObject and s3:PutObject",
    "PutObject": "s3:PutObject",
    "CreateMultipartUpload": "s3:PutObject",
    "UploadPart": "s3:PutObject",
    "CompleteMultipartUpload": "s3:PutObject",
    "DeleteObject": "s3:DeleteObject",
    "DeleteObjects": "s3:DeleteObject",
    "CreateBucket": "s3:CreateBucket",
    "DescribeLogStreams": "logs:DescribeLogStreams",
    "GetLogEvents": "logs:GetLogEvents",
    "GetRole": "iam:GetRole",
    "AssumeRole": "sts:AssumeRole",
    "AssumeRoleWithWebIdentity": "sts:AssumeRoleWithWebIdentity",
    "CreateTrainingJob": "sagemaker:CreateTrainingJob",
    "DescribeTrainingJob": "sagemaker:DescribeTrainingJob",
    "ListTrainingJobs": "sagemaker:ListTrainingJobs",
    "StopTrainingJob": "sagemaker:StopTrainingJob",
    "AddTags": "sagemaker:AddTags",
    "ListTags": "sagemaker:ListTags",
}


def non_retryable_reason(error: Exception) -> str | None:
    """Return what is wrong; None for an error that a retry may not meet again."""
    if isinstance(error, InvalidParameterError):
        return str(error)
    if isinstance(error, ClientError) and error.response["Error"].get("Code") in DENIED_OR_STATUS:
        return f"Access denied: {action_of(error)}. Grant the permission, then clear the task"
    return None


def non_retryable_end(run: TrainingRun, error: Exception) -> str | None:
    """Return why an error that ended a run's try would be met again; None where it may not be."""
    refusal = non_retryable_reason(error)
    untouched = not run.history.attempts and not run.history.refusals and not run.stopping.jobs
    return sentences(refusal, "Nothing was sent to SageMaker") if refusal and untouched else refusal


def is_lasting(error: Exception) -> bool:
    """Return whether a template will not be rendered at the next try either; else Airflow or a backend did not answer.

    Airflow 3 tells of a Variable, a connection or an XCom that is not there by the beginning of a message.
    """
    kinds = (TemplateError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError)
    return isinstance(error, kinds) or re.match(r"[A-Z]+_NOT_FOUND\b", str(error)) is not None


def action_of(error: ClientError) -> str:
    """Name the action of IAM that a denied call needs: as AWS says it, else as far as the call tells."""
    message = str(error.response["Error"].get("Message") or "")
    said = re.search(r"not authorized to perform:?\s+([a-z0-9-]+:[A-Za-z]+)", message)
    return said[1] if said else _ACTIONS.get(error.operation_name, error.operation_name)
