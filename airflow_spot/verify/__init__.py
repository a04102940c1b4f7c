"""
Experiments that ask a real SageMaker what this package assumes of it: ``airflow-spot verify-aws``.

A setup creates a few small jobs and notes facts; an experiment compares some of them with what is assumed. The same
experiments run against AWS and against Local SageMaker.
"""
