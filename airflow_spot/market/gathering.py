"""All figures of some instance types at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from airflow_spot.core.money.advice import TypeFigures
from airflow_spot.core.money.experience import Experience
from airflow_spot.market.reader import Market


def gather(
    market: Market, types: Sequence[str], count: int = 1, seen: Mapping[str, Experience] | None = None
) -> list[TypeFigures]:
    """
    Return what is known of each type, in their order.

    :param types: with ``ml.``.
    :param count: instances.
    :param seen: what this account got, by type.
    """
    on_demand, ec2_on_demand = market.on_demand_prices(types), market.ec2_on_demand_prices(types)
    spot, scores = market.spot_prices(types), market.placement_scores(types, count)
    bands, quotas = market.interruption_bands(types), market.quotas(types)
    return [
        TypeFigures(
            kind,
            on_demand[kind],
            ec2_on_demand[kind],
            spot[kind],
            scores[kind],
            bands[kind],
            quotas[kind, True],
            quotas[kind, False],
            (seen or {}).get(kind),
        )
        for kind in types
    ]
