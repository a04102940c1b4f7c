"""Hypothesis without its deadline: a busy machine is no bug."""

from hypothesis import settings

settings.register_profile("airflow_spot", deadline=None, print_blob=True)
settings.load_profile("airflow_spot")
