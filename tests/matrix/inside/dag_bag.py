"""Runs in the environment under test: every DAG of some folders imports, without a warning that is ours."""

import sys
import warnings

warnings.filterwarnings("error", module=r"airflow_spot(\.|$)")

try:
    from airflow.dag_processing.dagbag import DagBag
except ImportError:  # Airflow below 3.2
    from airflow.models.dagbag import DagBag  # type: ignore[no-redef]

folders, *expected = sys.argv[1:]
found = set()
for folder in folders.split(":"):
    bag = DagBag(folder)
    assert not bag.import_errors, bag.import_errors
    assert bag.dags, folder
    found |= set(bag.dags)
assert found >= set(expected), sorted(found)
sys.stdout.write(" ".join(sorted(found)) + "\n")
