"""Money: on-demand prices of training instances from a table of the user's, and what seconds cost by them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from airflow_spot.core.money.figures import Figure
from airflow_spot.core.parameter_errors import Described, InvalidParameterError, kind_of

_HOUR = Decimal(3600)
#: Nothing costs so much; sums of it would overflow.
_ABSURD = Decimal(10) ** 12
_CENT = Decimal("0.01")
_CENT_FRACTION = Decimal("0.0001")


@dataclass(frozen=True)
class Money:
    """
    An amount of money.

    :param currency: as ISO 4217 has it, such as ``USD``.
    """

    amount: Decimal
    currency: str

    def __str__(self) -> str:
        # Of a test's seconds, cents would say nothing.
        digits = 2 if not self.amount or abs(self.amount) >= _CENT else 4
        return f"{self.amount:.{digits}f} {self.currency}"

    def __add__(self, other: Money) -> Money:
        return Money(self.amount + other.amount, self.currency)

    def __sub__(self, other: Money) -> Money:
        return Money(self.amount - other.amount, self.currency)

    def to_json(self) -> dict[str, str]:
        """Return it as JSON: a decimal as text, since a float would round it."""
        return {"amount": str(self.amount.quantize(_CENT_FRACTION)), "currency": self.currency}


@dataclass(frozen=True)
class Prices:
    """
    What an hour of an instance costs on-demand.

    :param hourly: by instance type, with its ``ml.``.
    :param source: where they come from, such as ``pricing:GetProducts``.
    :param read: when the oldest of them was read there; None for a file of the user's.
    """

    currency: str = "USD"
    hourly: Mapping[str, Decimal] = field(default_factory=dict)
    source: str = ""
    read: datetime | None = None

    def cost(self, instances: Iterable[tuple[str, int]], seconds: float) -> Money | None:
        """
        Return what so many seconds of instances cost on-demand; None where a price is not known.

        :param instances: types, and how many of each.
        """
        hourly = Decimal(0)
        for instance_type, count in instances:
            if (price := self.hourly.get(instance_type)) is None:
                return None
            hourly += price * count
        return Money(hourly * Decimal(str(seconds)) / _HOUR, self.currency)

    def only(self, types: Iterable[str]) -> Prices:
        """Return those of some types."""
        wanted = set(types)
        return replace(self, hourly={kind: price for kind, price in self.hourly.items() if kind in wanted})

    def with_figures(self, figures: Mapping[str, Figure[Money]]) -> Prices:
        """Return them with those of AWS for types that they do not have, as far as these are known and compare."""
        currency = self.currency
        if not self.hourly:
            currency = next((each.value.currency for each in figures.values() if each.value is not None), currency)
        found = {
            kind: each
            for kind, each in figures.items()
            if kind not in self.hourly and each.value is not None and each.value.currency == currency
        }
        if not found:
            return self
        hourly = {kind: _plain(each.value.amount) for kind, each in found.items() if each.value is not None}
        sources = dict.fromkeys((*([self.source] if self.hourly else []), *(each.source for each in found.values())))
        read = min((each.read for each in found.values() if each.read is not None), default=None)
        return Prices(currency, {**self.hourly, **hourly}, "; ".join(sources), read)

    def to_json(self) -> dict[str, Any]:
        """Return them as a result has them, and as a deferral carries them."""
        return {
            "currency": self.currency,
            "hourly": {kind: str(price) for kind, price in sorted(self.hourly.items())},
            "source": self.source,
            "read": self.read.isoformat() if self.read else None,
        }

    @classmethod
    def from_json(cls, value: Any) -> Prices | None:
        """Read what :meth:`to_json` wrote; None where it cannot be read."""
        try:
            prices = _prices_of(value, "prices")
            read = datetime.fromisoformat(value["read"]) if value.get("read") else None
            return replace(prices, source=str(value.get("source") or ""), read=read)
        except (InvalidParameterError, AttributeError, TypeError, ValueError):
            return None


def read_prices(text: str, name: str) -> Prices:
    """
    Read a price table: ``{"currency": "USD", "hourly": {"ml.g5.xlarge": "1.408"}}``.

    :param text: JSON.
    :param name: where it comes from, for errors.
    :raises InvalidParameterError: naming the entry that is wrong.
    """
    try:
        table = json.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError) as error:
        raise InvalidParameterError(name, Described("no JSON"), f"must be a JSON object ({error})") from None
    return replace(_prices_of(table, name), source=name)


def _prices_of(table: Any, name: str) -> Prices:
    if not isinstance(table, dict) or not isinstance(table.get("hourly"), dict):
        raise InvalidParameterError(name, kind_of(table), 'must be {"currency": ..., "hourly": {type: price}}')
    currency = table.get("currency", "USD")
    if not isinstance(currency, str) or len(currency) != 3 or not currency.isupper():
        raise InvalidParameterError(f"{name}: currency", currency, "must be three capitals, as USD")
    return Prices(currency, {str(kind): _price(f"{name}: {kind}", value) for kind, value in table["hourly"].items()})


def read_amount(name: str, value: Any) -> Decimal:
    """
    Read an amount of money above zero, such as ``50`` or ``"12.50"``.

    :raises InvalidParameterError: it is none.
    """
    fix = "must be an amount above 0, as 50 or 12.50, in the currency of the prices"
    try:
        if isinstance(value, bool):
            raise TypeError
        amount = Decimal(str(value))
    except (InvalidOperation, TypeError, ValueError):
        raise InvalidParameterError(name, value, fix) from None
    if not amount.is_finite() or not 0 < amount < _ABSURD:
        raise InvalidParameterError(name, value, fix)
    return amount


def _plain(amount: Decimal) -> Decimal:
    """Return an amount without the zeros behind it that AWS's price list has."""
    return amount.quantize(Decimal(1)) if amount == amount.to_integral_value() else amount.normalize()


def _price(name: str, value: Any) -> Decimal:
    try:
        if isinstance(value, bool):
            raise TypeError
        price = Decimal(value)
    except (InvalidOperation, TypeError, ValueError):
        raise InvalidParameterError(name, value, "must be a price an hour, as 1.408") from None
    if not price.is_finite() or not 0 <= price < _ABSURD:
        raise InvalidParameterError(name, value, "must be a price an hour, as 1.408")
    return price
