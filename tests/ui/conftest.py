"""A database of Airflow's, made once for a process of tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.ui.rows import Database, migrate


@pytest.fixture(scope="session")
def _migrated() -> None:
    migrate()


@pytest.fixture
def database(_migrated: None) -> Iterator[Database]:
    """An Airflow database with nothing in it."""
    made = Database()
    made.clear()
    yield made
    made.clear()
