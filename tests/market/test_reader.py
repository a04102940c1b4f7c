"""The market: figures with their source and age, asked for once, and never an exception."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from botocore.exceptions import (
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
)

from airflow_spot.core.money.market_values import SCORE_NOTE, Band
from airflow_spot.core.money.prices import Prices
from airflow_spot.market.cache import Cache
from airflow_spot.market.gathering import gather
from airflow_spot.market.pricing import endpoint_region
from airflow_spot.market.reader import Market
from tests.market.fakes import ADVISOR, NOW, REGION, SOURCES, TYPES, FakeAws, refused

KINDS = list(TYPES)


class Clock:
    now = NOW

    def __call__(self) -> datetime:
        return self.now


def market(aws: FakeAws, cache: Cache | None = None, clock: Clock | None = None, **more: Any) -> Market:
    return Market(aws, REGION, cache=cache or Cache(None), now=clock or Clock(), **more)


def every(of: Market) -> list[Any]:
    """All figures of the three types."""
    figures = [
        of.on_demand_prices(KINDS),
        of.ec2_on_demand_prices(KINDS),
        of.spot_prices(KINDS),
        of.placement_scores(KINDS, 1),
        of.interruption_bands(KINDS),
        of.quotas(KINDS),
    ]
    return [figure for each in figures for figure in each.values()]


def test_everything_is_read_over_all_pages(tmp_path: Path) -> None:
    (tmp_path / "advisor.json").write_text(json.dumps(ADVISOR))
    aws = FakeAws(used={})
    of = market(aws, advisor=str(tmp_path / "advisor.json"))
    kind = "ml.g5.2xlarge"
    assert str(of.on_demand_prices(KINDS)[kind].value) == "1.69 USD"
    assert str(of.ec2_on_demand_prices(KINDS)[kind].value) == "1.35 USD"
    spot = of.spot_prices(KINDS)[kind].value
    assert spot is not None and spot.now == {"eu-west-1a": Decimal("0.5400"), "eu-west-1b": Decimal("0.6700")}
    assert (spot.low_90, spot.high_90) == (Decimal("0.5400"), Decimal("0.6700") * Decimal("1.5"))
    score = of.placement_scores(KINDS, 2)[kind]
    assert (score.value, score.why) == (3, SCORE_NOTE)
    assert of.interruption_bands(KINDS)[kind].value == Band(5, 10, 55)
    quotas = of.quotas(KINDS)
    assert [quotas[kind, spot].value and quotas[kind, spot].value.limit for spot in (True, False)] == [2, 4]
    assert all(figure.known for figure in every(of))
    assert of.not_read == {}


def test_ec2_is_asked_for_types_without_ml_and_for_linux() -> None:
    aws = FakeAws()
    market(aws).spot_prices(["ml.g5.2xlarge"])
    asked = aws.asked("ec2:DescribeSpotPriceHistory")[0]
    assert (asked["InstanceTypes"], asked["ProductDescriptions"]) == (["g5.2xlarge"], ["Linux/UNIX"])
    assert asked["StartTime"] == NOW - timedelta(days=90)


def test_scores_are_asked_by_instances_in_one_region() -> None:
    aws = FakeAws()
    market(aws).placement_scores(["ml.g5.2xlarge"], 3)
    (asked,) = aws.asked("ec2:GetSpotPlacementScores")
    assert (asked["TargetCapacity"], asked["TargetCapacityUnitType"], asked["RegionNames"]) == (3, "units", [REGION])


@pytest.mark.parametrize(
    ("region", "endpoint"),
    [("eu-west-1", "us-east-1"), ("us-west-2", "us-east-1"), ("ap-northeast-1", "ap-south-1")],
)
def test_prices_are_asked_where_the_service_is(region: str, endpoint: str) -> None:
    assert endpoint_region(region) == endpoint
    aws = FakeAws()
    Market(aws, region, cache=Cache(None), now=Clock()).on_demand_prices(["ml.g5.2xlarge"])
    assert aws.made == [("pricing", endpoint)]


def test_the_users_table_goes_before_awss() -> None:
    aws = FakeAws()
    found = market(aws, prices=Prices("EUR", {"ml.g5.2xlarge": Decimal("1.5")})).on_demand_prices(KINDS)
    assert [str(each.value) for each in found.values()] == ["1.50 EUR", "1.36 USD", "25.25 USD"]
    assert found["ml.g5.2xlarge"].source == "the price table"
    asked = {filters["Value"] for each in aws.asked("pricing:GetProducts") for filters in each["Filters"]}
    assert "ml.g5.2xlarge" not in asked


def test_a_young_answer_is_not_asked_for_again_by_the_next_process_either(tmp_path: Path) -> None:
    aws, clock = FakeAws(used={}), Clock()
    first = every(market(aws, Cache(tmp_path), clock))
    calls = len(aws.calls)
    clock.now += timedelta(seconds=30)
    assert every(market(aws, Cache(tmp_path), clock)) == first
    assert len(aws.calls) == calls


def test_scores_are_asked_for_again_after_an_hour_alone(tmp_path: Path) -> None:
    aws, clock = FakeAws(), Clock()
    for minutes, calls in ((0, 1), (59, 1), (61, 2)):
        clock.now = NOW + timedelta(minutes=minutes)
        market(aws, Cache(tmp_path), clock).placement_scores(["ml.g5.2xlarge"], 1)
        assert len(aws.calls) == calls
    market(aws, Cache(tmp_path), clock).placement_scores(["ml.g5.2xlarge"], 2)
    assert len(aws.calls) == 3, "another count is another question"


def test_another_account_has_its_own_answers(tmp_path: Path) -> None:
    aws = FakeAws()
    for account in ("one", "two"):
        market(aws, Cache(tmp_path), account=account).quotas(["ml.g5.2xlarge"])
    assert len({str(given) for _, given in aws.calls}) * 2 == len(aws.calls)


def test_a_refusal_is_asked_for_once_whatever_the_types_and_told_once(tmp_path: Path) -> None:
    aws, clock = FakeAws(SOURCES), Clock()
    of = market(aws, Cache(tmp_path), clock)
    figures = every(of)
    assert not any(figure.known for figure in figures)
    assert of.not_read == {permission: f"needs {permission}" for permission in SOURCES}
    assert sorted(name for name, _ in aws.calls) == sorted(SOURCES)
    clock.now += timedelta(minutes=59)
    again = market(aws, Cache(tmp_path), clock)
    assert every(again) == figures and again.not_read == of.not_read
    assert len(aws.calls) == len(SOURCES)
    clock.now += timedelta(minutes=2)
    aws.denied.clear()
    assert market(aws, Cache(tmp_path), clock).on_demand_prices(KINDS)["ml.g5.2xlarge"].known


def test_a_type_that_is_refused_does_not_hide_the_others() -> None:
    aws = FakeAws()
    aws.error = refused("DescribeSpotPriceHistory", "InvalidParameterValue")
    of = market(aws)
    assert of.spot_prices(["ml.x.large"])["ml.x.large"].why == (
        "ec2:DescribeSpotPriceHistory answers InvalidParameterValue"
    )
    aws.error = None
    assert of.spot_prices(["ml.g5.2xlarge"])["ml.g5.2xlarge"].known


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (ReadTimeoutError(endpoint_url="https://x"), "no answer within 3 s"),
        (ConnectTimeoutError(endpoint_url="https://x"), "no answer within 3 s"),
        (TimeoutError(), "no answer within 3 s"),
        (EndpointConnectionError(endpoint_url="https://x"), "no connection"),
        (NoCredentialsError(), "no AWS credentials"),
        (refused("x", "ExpiredTokenException"), "AWS does not accept the credentials: ExpiredTokenException"),
        (refused("x", "RequestExpired"), "AWS does not accept the credentials: RequestExpired"),
        (refused("x", "UnauthorizedOperation"), "needs {permission}"),
        (refused("x", "ThrottlingException"), "AWS throttles {permission}"),
        (refused("x", "InvalidAction"), "{permission} is not offered here"),
        (KeyError("a"), "cannot be read (KeyError)"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_an_error_is_why_nothing_is_known(error: Exception, why: str) -> None:
    aws = FakeAws()
    aws.error = error
    of = market(aws)
    figures = every(of)
    assert not any(figure.known for figure in figures)
    assert of.not_read == {permission: why.format(permission=permission) for permission in SOURCES}


def test_a_region_that_does_not_answer_says_nothing_of_another() -> None:
    """Such as one whose name has a typing error."""
    aws, cache = FakeAws(), Cache(None)
    aws.error = EndpointConnectionError(endpoint_url="https://x")
    typo = Market(aws, "eu-cental-1", cache=cache, now=Clock())
    assert typo.spot_prices(["ml.g5.2xlarge"])["ml.g5.2xlarge"].why == "no connection"
    aws.error = None
    assert market(aws, cache).spot_prices(["ml.g5.2xlarge"])["ml.g5.2xlarge"].known


def test_a_client_that_cannot_be_made_is_why_nothing_is_known() -> None:
    def broken(service: str, region: str) -> Any:
        raise ValueError(service)

    of = Market(broken, REGION, cache=Cache(None), now=Clock())
    assert not any(figure.known for figure in every(of))


@pytest.mark.parametrize(
    "answer",
    [{}, [], "x", 5, {"PriceList": 5}, {"PriceList": ["{", None], "SpotPriceHistory": [5], "Quotas": {"a": 1}},
     {"SpotPlacementScores": [{"Score": 99}], "NextToken": "for ever"}],
    ids=range(7),
)  # fmt: skip
def test_garbage_is_why_nothing_is_known(answer: Any) -> None:
    aws = FakeAws()
    aws.answer = answer
    figures = every(market(aws))
    assert not any(figure.known for figure in figures)
    assert all(figure.why for figure in figures)
    assert len(aws.calls) < 1000, "a list without an end is given up"


def test_what_is_used_comes_from_cloudwatch_the_newest_first() -> None:
    used = {"ml.g5.2xlarge for spot training job usage": 1.0}
    quotas = market(FakeAws(used=used)).quotas(["ml.g5.2xlarge"])
    spot, on_demand = (quotas["ml.g5.2xlarge", each].value for each in (True, False))
    assert spot is not None and (spot.used, spot.left) == (1.0, 1.0)
    assert on_demand is not None and (on_demand.used, on_demand.left) == (None, 4.0)


def test_quotas_without_cloudwatch_are_still_known() -> None:
    of = market(FakeAws(["cloudwatch:GetMetricData"], used={}))
    quota = of.quotas(["ml.g5.2xlarge"])["ml.g5.2xlarge", True].value
    assert quota is not None and quota.used is None
    assert of.not_read == {"cloudwatch:GetMetricData": "needs cloudwatch:GetMetricData"}


def test_an_advisor_that_is_not_there_or_no_json_is_why(tmp_path: Path) -> None:
    for text, why in (
        (None, "No such file or directory"),
        ("{", "no JSON"),
        ("[]", "it has no g5.2xlarge in eu-west-1"),
    ):
        file = tmp_path / "advisor.json"
        if text is not None:
            file.write_text(text)
        of = market(FakeAws(), advisor=str(file))
        assert of.interruption_bands(["ml.g5.2xlarge"])["ml.g5.2xlarge"].why == why


class Advisor(BaseHTTPRequestHandler):
    served = 0

    def do_GET(self) -> None:
        type(self).served += 1
        status = 200 if self.path.startswith("/data") else 403
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(ADVISOR).encode())

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


def test_the_advisors_address_is_read_once_and_shown_without_what_may_be_secret(tmp_path: Path) -> None:
    server, before = HTTPServer(("127.0.0.1", 0), Advisor), Advisor.served
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        base = f"http://127.0.0.1:{server.server_port}"
        for _ in range(2):
            of = market(FakeAws(), Cache(tmp_path), advisor=f"{base}/data.json?token=hunter2")
            band = of.interruption_bands(KINDS)["ml.p4d.24xlarge"]
            assert (band.value, band.source, band.read) == (Band(20, None, 55), f"{base}/data.json", NOW)
        assert Advisor.served == before + 1
        assert not any("hunter2" in file.read_text() for file in tmp_path.iterdir())
        of = market(FakeAws(), Cache(None), advisor=f"{base}/other")
        assert of.interruption_bands(KINDS)["ml.p4d.24xlarge"].why == "the address answers with an error"
    finally:
        server.shutdown()
        server.server_close()
    of = market(FakeAws(), Cache(None), advisor=f"{base}/data.json")
    assert of.interruption_bands(KINDS)["ml.p4d.24xlarge"].why == "no connection"


def test_all_figures_of_a_type_are_gathered() -> None:
    figures = gather(market(FakeAws()), KINDS, 2)
    assert [each.instance_type for each in figures] == KINDS
    assert all(each.on_demand.known and each.spot_quota.known and not each.band.known for each in figures)
