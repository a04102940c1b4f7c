"""What happened to a run, and why, as sentences in the order of time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from airflow_spot.render.ledger_format import AttemptLine, Timeline
from airflow_spot.render.picture import Moment, ending, title
from airflow_spot.render.scale import Scale
from airflow_spot.render.segments import Interruption, end_of, has_tick_before, interruptions, step_at
from airflow_spot.render.words import clean, duration, number, plural, sentence

#: An attempt with more interruptions than this tells them in one sentence, where the story is long.
MOST_TOLD, LONG = 6, 40
_SAGEMAKER = "SageMaker"


@dataclass(frozen=True)
class Line:
    """
    One sentence.

    :param who: whose doing it is: SageMaker's, or the decision of that number.
    :param kind: of what it is, for its mark: ``taken``, ``bad``, ``ok`` or nothing.
    """

    at: float
    clock: str
    who: str
    head: str
    text: str
    kind: str = ""


def story(
    timeline: Timeline,
    attempts: Sequence[AttemptLine],
    decisions: Sequence[tuple[int, float, str, str]],
    at: Moment,
    scale: Scale,
) -> list[Line]:
    """
    Tell a generation.

    :param attempts: its own, oldest first.
    :param decisions: number, time, what and why, of this generation.
    """
    t0 = timeline["t0"]
    found = []
    for nth, time, what, why in decisions:
        found.append(Line(time, "", f"decision {nth}", sentence(clean(what)), clean(why)))
    count = 0
    folds = sum(each["interruptions"] for each in attempts) > LONG
    for attempt in attempts:
        taken = interruptions(attempt)
        count += max(0, attempt["interruptions"] - len(taken))
        if folds and len(taken) > MOST_TOLD:
            found.append(_folded(attempt, taken, t0, scale))
            count += len(taken)
        else:
            for each in taken:
                count += 1
                found.append(_interruption(attempt, each, count, at))
        if attempt["ended"] is not None:
            found.append(_end(attempt))
    # What SageMaker did comes before what was decided of it, and an interruption before the end that it led to.
    found.sort(key=lambda line: (line.at, line.who != _SAGEMAKER, line.kind != "taken"))
    return [Line(each.at, scale.clock(t0 + each.at), each.who, each.head, each.text, each.kind) for each in found]


def _interruption(attempt: AttemptLine, taken: Interruption, nth: int, at: Moment) -> Line:
    parts = list(_consequences(attempt, taken))
    if taken.back is not None:
        parts.append(f"training again after {duration(taken.back - taken.at)}")
    elif attempt["ended"] is not None:
        parts.append("no other instance came")
    elif at.live:
        parts.append(f"not back yet, for {duration(max(0.0, at.now - taken.at))}")
    after = "" if taken.trained is None else f" after {duration(taken.trained)} of training"
    return Line(taken.at, "", _SAGEMAKER, f"Interruption {nth}{after}", "; ".join(parts), "taken")


def _consequences(attempt: AttemptLine, taken: Interruption) -> Iterator[str]:
    if (step := step_at(attempt, taken.at)) is not None:
        yield f"the checkpoint of step {number(step)} stays"
    elif has_tick_before(attempt, taken.at):
        yield "the newest checkpoint stays"
    lost = sum(end - begin for begin, end in attempt["again"] if abs(end - taken.at) < 1.0)
    if lost >= 0.5:
        yield f"{duration(lost)} of it was lost and is trained again"


def _folded(attempt: AttemptLine, taken: Sequence[Interruption], t0: float, scale: Scale) -> Line:
    lost = sum(end - begin for begin, end in attempt["again"])
    again = f"; {duration(lost)} were trained again" if lost >= 0.5 else ""
    span = f"between {scale.clock(t0 + taken[0].at)} and {scale.clock(t0 + taken[-1].at)}"
    head = f"{plural(attempt['interruptions'], 'interruption')} of {title(attempt).lower()}"
    return Line(taken[0].at, "", _SAGEMAKER, head, f"{span}{again}", "taken")


def _end(attempt: AttemptLine) -> Line:
    good = attempt["outcome"] == "completed"
    parts = [ending(attempt)]
    if attempt["exit_code"] is not None and not good:
        parts.append(f"the script ended with exit code {attempt['exit_code']}")
    if attempt["reason"] and not good:
        parts.append(clean(attempt["reason"]).rstrip("."))
    kind = "ok" if good else "bad" if attempt["outcome"] in _FAILURES else ""
    return Line(end_of(attempt, 0.0), "", _SAGEMAKER, f"{title(attempt)} ended", "; ".join(parts), kind)


_FAILURES = frozenset({"script_error", "out_of_memory", "invalid_request", "no_progress", "unknown", "service_error"})
