"""What CreateModel asks S3: whether the model's data is there."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from airflow_spot.local.errors import validation

_MISSING = frozenset({"NoSuchBucket", "NoSuchKey", "404"})


def check_model_data(s3: Any, container: dict[str, Any]) -> None:
    """Refuse a model without its data, as SageMaker does [T], whether a job has written it or not.

    :raises ServiceError: ValidationException.
    """
    source = container.get("ModelDataSource", {}).get("S3DataSource", {})
    uri = source.get("S3Uri") or container.get("ModelDataUrl")
    if uri and not _exists(s3, uri, prefix=source.get("S3DataType") == "S3Prefix"):
        raise validation(f"Could not find model data at {uri}.")


def _exists(s3: Any, uri: str, *, prefix: bool) -> bool:
    scheme, _, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme != "s3" or not bucket or not key:
        return True  # the endpoint says what is wrong
    try:
        if prefix:
            return bool(s3.list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1).get("KeyCount"))
        s3.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        return error.response["Error"]["Code"] not in _MISSING
    except BotoCoreError:
        return True
    return True
