"""AWS's answers: any JSON in, a value or None out; prices are never negative, and ranges are the right way round."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_spot.core.money import market_answers as answers
from airflow_spot.core.money.market_values import SpotPrices

NOW = datetime(2026, 3, 1, tzinfo=timezone.utc)
REGION, KIND = "eu-west-1", "ml.g5.xlarge"

#: What stands where something else is expected.
ODD = [
    None,
    True,
    0,
    -1,
    7.5,
    float("nan"),
    float("inf"),
    10**400,
    "",
    "x",
    "-1.5",
    "NaN",
    "1e999",
    "NA",
    [],
    {},
    [None],
]
ODD += [{"a": 1}, [[]], "0001-01-01T00:00:00+14:00", -(10**15), "ml.g5.xlarge", "{", b"x"]


def product(attributes: dict[str, Any], price: Any, unit: str = "Hrs", currency: str = "USD") -> dict[str, Any]:
    dimensions = {"d": {"unit": unit, "pricePerUnit": {currency: price}}}
    return {"product": {"attributes": attributes}, "terms": {"OnDemand": {"t": {"priceDimensions": dimensions}}}}


TRAINING = {"instanceName": KIND, "regionCode": REGION, "component": "Training"}
#: An answer of each service as it should be.
WHOLE: dict[str, Any] = {
    "sagemaker": [product({**TRAINING, "usagetype": "EU-Train:ml.g5.xlarge", "instanceType": "NA"}, "1.4")],
    "ec2": [product({"instanceType": "g5.xlarge", "regionCode": REGION, "tenancy": "Shared"}, "1.0")],
    "history": [
        {
            "AvailabilityZone": "a",
            "InstanceType": "g5.xlarge",
            "ProductDescription": "Linux/UNIX",
            "SpotPrice": "0.4",
            "Timestamp": "2026-01-01T00:00:00Z",
        }
    ],
    "scores": [{"Region": REGION, "Score": 3}],
    "advisor": {"spot_advisor": {REGION: {"Linux": {"g5.xlarge": {"s": 60, "r": 1}}}}},
    "quotas": [
        {
            "QuotaName": "ml.g5.xlarge for spot training job usage",
            "QuotaCode": "L-1",
            "Value": 2.0,
            "Adjustable": True,
            "UsageMetric": {"MetricNamespace": "n", "MetricName": "m", "MetricDimensions": {"Service": "SageMaker"}},
        }
    ],
    "used": {"Id": "q0", "Values": [1.0]},
}


def read(answer: dict[str, Any]) -> dict[str, Any]:
    """What the readers make of an answer of each service, checked."""
    prices = [
        answers.read_sagemaker_price(answer["sagemaker"], REGION, KIND),
        answers.read_ec2_price(answer["ec2"], REGION, KIND),
    ]
    assert all(price is None or 0 < price.amount < 10**9 for price in prices)
    spot = answers.spot_prices(answers.read_spot_changes(answer["history"], KIND), NOW)
    assert spot is None or 0 < spot.low_90 <= spot.high_90
    score = answers.read_score(answer["scores"], REGION)
    assert score is None or 1 <= score <= 10
    bands = answers.read_bands(answer["advisor"], REGION)
    for band in bands.values():
        assert 0 <= band.savings_percent <= 100 and (band.high is None or 0 <= band.low < band.high)
    kept = answers.training_quotas(answer["quotas"])
    quota = answers.read_quota(kept, KIND, True, REGION)
    assert quota is None or 0 <= quota.left <= quota.limit
    metric = answers.read_usage_metric(kept[0]) if kept else None
    used = answers.read_used(answer["used"])
    assert used is None or used >= 0
    found = {"sagemaker": prices[0], "ec2": prices[1], "history": spot, "scores": score, "advisor": bands}
    return {**found, "quotas": quota, "metric": metric, "used": used}


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, each in inner:
        yield from places(each, (*at, name))


PLACES = [at for at in places(WHOLE) if at]


def changed(at: tuple[Any, ...], odd: Any) -> dict[str, Any]:
    answer = copy.deepcopy(WHOLE)
    inner = answer
    for name in at[:-1]:
        inner = inner[name]
    inner[at[-1]] = odd
    return answer


def test_a_whole_answer_is_read() -> None:
    assert all(value for value in read(WHOLE).values())


@pytest.mark.parametrize("at", PLACES, ids=lambda at: ".".join(map(str, at)))
def test_whatever_stands_anywhere_in_an_answer_nothing_is_raised(at: tuple[Any, ...]) -> None:
    for odd in ODD:
        read(changed(at, odd))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@settings(max_examples=50)
@given(st.sampled_from(PLACES), JSON)
def test_any_json_anywhere_is_a_value_or_nothing(at: tuple[Any, ...], odd: Any) -> None:
    read(changed(at, odd))


@pytest.mark.parametrize(
    ("differs", "price", "told"),
    [
        ({}, "1.408", "1.408"),
        ({}, 1.408, "1.408"),
        ({}, "0.0000000000", None),
        ({}, "-1", None),
        ({}, "NaN", None),
        ({"component": "Hosting"}, "1.408", None),
        ({"component": "Training", "platoinstancetype": "SpotTraining"}, "1.408", None),
        ({"regionCode": "us-east-1"}, "1.408", None),
        ({"instanceName": "ml.g5.2xlarge"}, "1.408", None),
    ],
)
def test_the_price_of_training(differs: dict[str, str], price: Any, told: str | None) -> None:
    found = answers.read_sagemaker_price([product({**TRAINING, **differs}, price)], REGION, KIND)
    assert (found and str(found.amount)) == told


def test_a_free_tier_beside_it_is_not_the_price() -> None:
    products = [product(TRAINING, "0"), product(TRAINING, "1.4"), product(TRAINING, "0.1", unit="GB-Mo")]
    found = answers.read_sagemaker_price(products, REGION, KIND)
    assert found is not None and str(found.amount) == "1.4"


def test_china_has_its_own_currency() -> None:
    found = answers.read_sagemaker_price([product(TRAINING, "9.5", currency="CNY")], REGION, KIND)
    assert found is not None and found.currency == "CNY"


CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["a", "b"]),
        st.integers(0, 100 * 24).map(lambda hours: NOW - timedelta(hours=hours)),
        st.integers(1, 500).map(lambda cents: Decimal(cents) / 100),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=60)
@given(CHANGES)
def test_ranges_are_the_right_way_round_and_hold_what_is_now(changes: list[tuple[str, datetime, Decimal]]) -> None:
    found = answers.spot_prices(changes, NOW)
    assert found is not None
    assert 0 < found.low_90 <= found.low_7 <= found.high_7 <= found.high_90
    for zone, each in found.zones.items():
        assert each.low_90 <= each.low_7 <= each.now <= each.high_7 <= each.high_90
        assert found.now[zone] == each.now


def of(*prices: tuple[float, str]) -> SpotPrices:
    found = answers.spot_prices([("a", NOW - timedelta(days=ago), Decimal(price)) for ago, price in prices], NOW)
    assert found is not None
    return found


def test_the_price_that_held_when_the_week_began_belongs_to_it() -> None:
    found = of((30, "0.9"), (8, "0.5"), (1, "0.3"))
    assert (found.now["a"], found.low_7, found.high_7) == (Decimal("0.3"), Decimal("0.3"), Decimal("0.5"))
    assert found.high_90 == Decimal("0.9")


def test_what_was_before_the_90_days_counts_for_nothing_but_the_last_of_it() -> None:
    assert of((120, "9"), (95, "0.8"), (1, "0.3")).high_90 == Decimal("0.8")


def test_a_price_of_the_future_is_none() -> None:
    assert answers.spot_prices([("a", NOW + timedelta(days=1), Decimal(1))], NOW) is None


def test_another_type_or_system_is_not_read() -> None:
    entry = {"AvailabilityZone": "a", "Timestamp": NOW, "SpotPrice": "1", "InstanceType": "g5.xlarge"}
    assert len(answers.read_spot_changes([entry], KIND)) == 1
    others = [{**entry, "InstanceType": "g6.xlarge"}, {**entry, "ProductDescription": "Windows"}]
    assert answers.read_spot_changes(others, KIND) == []
