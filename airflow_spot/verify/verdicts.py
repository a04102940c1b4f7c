"""What is assumed of a fact, and whether what was seen agrees. No I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

Facts = Mapping[str, Any]


@dataclass(frozen=True)
class Expectation:
    """
    What is assumed of one fact.

    :param fact: its name among the facts of a setup.
    :param words: what is assumed, to be read behind the name: ``is 'ResourceInUse'``.
    :param holds: whether a value agrees.
    """

    fact: str
    words: str
    holds: Callable[[Any], bool]


def equals(fact: str, value: Any) -> Expectation:
    """Return the expectation of one value; ``None`` is that of a member that is not there."""
    words = "is absent" if value is None else f"is {value!r}"
    # 1 == True in Python; of a service's answer they are two things.
    return Expectation(fact, words, lambda seen: type(seen) is type(value) and seen == value)


def one_of(fact: str, *values: Any) -> Expectation:
    """Return the expectation of one of some values."""
    words = "is " + " or ".join("absent" if value is None else repr(value) for value in values)
    return Expectation(fact, words, lambda seen: any(type(seen) is type(value) and seen == value for value in values))


def matches(fact: str, pattern: str) -> Expectation:
    """Return the expectation of a text in which a regular expression is found; line ends are as other characters."""
    found = re.compile(pattern, re.DOTALL)
    return Expectation(fact, f"matches {pattern!r}", lambda seen: isinstance(seen, str) and bool(found.search(seen)))


def between(fact: str, low: float, high: float) -> Expectation:
    """Return the expectation of a number in a range, both ends included."""
    return Expectation(fact, f"is {low:g} to {high:g}", lambda seen: _is_number(seen) and low <= seen <= high)


def in_order(fact: str, *words: str) -> Expectation:
    """Return the expectation of a list that holds these in this order; others may be between them."""
    return Expectation(fact, f"has {', '.join(words)} in this order", lambda seen: _has_in_order(seen, words))


def _is_number(seen: Any) -> bool:
    return isinstance(seen, (int, float)) and not isinstance(seen, bool)


def _has_in_order(seen: Any, words: Sequence[str]) -> bool:
    if not isinstance(seen, (list, tuple)):
        return False
    rest = iter(seen)
    return all(word in rest for word in words)


class Kind(Enum):
    """How an experiment came out."""

    AS_ASSUMED = "as assumed"
    DIFFERS = "differs"
    NOT_REACHED = "not reached"


@dataclass(frozen=True)
class Verdict:
    """
    How an experiment came out.

    :param detail: what differs, or why it was not reached; else empty.
    """

    kind: Kind
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.kind.value}: {self.detail}" if self.detail else self.kind.value


def judge(
    expectations: Sequence[Expectation],
    facts: Facts,
    reason: str,
    why: Mapping[str, str] | None = None,
    told: Callable[[Any], Any] = lambda value: value,
) -> Verdict:
    """
    Compare what was seen with what is assumed.

    What differs counts, whatever else was not seen; "as assumed" needs every fact.

    :param facts: what was seen; a fact that is not in it was not reached.
    :param reason: why facts are missing; may be empty.
    :param why: the same for single facts, which goes before it.
    :param told: what of a fact's value or of a reason is told in the detail; it is judged as it is.
    """
    different = [
        f"{each.fact} is {told(facts[each.fact])!r}, assumed: {each.words}"
        for each in expectations
        if each.fact in facts and not each.holds(facts[each.fact])
    ]
    if different:
        return Verdict(Kind.DIFFERS, "; ".join(different))
    missing = [each.fact for each in expectations if each.fact not in facts]
    if missing or not expectations:
        reasons = {fact: (why or {}).get(fact, reason) for fact in missing}
        texts = dict.fromkeys(str(told(text)) if text else f"{fact} was not seen" for fact, text in reasons.items())
        return Verdict(Kind.NOT_REACHED, "; ".join(texts) or "nothing is expected")
    return Verdict(Kind.AS_ASSUMED)
