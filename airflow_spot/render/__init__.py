"""Pages as text: values in, HTML and SVG out. Nothing here knows Airflow, boto3 or SageMaker's API."""
