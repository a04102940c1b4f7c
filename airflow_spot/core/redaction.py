"""What may be told of a job: its words, without the values of its hyperparameters and environment."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from airflow_spot.core.marks import ENV_PREFIX
from airflow_spot.core.parameter_errors import SECRET_FIELDS

HIDDEN = "***"

#: A shorter value is hidden only where it stands as one: behind its name, in quotes, or as ``=value,``. To hide
#: every "1" and "0.1" would leave nothing to read.
_WORD_LENGTH = 4
#: From this length on a value is hidden inside a longer word too.
_ANYWHERE_LENGTH = 8
#: A FailureReason has at most 1024 characters; a value at the end of one as long as this may be cut.
_CUT_LENGTH = 1000

#: What script mode adds itself: where the script is, and where it runs.
_SCRIPT_MODE = frozenset(
    {
        "sagemaker_program",
        "sagemaker_submit_directory",
        "sagemaker_region",
        "sagemaker_job_name",
        "sagemaker_container_log_level",
    }
)


def redact(text: str, job: Mapping[str, Any]) -> str:
    """
    Take the values of a job's hyperparameters and environment out of a text about the job.

    SageMaker repeats what it refuses (``Value '{a=b}' at 'hyperParameters' ...``), and its framework containers write
    the script's whole command line into the FailureReason (``train.py --password hunter2``).

    :param text: what SageMaker said.
    :param job: its description, or the request for it.
    """
    forms: dict[str, set[str]] = {}
    for field in SECRET_FIELDS if text else ():
        for name, value in (job.get(field) or {}).items():
            if not name.startswith(ENV_PREFIX) and name not in _SCRIPT_MODE:
                forms.setdefault(str(name), set()).update(_forms(str(value)))
    for name, written in forms.items():
        text = _without_argument(text, name, written)
    every = sorted(set().union(*forms.values()), key=lambda form: (-len(form), form))
    for form in every:
        text = _without_form(text, form)
    return _without_cut(text, every) if len(text) >= _CUT_LENGTH else text


def redact_description(description: Mapping[str, Any]) -> dict[str, Any]:
    """Return what DescribeTrainingJob said, with values hidden where it quotes the script: why the job failed."""
    made = dict(description)
    if made.get("FailureReason"):
        made["FailureReason"] = redact(str(made["FailureReason"]), description)
    if made.get("SecondaryStatusTransitions"):
        made["SecondaryStatusTransitions"] = [
            told_transition(each, description) for each in made["SecondaryStatusTransitions"]
        ]
    return made


def told_transition(transition: Mapping[str, Any], description: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return one transition of a job; of all messages, only a failed one's holds the script's words."""
    message = transition.get("StatusMessage")
    if not message or transition.get("Status") != "Failed":
        return transition
    return {**transition, "StatusMessage": redact(str(message), description)}


def _forms(value: str) -> set[str]:
    """Write a value in all ways in which containers write it: decoded, in parts, escaped, quoted."""
    plain = {value}
    with suppress(ValueError, RecursionError):
        plain.update(_leaves(json.loads(value)))
    plain.update(line.strip() for text in tuple(plain) for line in text.splitlines())
    written = {form for text in plain for form in (text, json.dumps(text)[1:-1], repr(text)[1:-1], shlex.quote(text))}
    return {form for form in written if form.strip("'\" ")}


def _leaves(value: Any) -> Iterator[str]:
    yield str(value)
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for each in inner:
        if isinstance(each, (str, dict, list)):
            yield from _leaves(each)


def _without_argument(text: str, name: str, forms: set[str]) -> str:
    """Hide what stands behind ``--name`` or ``name=``, also where the end of the value was cut off."""
    name = re.escape(name)
    kept, end = [], 0
    for match in re.finditer(rf"(?<![\w-])(?:--?{name}(?:=|\s+)|{name}=)", text):
        begun = match.end()
        stop = begun + _value_length(text[begun:], forms)
        if begun >= end and stop > begun:
            kept.append(text[end:begun] + HIDDEN)
            end = stop
    return "".join(kept) + text[end:]


def _value_length(text: str, forms: set[str]) -> int:
    """Return how far the value reaches that a text begins with: whole or cut off; of another one, to its word's end."""
    whole = max((len(form) for form in forms if text.startswith(form)), default=0)
    if re.match(r"--\w", text):  # the next option, unless the value looks like one
        return whole
    if whole and not re.match(r"\w", text[whole:]):
        return whole
    known = max((_common(text, form) for form in forms), default=0)
    rest = re.match(r"[^\s\"',}]*", text[known:])
    return known + (rest.end() if rest else 0)


def _common(one: str, other: str) -> int:
    length = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        length += 1
    return length


def _without_form(text: str, form: str) -> str:
    if len(form) >= _ANYWHERE_LENGTH:
        return text.replace(form, HIDDEN)
    literal = re.escape(form)
    text = re.sub(rf"(?<==){literal}(?=[,}}])|(?<=(['\"])){literal}(?=\1)", HIDDEN, text)
    return re.sub(rf"(?<!\w){literal}(?!\w)", HIDDEN, text) if len(form) >= _WORD_LENGTH else text


def _without_cut(text: str, forms: list[str]) -> str:
    """Hide the beginning of a value at the end of a text, which is there where SageMaker cut it."""
    body = re.sub(r"[\s\",]*(?:exit code:?\s*-?\d+\s*)?$", "", text, flags=re.IGNORECASE)
    for form in forms:
        for length in range(min(len(form) - 1, len(body)), _WORD_LENGTH - 1, -1):
            if body.endswith(form[:length]):
                return body[:-length] + HIDDEN + text[len(body) :]
    return text
