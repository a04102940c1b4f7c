"""``airflow-spot local``: Local SageMaker in the foreground."""

from airflow_spot.local.cli import add_arguments, add_parser, main, run

__all__ = ["add_arguments", "add_parser", "main", "run"]
