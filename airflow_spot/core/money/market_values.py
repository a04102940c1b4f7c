"""What AWS says of an instance type in a region, as values: EC2's spot prices, a quota, an interruption band."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

#: What a placement score of one type is worth. Source: Spot placement score in the EC2 user guide.
SCORE_NOTE = "AWS scores fewer than three types low whatever their capacity: good for the order only"


def ec2_type(instance_type: str) -> str:
    """Return a type as EC2 names it: without SageMaker's ``ml.``."""
    return instance_type.removeprefix("ml.")


def sagemaker_type(instance_type: str) -> str:
    """Return a type as SageMaker names it: with ``ml.``."""
    return instance_type if instance_type.startswith("ml.") else f"ml.{instance_type}"


@dataclass(frozen=True)
class PriceRange:
    """
    EC2's spot price of a type in one zone, an hour of one instance.

    :param now: the last one.
    :param low_7: the lowest of the last 7 days; ``high_7``, ``low_90`` and ``high_90`` likewise.
    """

    now: Decimal
    low_7: Decimal
    high_7: Decimal
    low_90: Decimal
    high_90: Decimal


@dataclass(frozen=True)
class SpotPrices:
    """
    EC2's spot prices of a type, an hour of one instance. They are not what SageMaker bills.

    :param now: by availability zone, the last one.
    :param low_7: the lowest of all zones in the last 7 days; ``high_7``, ``low_90`` and ``high_90`` likewise.
    :param zones: the same by zone.
    :param changes: by zone, each time the price changed and the price from then on, in order of time.
    """

    now: Mapping[str, Decimal]
    low_7: Decimal
    high_7: Decimal
    low_90: Decimal
    high_90: Decimal
    currency: str = "USD"
    zones: Mapping[str, PriceRange] = field(default_factory=dict)
    changes: Mapping[str, tuple[tuple[datetime, Decimal], ...]] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class QuotaFigure:
    """
    A service quota of SageMaker: how many instances of a type training jobs may use at once.

    :param name: such as ``ml.g5.xlarge for spot training job usage``.
    :param code: such as ``L-3F53BF0F``.
    :param used: how many are used; None where that is not known.
    :param adjustable: whether AWS raises it on request.
    :param console_url: where to request that.
    """

    name: str
    code: str
    limit: float
    used: float | None
    adjustable: bool
    console_url: str

    @property
    def left(self) -> float:
        """How many instances may still be started; where the use is not known, the whole limit."""
        return max(0.0, self.limit - (self.used or 0.0))


@dataclass(frozen=True)
class Band:
    """
    How often EC2 interrupted a type's spot instances, as the Spot Instance Advisor has it.

    :param low: percent of the instances that were interrupted in the trailing month, from.
    :param high: to; None: more than ``low``.
    :param savings_percent: what EC2's spot price saves against EC2's on-demand price.
    """

    low: int
    high: int | None
    savings_percent: int

    def __str__(self) -> str:
        if self.high is None:
            return f">{self.low} %"
        return f"<{self.high} %" if self.low == 0 else f"{self.low}-{self.high} %"
