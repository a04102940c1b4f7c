"""Taking over a job that is nobody's yet, where another run may want it at the same moment."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_spot.core.claims import TAG_ADOPTED, TAG_CLAIM, WITHDRAWN, Claims, Step
from airflow_spot.errors import RequestError, RunKilledError, SpotTrainingError

if TYPE_CHECKING:
    from airflow_spot.runs.controller import TrainingRun

#: Seconds between looks at the claims on a job: AWS does not say when a tag that was set is seen by all.
PAUSES = (2.0, 2.0, 4.0, 8.0, 15.0)


def claims_in(run: TrainingRun, job_name: str, tags: Mapping[str, str] | None) -> Claims:
    """
    Return who wants a job.

    :param tags: the job's; None where they may not be read.
    :raises RequestError: then nothing says whose the job is.
    """
    if tags is None:
        raise RequestError(
            f"adopt_job needs sagemaker:ListTags on training job {job_name}: only its tags say whether another run "
            "took it over. Nothing was sent to SageMaker"
        )
    return Claims.of(tags, run.plan.run.key)


def claim(run: TrainingRun, job_name: str, arn: str) -> str:
    """
    Take a job over, unless another run does.

    :return: the key of the run that has it.
    :raises RequestError: its tags may not be set or read.
    :raises SpotTrainingError: another run wants it too, and does not continue.
    :raises RunKilledError: the task was killed meanwhile.
    """
    key = run.plan.run.key
    claims = Claims(None, None, ())
    try:
        for pause in (*PAUSES, None):
            claims = claims_in(run, job_name, run.hook.marks.read(arn))
            step = claims.step(key)
            if claims.owner is not None:
                return claims.owner
            if step is Step.TAKE or pause is None:
                break
            if step in (Step.CLAIM, Step.WITHDRAW):
                claims = replace(claims, ours=run.this_try if step is Step.CLAIM else None)
                _set(run, job_name, arn, TAG_CLAIM + key, str(run.this_try) if step is Step.CLAIM else WITHDRAWN)
            run.pause(pause)
    except BaseException as error:
        # A claim that nobody stands by would keep every other run from the job.
        _withdraw(run, arn, claims)
        if isinstance(error, RunKilledError):
            raise RunKilledError(
                f"Airflow killed this try of run {key} before it adopted training job {job_name}, which was left alone"
            ) from None
        raise
    if step is Step.TAKE:
        _set(run, job_name, arn, TAG_ADOPTED, key)
        return key
    _withdraw(run, arn, claims)
    others = claims.others or ("?",)
    raise SpotTrainingError(
        f"adopt_job is {job_name!r}: run {', '.join(others)} wants to take it over too, and has not done so yet. The "
        f"job was left alone, and none was created. If that run is gone, remove the tag {TAG_CLAIM}{others[0]} from it"
    )


def _withdraw(run: TrainingRun, arn: str, claims: Claims) -> None:
    """Withdraw the run's claim, but for a later try's. It fails nothing: something else is about to be told."""
    if claims.ours is None or claims.ours.number > run.this_try.number:
        return
    with suppress(Exception):
        run.hook.marks.set(arn, {TAG_CLAIM + run.plan.run.key: WITHDRAWN})


def _set(run: TrainingRun, job_name: str, arn: str, tag: str, value: str) -> None:
    if not run.hook.marks.set(arn, {tag: value}):
        raise RequestError(
            f"adopt_job needs sagemaker:AddTags on training job {job_name}: only a tag says that it was adopted. "
            "Nothing was sent to SageMaker"
        )
