"""What may be told of a job: its words, without the values of its hyperparameters and environment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from airflow_spot.core.secrets.masking import Mask

#: A FailureReason has at most 1024 characters; a value at the end of one as long as this may be cut.
_CUT_LENGTH = 1000


def redact(text: str, job: Mapping[str, Any]) -> str:
    """
    Take the values of a job's hyperparameters, environment and arguments out of a text about the job.

    SageMaker repeats what it refuses (``Value '{a=b}' at 'hyperParameters' ...``), and its framework containers write
    the script's whole command line into the FailureReason (``train.py --password hunter2``).

    :param text: what SageMaker said.
    :param job: its description, or the request for it.
    """
    if not text:
        return text
    if len(text) < _CUT_LENGTH:
        return Mask.of(job).text(text)
    body = re.sub(r"[\s\",]*(?:exit code:?\s*-?\d+\s*)?$", "", text, flags=re.IGNORECASE)
    return Mask.of(job).text(text, cut_at=len(body))


def redact_description(description: Mapping[str, Any]) -> dict[str, Any]:
    """Return what DescribeTrainingJob said, with values hidden where it quotes the script: why the job failed."""
    made = dict(description)
    if made.get("FailureReason"):
        made["FailureReason"] = redact(str(made["FailureReason"]), description)
    if made.get("SecondaryStatusTransitions"):
        made["SecondaryStatusTransitions"] = [
            told_transition(each, description) for each in made["SecondaryStatusTransitions"]
        ]
    for rules in ("DebugRuleEvaluationStatuses", "ProfilerRuleEvaluationStatuses"):
        if made.get(rules):
            made[rules] = [_told(each, "StatusDetails", description) for each in made[rules]]
    return made


def told_transition(transition: Mapping[str, Any], description: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return one transition of a job; of all messages, only a failed one's holds the script's words."""
    if transition.get("Status") != "Failed":
        return transition
    return _told(transition, "StatusMessage", description)


def _told(said: Mapping[str, Any], name: str, description: Mapping[str, Any]) -> Mapping[str, Any]:
    text = said.get(name)
    return {**said, name: redact(str(text), description)} if text else said
