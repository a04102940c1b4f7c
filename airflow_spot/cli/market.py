"""What the commands share that ask AWS about its market: the market, and where its answers are kept."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_spot.core.money.prices import Prices
    from airflow_spot.market.reader import Market


def market_of(
    args: argparse.Namespace,
    make: Callable[[str, str], Any],
    region: str,
    now: Callable[[], datetime],
    *,
    prices: Prices | None = None,
    advisor: str | None = None,
    fresh: bool = False,
) -> Market:
    """
    Return the market of a region.

    :param args: with the options of the AWS account.
    :param make: returns a boto3 client of a service in a region.
    :param prices: a table, which goes before AWS's prices.
    :param advisor: path or address of the Spot Instance Advisor's JSON.
    :param fresh: read nothing that was kept.
    """
    from airflow_spot.market.cache import Cache
    from airflow_spot.market.reader import Market

    cache = Cache(None if fresh else cache_folder())
    return Market(make, region, cache=cache, now=now, prices=prices, advisor=advisor, account=_account(args))


def cache_folder() -> Path:
    """Return where answers are kept: ``airflow-spot`` in the user's folder for caches."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path("~/.cache").expanduser()) / "airflow-spot"


def _account(args: argparse.Namespace) -> str:
    """Return what tells accounts and endpoints apart; the cache hashes it."""
    names = ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_ROLE_ARN", "AWS_ENDPOINT_URL")
    told = [args.profile or "", args.endpoint_url or "", *(os.environ.get(name, "") for name in names)]
    return json.dumps(told)
