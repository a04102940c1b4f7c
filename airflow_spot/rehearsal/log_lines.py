"""What a script's log says of its progress: numbers of steps and epochs, and values of metrics. Pure."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

#: Names of counters, the ones that continue over a whole training first.
COUNTERS = ("global_step", "step", "round", "iteration", "iter", "epoch")
_ALIASES = {"globalstep": "global_step", "global step": "global_step"}
_COUNTER = re.compile(
    r"(?<![A-Za-z0-9_.\-])(?<!best )(global[_ ]?step|step|epoch|round|iteration|iter)\b[\"']?"
    r"\s*[:=#]?\s*[\[(]?\s*(\d+)(?:\s*(?:/|of)\s*\d+)?(?![\d.]*[eE%])",
    re.IGNORECASE,
)
#: XGBoost's and LightGBM's lines, with the tab as SageMaker's log shows it, or as it is.
_BRACKETED = re.compile(r"^\s*\[(\d+)\](?:#011|\t|\s)\S")
#: What a line names behind these words is a step that was trained before.
_OF_A_CHECKPOINT = re.compile(
    r"resum|restor|load|checkpoint|ckpt|\bsav(?:e|ed|ing)\b|continu|already|skip|begin at|from (?:step|epoch|round)",
    re.I,
)
#: A channel's folder or variable in a container.
_CHANNEL = re.compile(
    r"/opt/ml/input/data/(?P<folder>[\w-]+)(?=[/'\"\s]|\.?$|\.\s)|\bSM_CHANNEL_(?P<variable>[A-Z0-9_]+)",
)
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_METRIC = re.compile(
    r"(?<![A-Za-z0-9])([A-Za-z][\w@.\-]*)[\"']?\s*(?:[:=]|\s)\s*(" + _NUMBER + r")\s*(%?)",
)
_METRIC_NAME = re.compile(
    r"(?:^|[_\-.@])(?:\w*loss|acc|accuracy|rmse|mse|mae|auc|error|err|f1|score|perplexity|precision|recall|map|ndcg)$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Line:
    """A line of a script's output.

    :param time: when it was written, seconds since the epoch.
    """

    time: float
    text: str


@dataclass(frozen=True)
class Mark:
    """A line that says how far the training is.

    :param at: the number of the step, epoch or round.
    """

    time: float
    at: int
    text: str


@lru_cache(maxsize=1 << 17)
def counters_of(text: str) -> Mapping[str, int]:
    """Return the counters that a line has, by name; ``[]`` is the name of XGBoost's."""
    found: dict[str, int] = {}
    value = _json(text)
    if value is not None:
        for name, number in value.items():
            known = _ALIASES.get(str(name).lower(), str(name).lower())
            if known in COUNTERS and isinstance(number, (int, float)) and float(number).is_integer():
                found[known] = int(number)
        return found
    bracketed = _BRACKETED.match(text)
    if bracketed:
        return {"[]": int(bracketed[1])}
    for match in _COUNTER.finditer(text):
        if _OF_A_CHECKPOINT.search(text[: match.start()]):
            break
        name = match[1].lower()
        found.setdefault(_ALIASES.get(name, name), int(match[2]))
    return found


def choose_counter(lines: Sequence[Line]) -> str | None:
    """
    Return the name of the counter that tells an uninterrupted training's progress best; None if there is none.

    It must rise from line to line; of several, the one with the most different values.
    """
    series: dict[str, list[int]] = {}
    for line in lines:
        for name, number in counters_of(line.text).items():
            series.setdefault(name, []).append(number)
    rising = {
        name: len(set(values))
        for name, values in ((name, _inner(values)) for name, values in series.items())
        if len(set(values)) > 1 and all(a <= b for a, b in itertools.pairwise(values))
    }
    if not rising:
        return None
    return max(rising, key=lambda name: (rising[name], name in COUNTERS))


def marks(lines: Iterable[Line], counter: str | None, pattern: str | None = None) -> list[Mark]:
    """
    Return the lines that say how far the training is, in their order.

    :param counter: what :func:`choose_counter` returned.
    :param pattern: instead, a regular expression whose first group is the number.
    """
    found = []
    compiled = re.compile(pattern) if pattern else None
    for line in lines:
        if compiled is not None:
            match = compiled.search(line.text)
            at = _integer(match[1]) if match and match.groups() else None
        else:
            at = counters_of(line.text).get(counter) if counter else None
        if at is not None:
            found.append(Mark(line.time, at, line.text))
    begin, end = _trim([mark.at for mark in found])
    return found[begin:end]


def _inner(values: list[int]) -> list[int]:
    begin, end = _trim(values)
    return values[begin:end]


def _trim(values: Sequence[int]) -> tuple[int, int]:
    """Return where numbers begin to tell of progress, and where they end: not with options, not with a summary."""
    begin, end = 0, len(values)
    if end > 2 and values[0] > values[1]:
        begin = 1
    if end - begin > 2 and values[end - 1] < values[end - 2]:
        end -= 1
    return begin, end


def unit_of(counter: str | None) -> str:
    """Return what a counter counts, in the singular."""
    return {None: "step", "[]": "round", "global_step": "step", "iter": "iteration"}.get(counter, counter or "step")


def plural(count: int, unit: str) -> str:
    """Return a number with its unit."""
    return f"{count:,} {unit}" if count == 1 else f"{count:,} {unit}s"


def metric_values(text: str, patterns: Mapping[str, str]) -> dict[str, float]:
    """
    Return the metrics that a line has, by name.

    :param patterns: names and regular expressions whose first group is the value; without any, what has the usual
        names is read: loss, accuracy, rmse, ...
    """
    if patterns:
        found = {}
        for name, pattern in patterns.items():
            match = re.search(pattern, text)
            value = _float(match[1]) if match and match.groups() else None
            if value is not None:
                found[name] = value
        return found
    return dict(_usual_metrics(text))


@lru_cache(maxsize=1 << 17)
def _usual_metrics(text: str) -> Mapping[str, float]:
    whole = _json(text)
    if whole is not None:
        pairs = [(str(name), number) for name, number in whole.items() if not isinstance(number, bool)]
        return {
            name: float(number)
            for name, number in pairs
            if isinstance(number, (int, float)) and _METRIC_NAME.search(name) and math.isfinite(number)
        }
    # SageMaker's log shows a tab as #011, which would be a part of the name behind it.
    found = {}
    for match in _METRIC.finditer(text.replace("#011", "\t")):
        read = _float(match[2])
        if read is not None and _METRIC_NAME.search(match[1]):
            found[match[1]] = read
    return found


def last_metrics(lines: Iterable[Line], patterns: Mapping[str, str]) -> dict[str, float]:
    """Return the last value of each metric."""
    found: dict[str, float] = {}
    for line in lines:
        found.update(metric_values(line.text, patterns))
    return found


def metric_ranges(lines: Iterable[Line], patterns: Mapping[str, str]) -> dict[str, float]:
    """Return how far the values of each metric are apart, from the least to the greatest."""
    values: dict[str, list[float]] = {}
    for line in lines:
        for name, value in metric_values(line.text, patterns).items():
            values.setdefault(name, []).append(value)
    return {name: max(each) - min(each) for name, each in values.items()}


def error_lines(lines: Sequence[Line], count: int = 3) -> list[str]:
    """Return the lines that say why a script failed: of a traceback the place and the error, else the last ones."""
    texts = [line.text for line in lines if line.text.strip()]
    begin = max((i for i, text in enumerate(texts) if text.startswith("Traceback ")), default=None)
    if begin is None:
        return texts[-count:]
    places = [text.strip() for text in texts[begin:] if text.lstrip().startswith("File ")]
    errors = [text for text in texts[begin + 1 :] if not text.startswith(" ")]
    own = [place for place in places if "/ml/code/" in place]
    return [*(own or places)[-1:], *errors[-(count - 1) :]]


def channel_named(lines: Sequence[str]) -> str | None:
    """Return the first channel that lines of an error name, by its folder or its variable; None if they name none."""
    for line in lines:
        if found := _CHANNEL.search(line):
            return found["folder"] or found["variable"].lower()
    return None


def _json(text: str) -> dict[str, Any] | None:
    stripped = text.strip()
    if not (stripped.startswith("{") and stripped.endswith("}")):
        return None
    try:
        value = json.loads(stripped)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _integer(text: str) -> int | None:
    number = _float(text)
    return int(number) if number is not None and number.is_integer() else None


def _float(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None
