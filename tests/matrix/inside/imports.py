"""Runs in the environment under test: every module of the wheel imports, and warns of nothing."""

import importlib
import pkgutil
import sys
import warnings

import airflow

import airflow_spot

# What the extras bring is not in an environment that installs the wheel alone, nor are the frameworks of scripts.
EXTRAS = ("airflow_spot.local", "airflow_spot.cli", "airflow_spot.rehearsal", "airflow_spot.checkpoint.for_")

# Each is for the web server of one of them.
OTHERS = ("airflow_spot.ui.fastapi_app",) if airflow.__version__.startswith("2.") else ("airflow_spot.ui.blueprint",)

warnings.filterwarnings("error", module=r"airflow_spot(\.|$)")
assert "site-packages" in airflow_spot.__file__, airflow_spot.__file__
names = [found.name for found in pkgutil.walk_packages(airflow_spot.__path__, "airflow_spot.")]
names = [name for name in names if not name.startswith((*EXTRAS, *OTHERS))]
for name in ["airflow_spot.cli.main", *names]:
    importlib.import_module(name)
assert not {"moto", "sagemaker", "aiobotocore"} & set(sys.modules)
sys.stdout.write(f"{len(names)} modules\n")
