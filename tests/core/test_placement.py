"""Where a job runs: instances of one type, or the groups of a heterogeneous cluster, each counted as what it is."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from airflow_spot.core.attempt import Attempt
from airflow_spot.core.money.prices import Prices
from airflow_spot.core.money.totals import total
from airflow_spot.core.placement import Placement
from airflow_spot.core.result import attempt_facts
from tests.core.cases import NOW, description
from tests.core.test_plan import plan

MIXED = [
    {"InstanceGroupName": "data", "InstanceType": "ml.c5.18xlarge", "InstanceCount": 2},
    {"InstanceGroupName": "train", "InstanceType": "ml.p3.2xlarge", "InstanceCount": 1},
]
SAME = [{**group, "InstanceType": "ml.p3.2xlarge"} for group in MIXED]


@pytest.mark.parametrize(
    ("resources", "says", "instances"),
    [
        ({"InstanceType": "ml.m5.large", "InstanceCount": 1}, "ml.m5.large spot", (("ml.m5.large", 1),)),
        ({"InstanceType": "ml.m5.large", "InstanceCount": 2}, "2 x ml.m5.large spot", (("ml.m5.large", 2),)),
        (
            {"InstanceGroups": MIXED},
            "2 x ml.c5.18xlarge + 1 x ml.p3.2xlarge spot",
            (("ml.c5.18xlarge", 2), ("ml.p3.2xlarge", 1)),
        ),
        ({"InstanceGroups": SAME}, "3 x ml.p3.2xlarge spot", (("ml.p3.2xlarge", 3),)),
        (
            {"InstancePreferences": [{"InstanceType": "ml.a", "InstanceCount": 1}], "SelectedInstanceType": "ml.b"},
            "ml.b spot",
            (("ml.b", 1),),
        ),
        ({}, "unknown spot", (("unknown", 1),)),
    ],
)
def test_what_it_is_called_and_what_it_is_made_of(resources: dict[str, Any], says: str, instances: Any) -> None:
    place = Placement.of_resources(resources, spot=True)
    assert (str(place), place.instances) == (says, instances)


def test_a_plan_names_the_rung_of_mixed_groups_as_the_job_will_be() -> None:
    groups = [{name: value for name, value in group.items() if name != "InstanceGroupName"} for group in MIXED]
    built = plan(ResourceConfig={"InstanceGroups": groups})
    assert str(built.ladder[0]) == "2 x ml.c5.18xlarge + 1 x ml.p3.2xlarge spot"


def test_each_type_of_a_heterogeneous_cluster_has_its_own_price() -> None:
    mixed = {**description(), "ResourceConfig": {"InstanceGroups": MIXED}}
    job = Attempt.from_description({**mixed, "TrainingTimeInSeconds": 3600, "BillableTimeInSeconds": 3600}, {})
    prices = Prices(hourly={"ml.c5.18xlarge": Decimal(3), "ml.p3.2xlarge": Decimal(4)})
    cost = total([job], NOW, prices).cost
    assert cost is not None and cost.amount == 10
    unknown = Prices(hourly={"ml.p3.2xlarge": Decimal(4)})
    assert total([job], NOW, unknown).cost is None
    facts = attempt_facts(job, NOW)
    assert (facts["instance_type"], facts["instance_count"]) == ("ml.c5.18xlarge, ml.p3.2xlarge", 3)
