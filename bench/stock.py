"""
An environment for the stock operator.

Its deferrable mode needs aiobotocore, which pins botocore below boto3: beside a new boto3 it cannot be. So it has an
environment of its own (see ``environments.py``), ``.bench/stock`` below the checkout: the same Python, Airflow and
amazon provider as here, with the provider's extra for aiobotocore, and nothing else.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from pathlib import Path

from bench import environments
from bench.environments import Environment, NotMade

__all__ = ["NotMade", "interpreter", "requirements", "versions"]

FOLDER = environments.HOME / "stock"
PACKAGES = ("apache-airflow", "apache-airflow-providers-amazon", "boto3", "botocore", "aiobotocore")


def requirements() -> list[str]:
    """Name what the environment holds: the versions of this one."""
    version = importlib.metadata.version
    return [
        f"apache-airflow=={version('apache-airflow')}",
        f"apache-airflow-providers-amazon[aiobotocore]=={version('apache-airflow-providers-amazon')}",
    ]


def interpreter(tell: Callable[[str], None], folder: Path = FOLDER) -> Path:
    """
    Give the environment's interpreter, having made the environment where there is none or an outdated one.

    :param tell: told once if it has to be made.
    :raises NotMade: if it cannot be: most often there is no index to be reached.
    """
    return Environment(folder, "the stock operator", requirements()).interpreter(tell)


def versions(python: str | Path) -> dict[str, str]:
    """Ask an interpreter for the versions of what matters here; what it has not is not in the answer."""
    return environments.versions(python, PACKAGES)
