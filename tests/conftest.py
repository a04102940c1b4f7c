"""Fixtures for every test, and an Airflow home that is nobody's."""

from __future__ import annotations

import atexit
import importlib
import os
import shutil
import tempfile

import hypothesis
import pytest

from tests.support.extent import ALL

# Before anything imports Airflow, which reads its home once; each process of pytest-xdist has its own.
os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="airflow-spot-tests-")
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__OPENLINEAGE__DISABLED"] = "True"
# Seconds; its own 30 may be over on a busy machine.
os.environ["AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT"] = "300"
# Else the first task would make a Variable, in a database that most tests do not have.
os.environ.setdefault("AIRFLOW__AIRFLOW_SPOT__NAMESPACE", "tests")
# A price of Local SageMaker's would be one more call, in whichever test of a process comes first: tests that are about
# it ask for it.
os.environ.setdefault("AIRFLOW__AIRFLOW_SPOT__AWS_PRICES", "False")
# And calls before a run's first job, which many tests count.
os.environ.setdefault("AIRFLOW__AIRFLOW_SPOT__PREFLIGHT", "off")
atexit.register(shutil.rmtree, os.environ["AIRFLOW_HOME"], ignore_errors=True)

pytest_plugins = ["tests.support.service"]

# A busy machine is no fault of what is tested.
hypothesis.settings.register_profile("patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("patient")
# The same examples each time: a find fails the change that made it, and not somebody else's. `make test-all` looks for
# new ones.
if not ALL:
    hypothesis.settings.register_profile("same", hypothesis.settings.get_profile("patient"), derandomize=True)
    hypothesis.settings.load_profile("same")
    # It makes examples of the constants in the modules that are loaded, too: those of the tests that ran before in the
    # same process. It has no setting for that.
    providers = importlib.import_module("hypothesis.internal.conjecture.providers")
    if hasattr(providers, "_get_local_constants") and hasattr(providers, "_local_constants"):
        providers._get_local_constants = lambda: providers._local_constants

#: Where the files are that take minutes: the others fill what is left of the time beside them.
LONG = (
    "tests/dags",
    "tests/operators",
    "tests/compose",
    "tests/airflow",
    "tests/browser",
    "tests/demo",
    "tests/local",
    "tests/test_docs",
)


#: What a slow test may take where it says nothing: many start processes, and a busy machine starts them slowly.
SLOW_SECONDS = 1200


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """
    Begin with the long files: a worker takes a file at a time, and one that comes last is waited for alone.

    The slow tests get more time.
    """
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(SLOW_SECONDS))

    def rank(item: pytest.Item) -> int:
        return next((i for i, start in enumerate(LONG) if item.nodeid.startswith(start)), len(LONG))

    items.sort(key=rank)
