"""Pure values and functions: no Airflow, no boto3, no clock, no I/O. Everything here is tested in milliseconds."""
