"""How the algorithm reports what goes wrong."""

from __future__ import annotations


class UserError(Exception):
    """What the user can put right: a hyperparameter, the data, a package."""


def needs(package: str, error: ImportError) -> UserError:
    """Return the error for a package that the interpreter lacks."""
    return UserError(
        f"the built-in XGBoost needs {package} ({error}): pip install 'airflow-spot[xgboost]' into the environment of "
        "Local SageMaker, or name another interpreter with --image '*sagemaker-xgboost*=/path/to/python'"
    )
