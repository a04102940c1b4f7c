"""What a check before the first job finds, and what cannot be checked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from airflow_spot.core.parameter_errors import InvalidParameterError


class Severity(str, Enum):
    """How bad it is."""

    #: No job will start, or none will end well.
    FAIL = "fail"
    #: It costs time, money or a rung of the ladder.
    WARN = "warn"
    #: Nobody knows: a permission or an answer is missing.
    UNCHECKED = "unchecked"


@dataclass(frozen=True)
class PreflightFinding:
    """
    One thing that would go wrong, or that could not be checked.

    :param check: what was looked at: ``request``, ``credentials``, ``role``, ``bucket``, ``channel``, ``quota``,
        ``type``, ``image``, ``script``, ``cost``.
    :param field: of the request, or the parameter.
    :param value: of it, as it may be shown.
    :param why: what is wrong with it, and what comes of that; or why it was not checked.
    :param fix: what to do.
    :param rung: the rung that it keeps from running; empty where it is about all.
    :param link: where to do it.
    """

    check: str
    severity: Severity
    field: str
    value: str
    why: str
    fix: str = ""
    rung: str = ""
    link: str = ""

    def __str__(self) -> str:
        subject = f"{self.field} {self.value}".strip()
        where = f" ({self.rung})" if self.rung and self.rung not in self.why else ""
        rest = f". {self.fix[:1].upper()}{self.fix[1:]}" if self.fix else ""
        # At the end, without a full stop that would be copied along.
        rest += f": {self.link}" if self.link else ""
        begin = "not checked: " if self.severity is Severity.UNCHECKED else ""
        return f"{begin}{subject}{where}: {self.why}{rest}"

    def to_json(self) -> dict[str, str]:
        """Return it as JSON; what it does not have is empty."""
        return {
            "check": self.check,
            "severity": self.severity.value,
            "field": self.field,
            "value": self.value,
            "why": self.why,
            "fix": self.fix,
            "rung": self.rung,
            "link": self.link,
        }


def of_error(error: InvalidParameterError) -> PreflightFinding:
    """Return a finding of what is wrong with a parameter or field; it tells no value that may be a secret."""
    return PreflightFinding("request", Severity.FAIL, error.name, error.shown, "the task would fail with it", error.fix)


def not_checked(check: str, field: str, value: str, why: str) -> PreflightFinding:
    """Return that something could not be checked, and why."""
    return PreflightFinding(check, Severity.UNCHECKED, field, value, why)


def weigh(findings: Iterable[PreflightFinding], rungs: Iterable[str]) -> list[PreflightFinding]:
    """
    Return findings, worst first, each once: what keeps one rung from running is a warning while another runs.

    :param rungs: all of the ladder.
    """
    found = list(dict.fromkeys(findings))
    out = {each.rung for each in found if each.rung and each.severity is Severity.FAIL}
    if set(rungs) - out:
        found = [
            replace(each, severity=Severity.WARN) if each.rung and each.severity is Severity.FAIL else each
            for each in found
        ]
    order = list(Severity)
    return sorted(dict.fromkeys(found), key=lambda each: order.index(each.severity))


def to_json(findings: Iterable[PreflightFinding]) -> list[dict[str, Any]]:
    """Return findings as JSON."""
    return [each.to_json() for each in findings]
