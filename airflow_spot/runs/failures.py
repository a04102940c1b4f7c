"""The error that a run which cannot continue ends with: what happened, what SageMaker says, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_spot.core.decide import Fail, in_a_row
from airflow_spot.core.history import History
from airflow_spot.core.log_messages import clock
from airflow_spot.core.outcomes import SCRIPT_OUTCOMES, Outcome
from airflow_spot.core.progress import explain as explain_progress
from airflow_spot.core.sentences import sentences
from airflow_spot.core.service_errors import explain
from airflow_spot.errors import error_for
from airflow_spot.runs.checkpoint_folder import look_into
from airflow_spot.runs.suspicion import suspicion_of

if TYPE_CHECKING:
    from airflow_spot.hooks.training import SageMakerSpotTrainingHook

#: Lines of a job's log that are shown when its script failed.
FAILURE_LINES = 20


def failure_of(hook: SageMakerSpotTrainingHook, run_key: str, history: History, action: Fail) -> Exception:
    """
    Return the typed error of a failure.

    Of a script's error, with the last lines of its log; of SageMaker's own again and again, with what is known of that.
    """
    attempt = action.attempt
    refused = [refusal.message for refusal in history.refusals[-1:] if refusal.outcome is action.kind]
    if attempt is None or refused:
        return error_for(action.kind)(sentences(f"Run {run_key} failed: {action.why}", *refused))
    parts = [f"Training job {attempt.job_name} ({attempt.label}): {action.why}"]
    if attempt.failure_reason:
        parts.append(f"SageMaker says: {attempt.failure_reason}")
    if history.reports.last is not None:
        parts.append(f"Its script reported last, at {clock(history.reports.last.at)}: {history.reports.last}")
    if action.kind in SCRIPT_OUTCOMES:
        tail = hook.job_log(attempt.job_name).tail(FAILURE_LINES)
        if tail:
            parts.append("The last lines of its log:\n  " + "\n  ".join(tail))
    if action.kind is Outcome.SERVICE_ERROR and in_a_row(history.past) > 1 and attempt.whole:
        parts.append(explain(look_into(hook, attempt.checkpoint_s3_uri)))
    if action.kind is Outcome.NO_PROGRESS:
        parts.append(explain_progress(history.progress, attempt.checkpoint_s3_uri))
    elif suspicion := suspicion_of(hook, history, attempt, action.kind):
        parts.append(suspicion)
    elif attempt.checkpoint_s3_uri:
        parts.append(f"Checkpoints are kept in {attempt.checkpoint_s3_uri}")
    elif attempt.whole:
        parts.append("The script manages its own checkpoints (use_checkpoints=False)")
    return error_for(action.kind)(sentences(*parts))
