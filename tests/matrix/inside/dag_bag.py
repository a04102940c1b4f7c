"""Runs in the environment under test: every DAG of a folder imports, without a warning that is ours."""

import sys
import warnings

warnings.filterwarnings("error", module=r"airflow_spot(\.|$)")

try:
    from airflow.dag_processing.dagbag import DagBag
except ImportError:  # Airflow below 3.2
    from airflow.models.dagbag import DagBag

bag = DagBag(sys.argv[1], include_examples=False)
assert not bag.import_errors, bag.import_errors
assert set(bag.dags) >= set(sys.argv[2:]), sorted(bag.dags)
sys.stdout.write(" ".join(sorted(bag.dags)) + "\n")
