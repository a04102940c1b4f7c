"""The JSONPath of batch transform's filters: the operators that AWS documents, as far as they are clear.

"Associate Prediction Results with Input Records" in the developer guide lists ``$``, ``.name``, ``*``,
``['name', ...]``, ``[index, ...]`` and ``[start:end]`` [D].
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_STEP = re.compile(r"\.?\[(?P<inside>[^\[\]]*)\]|\.(?P<name>[^.\[\]*'\s]+)|\.(?P<any>\*)")
_NAMES = re.compile(r"\s*'[^',]+'\s*(,\s*'[^',]+'\s*)*")
_PLACE = re.compile(r"\s*(?:(?P<index>-?\d+)|(?P<start>-?\d*)\s*:\s*(?P<end>-?\d*))\s*")


@dataclass(frozen=True)
class JsonPath:
    """A path that was read.

    :param steps: names, or indexes and slices, each tuple for one pair of brackets; an empty one is the wildcard.
    """

    steps: tuple[tuple[str | int | slice, ...], ...]

    @classmethod
    def parse(cls, text: str) -> JsonPath:
        """Read a path.

        :raises ValueError: if it is none, or none that Local SageMaker reads.
        """
        if not text.startswith("$"):
            raise ValueError(f"{text!r} is not a JSONPath: it must begin with $")
        steps: list[tuple[str | int | slice, ...]] = []
        place = 1
        while place < len(text):
            match = _STEP.match(text, place)
            if match is None:
                raise ValueError(f"{text!r} is not a JSONPath that Local SageMaker reads: {text[place:]!r}")
            if steps and not _single(steps[-1]):
                raise ValueError(f"{text!r}: Local SageMaker reads several children only at the end of a path")
            steps.append(_step(match, text))
            place = match.end()
        return cls(tuple(steps))

    def select(self, value: Any) -> Any:
        """Return what the path finds: one value, an object of several members, or a list.

        :raises LookupError: if something of it is not there.
        """
        for step in self.steps:
            value = _select(step, value)
        return value


ALL = JsonPath(())
"""``$``: the whole value."""


def _single(step: tuple[str | int | slice, ...]) -> bool:
    return len(step) == 1 and not isinstance(step[0], slice)


def _step(match: re.Match[str], text: str) -> tuple[str | int | slice, ...]:
    if match["name"] is not None:
        return (match["name"],)
    inside = match["inside"]
    if match["any"] is not None or inside.strip() == "*":
        return ()
    if _NAMES.fullmatch(inside):
        return tuple(re.findall(r"'([^',]+)'", inside))
    return tuple(_place(part, text) for part in inside.split(","))


def _place(part: str, text: str) -> int | slice:
    match = _PLACE.fullmatch(part)
    if match is None:
        raise ValueError(f"{text!r} is not a JSONPath that Local SageMaker reads: [{part}]")
    if match["index"] is not None:
        return int(match["index"])
    if match["end"]:
        raise ValueError(
            f"{text!r}: Local SageMaker does not implement slices with an end, since AWS's guide and JSONPath differ "
            "on whether it belongs to them; list the indexes"
        )
    return slice(int(match["start"] or 0), None)


def _select(step: tuple[str | int | slice, ...], value: Any) -> Any:
    if not step:
        if isinstance(value, Mapping):
            return list(value.values())
        return list(_list(value))
    if isinstance(step[0], str):
        if not isinstance(value, Mapping):
            raise LookupError(f"{step[0]!r} is looked for in what is not an object")
        found = {name: value[name] for name in step}
        return found[step[0]] if len(step) == 1 else found
    items = _list(value)
    if _single(step):
        return _items(items, step[0])[0]
    return [item for place in step for item in _items(items, place)]


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise LookupError("an index is looked for in what is not an array")
    return value


def _items(items: list[Any], place: Any) -> list[Any]:
    """Return one item, or those of a slice, which must not be empty: AWS refuses indexes that are not there [D]."""
    found = items[place] if isinstance(place, slice) else [items[place]]
    if not found:
        raise LookupError(f"there are only {len(items)} columns")
    return list(found)
