"""The FailureReason of a job whose processes have failed."""

from __future__ import annotations

from airflow_spot.local.training.job import FAILURE_REASON_CHARACTERS

OUT_OF_MEMORY = (
    "ClientError: Please use an instance type with more memory, or reduce the size of job data processed on an "
    "instance."
)
"""Of a job that has used up its instance's memory [T]."""

CAPACITY_ERROR = (
    "CapacityError: Unable to provision requested ML compute capacity. Please retry using a different ML instance type."
)
"""Of a job that has got no instances [T]."""


def of_container(text: str, code: int) -> str:
    """Return that of a container that is none of AWS's frameworks.

    :param text: of ``/opt/ml/output/failure``; may be empty.
    """
    if not text.strip():
        return f"AlgorithmError: Exit Code: {code}"
    ending = f", exit code: {code}"
    reason = f"AlgorithmError: {text.strip()}"
    return reason[: FAILURE_REASON_CHARACTERS - len(ending)] + ending
