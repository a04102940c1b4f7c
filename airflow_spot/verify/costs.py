"""What the experiments can cost at most. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from airflow_spot.verify.experiment import Setup
from airflow_spot.verify.pace import OVERHEAD_SECONDS, Pace

#: On-demand training, USD an hour, us-east-1: assumed, since nobody here could look at AWS's price page. It gives the
#: suite a ceiling by default; whoever pays gives the price.
PRICES = {"ml.m5.large": Decimal("0.115")}
PRICES_REGION = "us-east-1"


def known_price(instance_type: str, region: str) -> Decimal | None:
    """Return what an hour is assumed to cost; None where that is not known."""
    return PRICES.get(instance_type) if region == PRICES_REGION else None


def ceiling(setup: Setup, price: Decimal, pace: Pace) -> Decimal:
    """
    Return what a setup costs at most, in USD: each of its jobs on-demand, to its limit and beyond.

    :param price: of an hour of its instance type, on-demand. A spot job is billed no more.
    """
    seconds = sum(pace.max_run[length] + OVERHEAD_SECONDS for length in setup.jobs)
    return price * seconds / 3600


def within(setups: Sequence[Setup], price: Decimal, pace: Pace, max_cost: Decimal) -> tuple[list[Setup], list[Setup]]:
    """
    Divide setups into those that run and those that are left out.

    The first whose ceiling would bring the sum above the limit is left out, and with it all later ones that can cost
    anything.

    :return: both, in the given order. The ceilings of the first sum up to ``max_cost`` at most.
    """
    run: list[Setup] = []
    left: list[Setup] = []
    spent = Decimal(0)
    for setup in setups:
        most = ceiling(setup, price, pace)
        if most and (spent + most > max_cost or any(each.jobs for each in left)):
            left.append(setup)
            continue
        spent += most
        run.append(setup)
    return run, left
