"""What AWS says of a region's markets, as figures: each source is optional."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from airflow_spot.core.money.figures import Figure, unknown
from airflow_spot.core.money.market_values import Band, QuotaFigure, SpotPrices, ec2_type, sagemaker_type
from airflow_spot.core.money.prices import Money, Prices
from airflow_spot.market import advisor as advisor_data
from airflow_spot.market import ec2, pricing, quotas
from airflow_spot.market.asking import Asking
from airflow_spot.market.cache import Cache

#: The source of a price from the user's table.
TABLE = "the price table"


class Market:
    """
    What AWS says of a region's markets.

    Every answer is a figure; nothing raises for want of a permission or of the network. No call is made before a
    method is called, and none is made twice while its answer is young: see the ``MAX_AGE`` of each module.

    :param client: returns a boto3 client of a service, such as ``ec2``, in a region. Give it a ``botocore`` config
        with ``connect_timeout=3, read_timeout=3, retries={"total_max_attempts": 1}``: no figure is worth a wait.
    :param region: such as ``eu-west-1``.
    :param cache: keeps answers, and refusals for an hour.
    :param now: the time, in UTC.
    :param prices: the user's table, which goes before AWS's prices.
    :param advisor: path or address of the Spot Instance Advisor's JSON; None: no bands.
    :param account: what tells accounts and endpoints apart in the cache, such as a profile's name. Nothing of it is
        readable there.
    """

    def __init__(
        self,
        client: Callable[[str, str], Any],
        region: str,
        *,
        cache: Cache,
        now: Callable[[], datetime],
        prices: Prices | None = None,
        advisor: str | None = None,
        account: str = "",
    ) -> None:
        self._client = client
        self._region = region
        self._prices = prices
        self._advisor = advisor
        self._asking = Asking(cache, now, f"{account}|{region}")  # an endpoint that does not answer is one region's
        self._made: dict[tuple[str, str], Any] = {}

    @property
    def not_read(self) -> Mapping[str, str]:
        """By source (a permission, a file), why it could not be read so far: for the log, each once."""
        return dict(self._asking.refused)

    def _of(self, service: str, region: str) -> Any:
        made = self._made.get((service, region))
        if made is None:
            made = self._made[service, region] = self._client(service, region)
        return made

    def _pricing(self) -> Any:
        return self._of("pricing", pricing.endpoint_region(self._region))

    def _ec2(self) -> Any:
        return self._of("ec2", self._region)

    def on_demand_prices(self, types: Sequence[str]) -> dict[str, Figure[Money]]:
        """Return what an hour of one instance costs in on-demand training, by type."""
        found: dict[str, Figure[Money]] = {}
        for kind in types:
            hourly = self._prices.hourly.get(sagemaker_type(kind)) if self._prices else None
            if hourly is not None and self._prices is not None:
                found[kind] = Figure(Money(hourly, self._prices.currency), TABLE)
            else:
                found[kind] = pricing.sagemaker_price(self._asking, self._pricing, self._region, kind)
        return found

    def ec2_on_demand_prices(self, types: Sequence[str]) -> dict[str, Figure[Money]]:
        """Return what EC2's own on-demand instances cost, by type: EC2's spot discount is measured by it."""
        return {kind: pricing.ec2_price(self._asking, self._pricing, self._region, kind) for kind in types}

    def spot_prices(self, types: Sequence[str]) -> dict[str, Figure[SpotPrices]]:
        """Return EC2's spot prices, of each type without its ``ml.``. They are not what SageMaker bills."""
        return {kind: ec2.prices(self._asking, self._ec2, self._region, kind) for kind in types}

    def placement_scores(self, types: Sequence[str], count: int) -> dict[str, Figure[int]]:
        """
        Return EC2's placement score of each type by itself, 1 to 10.

        AWS scores fewer than three types low whatever their capacity: ``why`` of the figure says so, too.

        :param count: of instances.
        """
        return {kind: ec2.placement_score(self._asking, self._ec2, self._region, kind, count) for kind in types}

    def interruption_bands(self, types: Sequence[str]) -> dict[str, Figure[Band]]:
        """Return how often EC2 interrupted spot instances of each type, by the Spot Instance Advisor."""
        if self._advisor is None:
            why = "name the Spot Instance Advisor's JSON, a file or an address"
            return {kind: unknown("spot advisor", why) for kind in types}
        source = advisor_data.shown(self._advisor)
        known, read, why = advisor_data.bands(self._asking, self._region, self._advisor)
        return {
            kind: Figure(known[ec2_type(kind)], source, read)
            if ec2_type(kind) in known
            else unknown(source, why or f"it has no {ec2_type(kind)} in {self._region}")
            for kind in types
        }

    def quotas(self, types: Sequence[str]) -> dict[tuple[str, bool], Figure[QuotaFigure]]:
        """Return SageMaker's service quotas of training instances, by type and whether it is the one of spot."""
        return quotas.quotas(self._asking, lambda service: self._of(service, self._region), self._region, types)
