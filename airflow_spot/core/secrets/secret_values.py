"""What of a job may be a secret: values of its hyperparameters, environment and arguments, and tokens in its URLs."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from airflow_spot.core.marks import ENV_PREFIX
from airflow_spot.core.parameter_errors import SECRET_ARGUMENTS, SECRET_FIELDS
from airflow_spot.core.urls import credentials

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
#: No secret, and in every other line: JSON's constants, the levels of a log, the command of SageMaker's containers.
PLAIN_WORDS = frozenset({"true", "false", "null", "none", "debug", "info", "warning", "error", "critical", "train"})
#: What SageMaker says of a job, whose links are its own.
_TOLD = frozenset({"FailureReason", "SecondaryStatusTransitions"})


@dataclass(repr=False)
class SecretValues:
    """
    What of a job may not be told.

    :ivar named: by the name that it may stand behind, each value in all forms.
    :ivar plain: the values as they are: whole, their lines, and what is in them where they are JSON.
    """

    named: dict[str, set[str]] = field(default_factory=dict)
    plain: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, job: Mapping[str, Any]) -> SecretValues:
        """
        Collect them.

        :param job: its description, or the request for it.
        """
        made = cls()
        for where in SECRET_FIELDS:
            for name, value in (job.get(where) or {}).items():
                if not str(name).startswith(ENV_PREFIX) and name not in _SCRIPT_MODE:
                    made._add(str(name), str(value))
        algorithm = job.get("AlgorithmSpecification") or {}
        for where in SECRET_ARGUMENTS:
            # The entrypoint is a program; the arguments may hold a secret anywhere.
            for name, value in _arguments(algorithm.get(where) or (), bare=where == "ContainerArguments"):
                made._add(name, value)
        for token in credentials({name: value for name, value in job.items() if name not in _TOLD}):
            made._add("", token)
        return made

    @property
    def words(self) -> set[str]:
        """Return all plain values but those that are no secret."""
        return {text for text in self.plain if text.strip("'\" \n").casefold() not in PLAIN_WORDS}

    def _add(self, name: str, value: str) -> None:
        texts = {value}
        names = {name}
        with suppress(ValueError, RecursionError):
            for inner, text in _leaves(json.loads(value)):
                texts.add(text)
                if inner:
                    self.named.setdefault(inner, set()).update(forms(text))
        texts.update(line.strip() for text in tuple(texts) for line in text.splitlines())
        self.plain.update(texts)
        if not name:
            return
        # argparse's Namespace, and the variables of SageMaker's containers.
        names |= {name.replace("-", "_"), f"SM_HP_{name.upper()}", f"SM_HP_{re.sub('[^A-Z0-9_]', '_', name.upper())}"}
        written = {form for text in texts for form in forms(text)}
        for each in names:
            self.named.setdefault(each, set()).update(written)


def forms(text: str) -> set[str]:
    """Return a text as containers write it: as it is, escaped, quoted."""
    written = {
        text,
        json.dumps(text)[1:-1],
        json.dumps(text, ensure_ascii=False)[1:-1],
        repr(text)[1:-1],
        ascii(text)[1:-1],
        shlex.quote(text),
    }
    return {form for form in written if form.strip("'\" ")}


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield what is in a JSON value, and the names in it."""
    yield name, str(value)
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner)
    elif isinstance(value, float):
        yield name, json.dumps(value)


def _arguments(words: Sequence[Any] | str, *, bare: bool) -> Iterator[tuple[str, str]]:
    """
    Yield the values of a command line, and their names.

    :param bare: whether a word that has no name is a value too.
    """
    given: Iterable[Any] = [words] if isinstance(words, str) else words
    name = ""
    for word in map(str, given):
        option = re.fullmatch(r"--?([A-Za-z_][\w.-]*)(?:=(.*))?", word, re.DOTALL)
        assigned = re.fullmatch(r"([A-Za-z_][\w.-]*)=(.*)", word, re.DOTALL)
        if option is not None and option[2] is None:
            name = option[1]
            continue
        if option is not None:
            yield option[1], option[2]
        elif name or bare:
            yield name, word
        if option is None and assigned is not None:
            yield assigned[1], assigned[2]
        if option is None and re.search(r"\s", word):  # a line for a shell
            with suppress(ValueError):
                yield from _arguments(shlex.split(word), bare=False)
        name = ""
