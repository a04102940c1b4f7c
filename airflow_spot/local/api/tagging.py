"""Tags, as requests have them and as a mapping."""

from __future__ import annotations

from airflow_spot.local.errors import validation


def to_dict(tags: list[dict[str, str]]) -> dict[str, str]:
    """Return tags as SageMaker writes them, as a dict.

    :raises ServiceError: ValidationException for a key that comes twice, or one that AWS keeps for itself.
    """
    result: dict[str, str] = {}
    for tag in tags:
        if tag["Key"] in result:
            raise validation(
                f"Duplicate tag keys found: '{tag['Key']}'. Please note that tag keys are case insensitive."
            )
        if tag["Key"].lower().startswith("aws:"):
            raise validation(
                f"Tag key '{tag['Key']}' is invalid: aws: prefixed tag key names are not allowed for external use."
            )
        result[tag["Key"]] = tag["Value"]
    return result


def to_list(tags: dict[str, str]) -> list[dict[str, str]]:
    """Return the reverse of :func:`to_dict`."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]
