"""Attempts of which only a part is known: read in whole where all of them count, once, at the end of a try."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from airflow_spot.aws.retrying import summarize_error
from airflow_spot.core.attempt import Attempt
from airflow_spot.observers import Log

if TYPE_CHECKING:
    from airflow_spot.hooks.training import SageMakerSpotTrainingHook


def read_whole(
    hook: SageMakerSpotTrainingHook,
    attempts: Sequence[Attempt],
    log: Log,
    wanted: Callable[[Attempt], bool] = lambda attempt: True,
) -> tuple[Attempt, ...]:
    """
    Return a history's attempts with those in whole that are wanted; without those that were deleted meanwhile.

    A training that succeeded is not to fail for its sums: what cannot be read stays as it is, and that is said.
    """
    found, failed = [], False
    for attempt in attempts:
        if attempt.whole or failed or not wanted(attempt):
            found.append(attempt)
            continue
        try:
            whole = hook.read_ended(attempt)
        except (ClientError, BotoCoreError) as error:
            log.warning("Earlier attempts could not be read (%s): the totals leave them out", summarize_error(error))
            whole, failed = attempt, True
        if whole is not None:
            found.append(whole)
    return tuple(found)
