"""Runs in the environment under test: everybody at every route of the pages, on this version's whole web app."""

import sys
from pathlib import Path

import airflow_spot

assert "site-packages" in airflow_spot.__file__, airflow_spot.__file__
# Behind all else: the walk is the checkout's, and what it walks through the wheel's.
sys.path.append(str(Path(__file__).parents[3]))

from tests.ui.walk import main  # noqa: E402

sys.exit(main(sys.argv[1]))
