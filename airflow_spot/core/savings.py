"""What spot saved."""

from __future__ import annotations


def savings_percent(training_seconds: float, billable_seconds: float) -> float | None:
    """
    Compute AWS's own measure, ``1 - BillableTimeInSeconds / TrainingTimeInSeconds``, in per cent.

    Source: the managed spot training guide of SageMaker's documentation.

    :return: None where nothing was trained.
    """
    if training_seconds <= 0:
        return None
    return round(100 * (1 - billable_seconds / training_seconds), 1)
