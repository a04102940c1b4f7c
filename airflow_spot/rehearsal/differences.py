"""Whether what an interrupted training makes is what an uninterrupted one makes. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from airflow_spot.rehearsal.log_lines import Line, counters_of, last_metrics, metric_ranges, metric_values, unit_of
from airflow_spot.rehearsal.observations import Reading, Trial
from airflow_spot.rehearsal.resumes import resumes

#: Of how far a metric moves in a training; what is less is no difference.
TOLERANCE = 0.05
#: How much worse than uninterrupted a metric may be just after a resume, of how far it moves in a training.
BREAK = 0.25
#: So many times the difference of two uninterrupted runs is no difference.
CHANCE = 3.0
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_SHARE = re.compile(r"acc|auc|f1|precision|recall|map", re.IGNORECASE)


@dataclass(frozen=True)
class Comparison:
    """
    What came of the interrupted trainings, against the uninterrupted one.

    :param differs: whether a result differs by more than chance and tolerance.
    :param says: how, in words.
    :param unequal: models whose bytes differ, where the result does not; None if there are none.
    :param breaks: where a metric falls back at a resume.
    :param unjudged: what could not be compared.
    """

    differs: bool = False
    says: str = ""
    evidence: tuple[str, ...] = ()
    unequal: str | None = None
    breaks: tuple[str, ...] = ()
    unjudged: tuple[str, ...] = ()


def models_differ(baseline: Trial, others: Iterable[Trial]) -> bool:
    """Return whether a training that was interrupted, and completed, left another model than the uninterrupted one."""
    return any(trial.model != baseline.model for trial in others if trial.completed)


def compare(baseline: Trial, again: Trial | None, others: Sequence[Trial], reading: Reading) -> Comparison:
    """
    Compare results.

    :param again: a second uninterrupted training, where the models differ.
    """
    done = [trial for trial in others if trial.completed and trial.cuts]
    unjudged = []
    complaint = next((trial.complaint for trial in (baseline, *others) if trial.complaint), None)
    if complaint is not None:
        unjudged.append(f"the model's answers: --compare failed with {complaint}")
    if baseline.model == {}:
        unjudged.append("the model: the script leaves nothing in /opt/ml/model")
    changed = [trial for trial in done if not baseline.model or trial.model != baseline.model]
    breaks = _breaks(baseline, done, reading)
    if not changed:
        return Comparison(breaks=breaks, unjudged=tuple(unjudged))
    evidence = _unequal_files(baseline, changed)
    chance = again is not None and again.model != baseline.model
    by_metric = _by_metric(baseline, again, changed, reading)
    by_answer = _by_answer(baseline, again, changed)
    missing = next((trial for trial in changed if baseline.model and not trial.model), None)
    if missing is not None:
        says = "the result differs: no model against one"
        return Comparison(
            True, says, (f"{_where(missing)}: nothing was left in /opt/ml/model.", *breaks), unjudged=tuple(unjudged)
        )
    worst = next((each for each in (*by_metric, *by_answer) if each.differs), None)
    if worst is not None:
        lines = (f"{_where(worst.trial)}: {worst.says}.", *worst.evidence, *breaks)
        return Comparison(True, f"the result differs: {worst.says}", lines, unjudged=tuple(unjudged))
    told = [each.says for each in (*by_metric, *by_answer)][:1]
    if baseline.model and not told:
        unjudged.append("how much the models differ: --metric NAME=REGEX or --compare COMMAND tells")
    if not baseline.model:
        return Comparison(breaks=breaks, unjudged=tuple(unjudged))
    sound = "sound, but not bit-equal" if told else "not bit-equal"
    why = ": two uninterrupted runs differ, too" if chance else "".join(f": {each}" for each in told)
    return Comparison(evidence=evidence, unequal=sound + why, breaks=breaks, unjudged=tuple(unjudged))


@dataclass(frozen=True)
class _Difference:
    trial: Trial
    differs: bool
    says: str
    weight: float = 0.0
    evidence: tuple[str, ...] = ()


def _by_metric(baseline: Trial, again: Trial | None, changed: Sequence[Trial], reading: Reading) -> list[_Difference]:
    """Return the differences of the last metrics, the greatest first."""
    alone = last_metrics(_lines(baseline), reading.metrics)
    ranges = metric_ranges(_lines(baseline), reading.metrics)
    second = last_metrics(_lines(again), reading.metrics) if again is not None else {}
    found = []
    for trial in changed:
        values = last_metrics(_lines(trial), reading.metrics)
        for name in alone.keys() & values.keys():
            chance = abs(alone[name] - second[name]) if name in second else 0.0
            scale = ranges[name] or abs(alone[name]) or 1.0
            difference = abs(values[name] - alone[name])
            differs = difference > max(TOLERANCE * scale, CHANCE * chance)
            says = f"{name} {_value(name, values[name])} against {_value(name, alone[name])}"
            found.append(_Difference(trial, differs, says, difference / scale))
    return sorted(found, key=lambda each: (not each.differs, -each.weight, each.says))


def _by_answer(baseline: Trial, again: Trial | None, changed: Sequence[Trial]) -> list[_Difference]:
    if baseline.answers is None:
        return []
    chance = again is not None and again.answers is not None and differ(again.answers, baseline.answers)
    found = []
    for trial in changed:
        if trial.answers is None:
            continue
        unlike = differ(trial.answers, baseline.answers)
        says = "the model's answers" if unlike else "its answers are the same"
        evidence = _first_difference(trial.answers, baseline.answers) if unlike else ()
        found.append(_Difference(trial, unlike and not chance, says, evidence=evidence))
    return sorted(found, key=lambda each: not each.differs)


def differ(one: str, other: str) -> bool:
    """Return whether two answers differ: in their text, or in their numbers by more than the tolerance."""
    if _NUMBER.sub("#", one) != _NUMBER.sub("#", other):
        return True
    pairs = list(zip(map(float, _NUMBER.findall(one)), map(float, _NUMBER.findall(other)), strict=True))
    scale = max((abs(b) for _, b in pairs), default=0.0)
    return any(abs(a - b) > TOLERANCE * max(abs(b), TOLERANCE * scale) for a, b in pairs)


def _first_difference(one: str, other: str) -> tuple[str, ...]:
    for left, right in zip(one.splitlines(), other.splitlines(), strict=False):
        if differ(left, right):
            return (f"  {left.strip()[:200]}", "against", f"  {right.strip()[:200]}")
    return (f"{len(one.splitlines())} lines against {len(other.splitlines())}",)


def _unequal_files(baseline: Trial, changed: Sequence[Trial]) -> tuple[str, ...]:
    trial = changed[0]
    ours, alone = trial.model or {}, baseline.model or {}
    names = sorted(name for name in ours.keys() | alone.keys() if ours.get(name) != alone.get(name))
    if not names:
        return ()
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    where = ", ".join(each.scenario.value for each in changed)
    return (f"Other bytes than uninterrupted in {', '.join(names[:3])}{more}: {where}.",)


def _where(trial: Trial) -> str:
    text = trial.scenario.value
    return text[:1].upper() + text[1:]


def _breaks(baseline: Trial, done: Sequence[Trial], reading: Reading) -> tuple[str, ...]:
    """Return where a metric is, just after a resume, nearer to its first value than to that of the same step."""
    alone = _by_step(_lines(baseline), reading)
    if not alone:
        return ()
    begin, unit = alone[min(alone)], unit_of(reading.counter)
    ranges = metric_ranges(_lines(baseline), reading.metrics)
    for trial in done:
        for each in resumes(trial, reading):
            if each.first is None or each.first not in alone:
                continue
            own = _by_step(each.start.lines, reading).get(each.first, {})
            for name, value in own.items():
                there, first = alone[each.first].get(name), begin.get(name)
                if there is None or first is None:
                    continue
                if abs(value - there) > BREAK * ranges[name] and abs(value - first) < abs(value - there):
                    alone_said = f"{_value(name, there)} there, and {_value(name, first)} at the first {unit}"
                    return (
                        f"{_where(trial)}: after the resume, at {unit} {each.first}, {name} is {_value(name, value)}; "
                        f"uninterrupted it is {alone_said}.",
                    )
    return ()


def _by_step(lines: Iterable[Line], reading: Reading) -> dict[int, dict[str, float]]:
    """Return the metrics of each step: those on its line, and on the lines up to the next step's."""
    found: dict[int, dict[str, float]] = {}
    at = None
    for line in lines:
        if reading.step is not None:
            match = re.search(reading.step, line.text)
            number = int(match[1]) if match and match.groups() and (match[1] or "").isdigit() else None
        else:
            number = counters_of(line.text).get(reading.counter or "")
        at = at if number is None else number
        if at is not None:
            found.setdefault(at, {}).update(metric_values(line.text, reading.metrics))
    return found


def _lines(trial: Trial) -> list[Line]:
    return [line for start in trial.starts for line in start.lines]


def _value(name: str, value: float) -> str:
    if _SHARE.search(name) and 0 <= value <= 1:
        return f"{100 * value:.1f} %"
    return f"{value:.4g}"


def metrics_of(trial: Trial, patterns: Mapping[str, str]) -> dict[str, float]:
    """Return the last metrics of a trial."""
    return last_metrics(_lines(trial), patterns)
