"""What AWS's market services have answered, and what the package makes of it. ``market.json`` has the sources."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from airflow_spot.core.money.market_answers import (
    read_bands,
    read_ec2_price,
    read_quota,
    read_sagemaker_price,
    read_score,
    read_spot_changes,
    read_usage_metric,
    spot_prices,
    training_quotas,
)
from airflow_spot.core.money.market_values import Band
from airflow_spot.market.asking import reason

SEEN: dict[str, Any] = json.loads((Path(__file__).parent / "market.json").read_text())


def name_of(case: dict[str, Any]) -> str:
    return f"{case['type']}-{case['price']}"


@pytest.mark.parametrize("as_text", [True, False])
@pytest.mark.parametrize("case", SEEN["sagemaker_products"], ids=name_of)
def test_a_product_of_sagemaker(case: dict[str, Any], as_text: bool) -> None:
    product = json.dumps(case["product"]) if as_text else case["product"]
    price = read_sagemaker_price([product], case["region"], case["type"])
    assert (price and price.amount) == (case["price"] and Decimal(case["price"]))


def test_the_price_of_training_among_all_others() -> None:
    products = [case["product"] for case in SEEN["sagemaker_products"]]
    price = read_sagemaker_price(products, "us-east-1", "ml.m5.large")
    assert price is not None and str(price) == "0.12 USD" and price.amount == Decimal("0.115")


@pytest.mark.parametrize("case", SEEN["ec2_products"], ids=name_of)
def test_a_product_of_ec2(case: dict[str, Any]) -> None:
    price = read_ec2_price(case["products"], case["region"], case["type"])
    assert price is not None and price.amount == Decimal(case["price"])


def test_a_spot_price() -> None:
    seen = SEEN["spot_price_history"]
    found = spot_prices(read_spot_changes(seen["entries"], seen["type"]), datetime(2026, 1, 2, tzinfo=timezone.utc))
    assert found is not None and found.now == {"ap-northeast-2a": Decimal("0.161400")}


def test_a_score_is_the_regions_not_a_zones() -> None:
    seen = SEEN["placement_scores"]
    assert read_score(seen["entries"], seen["region"]) == seen["score"]


def test_the_limit_of_configurations_is_told_as_one() -> None:
    class Limited(Exception):
        response = {"Error": {"Code": SEEN["placement_scores"]["limit_code"]}}

    refusal = reason(Limited(), "ec2:GetSpotPlacementScores")
    assert (refusal.why, refusal.any_question) == ("AWS scores no other set of types in 24 hours", False)


def test_the_advisors_bands() -> None:
    document = SEEN["advisor"]["document"]
    assert read_bands(document, "us-east-1") == {
        "g5.2xlarge": Band(15, 20, 62),
        "g6e.4xlarge": Band(20, None, 62),
        "p5.48xlarge": Band(0, 5, 57),
    }
    words = [str(each) for each in read_bands(document, "us-east-1").values()]
    assert words == ["15-20 %", ">20 %", "<5 %"]


def test_quotas() -> None:
    kept = training_quotas(SEEN["quotas"]["entries"])
    assert len(kept) == 3, "neither transform jobs nor warm pools"
    on_demand, spot = (read_quota(kept, "ml.m5.large", each, "eu-west-1") for each in (False, True))
    assert on_demand is not None and spot is not None
    assert (on_demand.limit, spot.limit, spot.name) == (15, 10, "ml.m5.large for spot training job usage")
    first = read_quota(kept, "ml.g4dn.xlarge", False, "eu-west-1")
    assert first is not None and first.console_url.endswith("/services/sagemaker/quotas/L-3F53BF0F")
    assert read_quota(kept, "ml.g4dn.xlarge", True, "eu-west-1") is None
    metric = read_usage_metric(kept[2])
    assert metric is not None and metric[2]["Resource"] == "spot-training-job/ml.m5.large"
