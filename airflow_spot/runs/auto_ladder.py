"""``ladder="auto"``: the order of a run's types, by what AWS says of them when a try begins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from airflow_spot.core.money.advice import Work, advise
from airflow_spot.core.money.advice_ladder import left_out, order_types
from airflow_spot.market.gathering import gather
from airflow_spot.observers import Log

if TYPE_CHECKING:
    from airflow_spot.market.reader import Market


def ordered(market: Market, types: Sequence[str], count: int, log: Log) -> list[str]:
    """
    Return types in the order in which a run should try them on spot, and say why; it never raises.

    What may not be asked does not count: where nothing is known, the order is the given one. A type whose
    spot quota is too small for the job comes last.

    :param count: instances of one type.
    """
    figures, work = gather(market, types, count), Work(count=count)
    order = [*order_types(figures, work), *left_out(advise(figures, work))]
    for place, (kind, why) in enumerate(order, 1):
        log.info("Ladder, rung %d: %s (%s)", place, kind, why)
    for source, why in market.not_read.items():
        log.info("The order does not consider %s: %s", source, why)
    return [kind for kind, _ in order]
