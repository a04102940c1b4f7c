"""Fixtures for every test, and an Airflow home that is nobody's."""

from __future__ import annotations

import os
import tempfile

# Before anything imports Airflow, which reads its home once.
os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="airflow-spot-tests-"))
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"

pytest_plugins = ["tests.support.service"]
