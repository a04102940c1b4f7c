"""SageMaker managed spot training from Airflow that never loses work and never pays twice."""

__version__ = "0.1.0"
