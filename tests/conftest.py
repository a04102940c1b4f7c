"""Fixtures for every test, and an Airflow home that is nobody's."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

# Before anything imports Airflow, which reads its home once; each process of pytest-xdist has its own.
os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="airflow-spot-tests-")
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__OPENLINEAGE__DISABLED"] = "True"
# Else the first task would make a Variable, in a database that most tests do not have.
os.environ.setdefault("AIRFLOW__AIRFLOW_SPOT__NAMESPACE", "tests")
atexit.register(shutil.rmtree, os.environ["AIRFLOW_HOME"], ignore_errors=True)

pytest_plugins = ["tests.support.service"]
