"""Prices of a run: of the file, of AWS, of what a deferral carried; of one currency, and never a failure."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_spot.core.money.figures import Figure, unknown
from airflow_spot.core.money.prices import Money, Prices
from airflow_spot.core.parameter_errors import InvalidParameterError
from airflow_spot.core.placement import Placement
from airflow_spot.errors import NonRetryableSpotError, SpotTrainingError
from airflow_spot.runs import money
from airflow_spot.runs.money import budget_of, find_prices, more_prices

LOG = logging.getLogger("test-money")
HOOK: Any = None


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """AWS knows USD prices of ml.a and ml.b; what it was asked for."""
    monkeypatch.setenv("AIRFLOW__AIRFLOW_SPOT__AWS_PRICES", "True")
    made: list[list[str]] = []

    def on_demand_prices(types: Sequence[str]) -> dict[str, Figure[Money]]:
        made.append(list(types))
        known = {"ml.a": "1", "ml.b": "2"}
        return {
            kind: Figure(Money(Decimal(known[kind]), "USD"), "aws") if kind in known else unknown("aws", "no such")
            for kind in types
        }

    monkeypatch.setattr(
        money, "market_of", lambda hook, *, anew=False: SimpleNamespace(on_demand_prices=on_demand_prices)
    )
    return made


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[bytes], None]:
    def write(content: bytes) -> None:
        (tmp_path / "prices.json").write_bytes(content)
        monkeypatch.setenv("AIRFLOW__AIRFLOW_SPOT__PRICES", str(tmp_path / "prices.json"))

    return write


def plan(*types: str) -> Any:
    return SimpleNamespace(placements=tuple(Placement(kind) for kind in types))


@pytest.mark.parametrize("currency", ["USD", "EUR"])
def test_prices_of_the_file_are_added_in_its_currency_alone(
    asked: list[list[str]], table: Callable[[bytes], None], currency: str
) -> None:
    """The file has none of the ladder's types: AWS's are taken, and the file's others only beside their like."""
    table(json.dumps({"currency": currency, "hourly": {"ml.old": "9"}}).encode())
    found = find_prices(HOOK, plan("ml.a"), LOG, carried=None, begins=True)
    assert found is not None
    assert found.currency == "USD"
    assert set(found.hourly) == ({"ml.a", "ml.old"} if currency == "USD" else {"ml.a"})


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe\x00",
        b"ml.a: 1",
        b"[" * 100_000,
        b"[]",
        b'{"hourly": {"ml.a": NaN}}',
        b'{"hourly": {"ml.a": true}}',
        b"",
    ],
)
def test_a_file_of_garbage_is_told_and_not_used(
    asked: list[list[str]], table: Callable[[bytes], None], content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    table(content)
    found = find_prices(HOOK, plan("ml.a"), LOG, carried=None, begins=True)
    assert found is not None
    assert found.hourly == {"ml.a": 1}
    assert caplog.text.count("Its prices are not used") == 1
    assert find_prices(HOOK, plan("ml.a"), LOG, carried=None, begins=False) is None


def test_what_was_carried_is_asked_for_no_more_unless_a_limit_needs_it(asked: list[list[str]]) -> None:
    carried = Prices("USD", {"ml.a": Decimal(5)})
    for needed, expected in ((False, {"ml.a": 5}), (True, {"ml.a": 5, "ml.b": 2})):
        found = find_prices(HOOK, plan("ml.a", "ml.b"), LOG, carried=carried, begins=False, needed=needed)
        assert found is not None
        assert found.hourly == expected
    assert asked == [["ml.b"]]
    assert find_prices(HOOK, plan("ml.a"), LOG, carried=carried, begins=False, needed=True) is carried
    assert find_prices(HOOK, plan("ml.a"), LOG, carried=None, begins=False) is None
    assert asked == [["ml.b"]]
    found = find_prices(HOOK, plan("ml.a"), LOG, carried=None, begins=False, needed=True)
    assert found is not None
    assert found.hourly == {"ml.a": 1}


def test_further_types_come_of_the_file_and_of_aws_in_the_same_currency(
    asked: list[list[str]], table: Callable[[bytes], None]
) -> None:
    table(b'{"currency": "EUR", "hourly": {"ml.old": 9}}')
    of_euros = more_prices(HOOK, LOG, Prices("EUR", {"ml.x": Decimal(1)}), ["ml.old", "ml.a"])
    assert of_euros.hourly == {"ml.x": 1, "ml.old": 9}
    of_dollars = more_prices(HOOK, LOG, Prices("USD", {"ml.x": Decimal(1)}), ["ml.old", "ml.a", "ml.a"])
    assert of_dollars.hourly == {"ml.x": 1, "ml.a": 1}
    assert asked == [["ml.a"], ["ml.old", "ml.a"], ["ml.old"]]  # what is needed and not told, once more


def test_a_limit_that_needs_a_price_believes_no_refusal_of_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """The permission was granted since, or the price list answers again."""
    monkeypatch.setenv("AIRFLOW__AIRFLOW_SPOT__AWS_PRICES", "True")
    made: list[bool] = []

    def market_of(hook: Any, *, anew: bool = False) -> Any:
        def on_demand_prices(types: Sequence[str]) -> dict[str, Figure[Money]]:
            made.append(anew)
            known: Figure[Money] = Figure(Money(Decimal(3), "USD"), "aws") if anew else unknown("aws", "needs it")
            return dict.fromkeys(types, known)

        return SimpleNamespace(on_demand_prices=on_demand_prices)

    monkeypatch.setattr(money, "market_of", market_of)
    assert find_prices(HOOK, plan("ml.a"), LOG, carried=None, begins=True) is None
    assert made == [False]
    found = find_prices(HOOK, plan("ml.a"), LOG, carried=None, begins=True, needed=True)
    assert found is not None
    assert found.hourly == {"ml.a": 3}
    assert made == [False, False, True]


@pytest.mark.parametrize(("asks", "error"), [("True", SpotTrainingError), ("False", InvalidParameterError)])
def test_a_price_that_aws_may_tell_later_is_asked_for_by_a_retry(
    monkeypatch: pytest.MonkeyPatch, asks: str, error: type[Exception]
) -> None:
    monkeypatch.setenv("AIRFLOW__AIRFLOW_SPOT__AWS_PRICES", asks)
    with pytest.raises(error, match=r"ml\.a, which is not known") as caught:
        budget_of(Decimal(5), None, plan("ml.a"), begins=True, first=True)
    assert isinstance(caught.value, NonRetryableSpotError) is False
