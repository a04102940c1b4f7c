"""What a training read and made, for OpenLineage: the same datasets as the stock operator names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage


def lineage_of(description: Mapping[str, Any]) -> OperatorLineage[Any, Any]:
    """
    Return the channels of a training job as inputs, and its model as output.

    :param description: of the winning job, as the task's result has it.
    """
    from airflow.providers.common.compat.openlineage.facet import Dataset
    from airflow.providers.openlineage.extractors import OperatorLineage

    def dataset(uri: str) -> Any:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        return Dataset(namespace=f"s3://{bucket}", name=key, facets={})

    channels = (channel.get("DataSource") or {} for channel in description.get("InputDataConfig") or ())
    inputs = [(source.get("S3DataSource") or {}).get("S3Uri") for source in channels]
    model = (description.get("ModelArtifacts") or {}).get("S3ModelArtifacts")
    return OperatorLineage(inputs=[dataset(uri) for uri in inputs if uri], outputs=[dataset(model)] if model else [])
