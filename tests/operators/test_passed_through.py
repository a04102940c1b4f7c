"""Heterogeneous clusters, Pipe mode, FSx and EFS: what AWS can do goes to AWS as it is given, and is counted right."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.local.training.test_refused import GROUPS, S3, file_system
from tests.operators.scene import deferred, operator, resume, ti
from tests.support.sagemaker import DictionarySageMaker


@pytest.mark.parametrize(
    "change",
    [
        {"ResourceConfig": {"InstanceGroups": GROUPS, "VolumeSizeInGB": 10}},
        {"AlgorithmSpecification": {"TrainingImage": "i", "TrainingInputMode": "Pipe"}, "InputDataConfig": S3},
        {"InputDataConfig": [{**S3[0], "InputMode": "Pipe"}]},
        {"InputDataConfig": file_system("FSxLustre"), "VpcConfig": {"SecurityGroupIds": ["sg-1"], "Subnets": ["s-1"]}},
        {"InputDataConfig": file_system("EFS")},
    ],
    ids=["groups", "pipe", "pipe-of-a-channel", "fsx", "efs"],
)
def test_it_goes_to_sagemaker_as_it_is_given(service: DictionarySageMaker, change: dict[str, Any]) -> None:
    before = copy.deepcopy(change)
    trigger = deferred(service, ti(), config=change)
    job = service.jobs[trigger.job_name]
    assert {name: job[name] for name in before} == before == change


def test_a_heterogeneous_cluster_is_named_and_counted_by_its_groups(
    service: DictionarySageMaker, said: list[str]
) -> None:
    config = {"ResourceConfig": {"InstanceGroups": GROUPS, "VolumeSizeInGB": 10}}
    trigger = deferred(service, ti(), config=config)
    assert "on 2 x ml.c5.18xlarge + 1 x ml.p3.2xlarge spot (first attempt)" in "\n".join(said)
    assert trigger.quota_key == "2 x ml.c5.18xlarge + 1 x ml.p3.2xlarge spot"
    service.put(trigger.job_name, "Completed", "Completed")
    spot = resume(operator(service, config=config), ti(), trigger, "terminal")["Spot"]
    (attempt,) = spot["attempts"]
    assert (attempt["instance_type"], attempt["instance_count"]) == ("ml.c5.18xlarge, ml.p3.2xlarge", 3)
