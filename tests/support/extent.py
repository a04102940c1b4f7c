"""How much of what takes minutes is played: all with `make test-all`, a part in CI."""

from __future__ import annotations

import os

#: `make test-all` sets it: all seeds, all points, and new examples for the property tests.
ALL = bool(os.environ.get("AIRFLOW_SPOT_NEW_EXAMPLES"))


def seeds(count: int) -> range:
    """Return the seeds to play of so many."""
    return range(count if ALL else max(count // 4, 1))
