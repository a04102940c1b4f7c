"""What the tests share: an Airflow small enough to run a task in milliseconds, and requests to train with."""
