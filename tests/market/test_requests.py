"""What is asked is what botocore's own models take: the stand-in of the other tests does not check it."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

from airflow_spot.core.money.advice import TypeFigures
from airflow_spot.market.cache import Cache
from airflow_spot.market.gathering import gather
from airflow_spot.market.reader import Market
from tests.market.fakes import NOW, REGION, FakeAws

#: Permission: botocore's name of the service.
SERVICES = {
    "pricing:GetProducts": "pricing",
    "ec2:DescribeSpotPriceHistory": "ec2",
    "ec2:GetSpotPlacementScores": "ec2",
    "servicequotas:ListServiceQuotas": "service-quotas",
    "cloudwatch:GetMetricData": "cloudwatch",
}


@pytest.fixture(scope="module")
def asked() -> FakeAws:
    """An account of which everything about a type was asked, in pages."""
    aws = FakeAws(used={})
    (found,) = gather(Market(aws, REGION, cache=Cache(None), now=lambda: NOW), ["ml.g5.2xlarge"], 2)
    assert isinstance(found, TypeFigures)
    return aws


@pytest.mark.parametrize("permission", SERVICES)
def test_requests_pass_botocores_model(asked: FakeAws, permission: str) -> None:
    requests = asked.asked(permission)
    assert requests
    model = ServiceModel(Loader().load_service_model(SERVICES[permission], "service-2"))
    shape = model.operation_model(permission.partition(":")[2]).input_shape
    for request in requests:
        errors: Any = ParamValidator().validate(request, shape)
        assert not errors.has_errors(), errors.generate_report()


def test_every_service_is_asked_for_by_botocores_name(asked: FakeAws) -> None:
    assert {service for service, _ in asked.made} == set(SERVICES.values())
