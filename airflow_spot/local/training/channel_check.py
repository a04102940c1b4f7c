"""What CreateTrainingJob asks S3: whether each channel has an object."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from airflow_spot.local.errors import validation

_MISSING = frozenset({"NoSuchBucket", "404"})


def check_channels(s3: Any, region: str, request: dict[str, Any]) -> None:
    """Refuse a job that has a channel without objects, as SageMaker does [T]. What a manifest lists is not looked at.

    :raises ServiceError: ValidationException.
    """
    for channel in request.get("InputDataConfig", ()):
        source = channel["DataSource"].get("S3DataSource") or {}
        if source.get("S3DataType") == "S3Prefix" and not _has_objects(s3, source["S3Uri"]):
            bucket = source["S3Uri"].removeprefix("s3://").partition("/")[0]
            raise validation(
                f'No S3 objects found under S3 URL "{source["S3Uri"]}" given in input data source. Please ensure that '
                f"the bucket exists in the selected region ({region}), that objects exist under that S3 prefix, and "
                f'that the role "{request["RoleArn"]}" has "s3:ListBucket" permissions on bucket "{bucket}".'
            )


def _has_objects(s3: Any, uri: str) -> bool:
    scheme, _, rest = uri.partition("://")
    bucket, _, prefix = rest.partition("/")
    if scheme != "s3" or not bucket:
        return True  # the job says what is wrong
    try:
        return bool(s3.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1).get("KeyCount"))
    except ClientError as error:
        return error.response["Error"]["Code"] not in _MISSING
    except BotoCoreError:
        return True
