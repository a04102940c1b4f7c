"""OpenLineage hears of the same datasets as from the stock operator."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.amazon.aws.operators.sagemaker import SageMakerTrainingOperator

from airflow_spot.operators._lineage import lineage_of
from tests.operators.test_endings import deferred, operator, resume, ti
from tests.support.sagemaker import DictionarySageMaker

CHANNELS = [
    {"ChannelName": name, "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://bucket/{name}/x"}}}
    for name in ("train", "test")
]
MODEL = {"S3ModelArtifacts": "s3://bucket/output/model.tar.gz"}


def pairs(datasets: Any) -> list[tuple[str, str]]:
    return [(each.namespace, each.name) for each in datasets]


def test_inputs_and_model_are_the_stock_operators() -> None:
    stock = SageMakerTrainingOperator(task_id="stock", config={}, aws_conn_id=None)
    stock.serialized_training_data = {"InputDataConfig": CHANNELS, "ModelArtifacts": MODEL}
    theirs = stock.get_openlineage_facets_on_complete(None)
    ours = lineage_of({"InputDataConfig": CHANNELS, "ModelArtifacts": MODEL})
    assert (pairs(ours.inputs), pairs(ours.outputs)) == (pairs(theirs.inputs), pairs(theirs.outputs))
    assert pairs(ours.outputs) == [("s3://bucket", "output/model.tar.gz")]


@pytest.mark.parametrize("description", [{}, {"InputDataConfig": [{"DataSource": {"FileSystemDataSource": {}}}]}])
def test_what_is_not_there_is_left_out(description: dict[str, Any]) -> None:
    found = lineage_of(description)
    assert (found.inputs, found.outputs) == ([], [])


def test_it_is_of_the_job_that_completed() -> None:
    service = DictionarySageMaker()
    trigger = deferred(service, ti(), config={"InputDataConfig": CHANNELS})
    service.put(trigger.job_name, "Completed", "Completed", ModelArtifacts=MODEL)
    made = operator(service, config={"InputDataConfig": CHANNELS})
    resume(made, ti(), trigger, "terminal")
    found = made.get_openlineage_facets_on_complete(None)
    assert pairs(found.inputs) == [("s3://bucket", "train/x"), ("s3://bucket", "test/x")]
    assert pairs(found.outputs) == [("s3://bucket", "output/model.tar.gz")]
