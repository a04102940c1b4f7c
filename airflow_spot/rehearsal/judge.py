"""From what was seen of a script to what can be said of it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from airflow_spot.rehearsal.differences import Comparison, compare
from airflow_spot.rehearsal.log_lines import Mark, channel_named, error_lines, marks, plural, unit_of
from airflow_spot.rehearsal.observations import INTERRUPTED, Reading, Scenario, Trial
from airflow_spot.rehearsal.resumes import (
    Resume,
    first_step,
    kept,
    last_step,
    resumes,
    spacing,
    steps_trained,
)
from airflow_spot.rehearsal.saves import saves_of
from airflow_spot.rehearsal.verdicts import Kind, Verdict, worst_first

#: So many checkpoints of one kind may be left, or none of them was deleted.
MANY_CHECKPOINTS = 5
MARKER_SUFFIXES = (".sagemaker-uploaded", ".sagemaker-uploading")


@dataclass(frozen=True)
class Judgement:
    """
    All that can be said.

    :param verdicts: the worst first.
    :param unjudged: what could not be judged, and why, a sentence each.
    """

    verdicts: tuple[Verdict, ...]
    unjudged: tuple[str, ...]

    @property
    def sound(self) -> bool:
        """Whether there is no fault."""
        return not any(verdict.fault for verdict in self.verdicts)


def judge(trials: Sequence[Trial], reading: Reading) -> Judgement:
    """
    Say what can be said of a script.

    :param trials: first the uninterrupted one; of the others those that there are.
    """
    baseline, others = trials[0], [trial for trial in trials[1:] if trial.scenario in INTERRUPTED]
    if not baseline.completed:
        return Judgement((_uninterrupted_failure(baseline),), ())
    again = next((trial for trial in trials if trial.scenario is Scenario.AGAIN), None)
    found = [
        *_failures(others, reading),
        *_no_checkpoint(baseline, others, reading),
        *_lost_progress(baseline, others, reading),
        *_without_end(others),
        *_kept(baseline, reading),
    ]
    comparison = compare(baseline, again, others, reading)
    found += _differences(comparison)
    if not any(verdict.fault and verdict.kind is not Kind.KEEPS_EVERYTHING for verdict in found):
        found += _sound(baseline, others, reading, comparison)
    return Judgement(tuple(worst_first(found)), tuple(_unjudged(trials, reading, found, comparison)))


def of_markers(
    with_them: Sequence[Verdict], trial: Trial, control: Trial, without: Sequence[Verdict], reading: Reading
) -> Verdict | None:
    """
    Say whether a fault comes of SageMaker's files beside the checkpoints; None if it does not.

    :param with_them: what was said of a trial with such files.
    :param trial: that one; its log may name one.
    :param control: the same one without them.
    :param without: what was said of that.
    """
    if not control.completed or (trial.scenario is not Scenario.UNINTERRUPTED and not _goes_on(control, reading)):
        return None
    faults = [verdict for verdict in with_them if verdict.fault]
    gone = [verdict for verdict in faults if verdict.kind not in {each.kind for each in without}]
    named = [line for line in _ends(trial) if any(suffix in line for suffix in MARKER_SUFFIXES)]
    if not gone:
        return None
    says = f"takes marker files for checkpoints: {gone[0].says} with SageMaker's files beside them, and not without"
    return Verdict(
        Kind.MARKER_FILES,
        says,
        (*gone[0].evidence, *(line for line in named[:1] if f"  {line}" not in gone[0].evidence)),
    )


def counts_anew(trial: Trial, baseline: Trial, reading: Reading) -> bool:
    """
    Return whether each start counts from the beginning, though it does not train from there.

    ``xgboost.train`` with ``xgb_model`` does: the last start ends below the last step.
    """
    begin, end = first_step(baseline, reading), last_step(baseline, reading)
    own = marks(trial.starts[-1].lines, reading.counter, reading.step) if trial.starts else []
    if not trial.completed or begin is None or end is None or not own:
        return False
    return own[0].at <= begin and max(mark.at for mark in own) < end


def _goes_on(trial: Trial, reading: Reading) -> bool:
    """Return whether a start was seen to resume from a checkpoint."""
    begin = first_step(trial, reading)
    return any(
        each.saved is not None and each.first is not None and begin is not None and each.first > begin
        for each in resumes(trial, reading)
    )


def _ends(trial: Trial) -> list[str]:
    """Return the lines in which the starts that failed say why."""
    return [line for start in trial.starts if start.code for line in error_lines(start.lines, 3)]


def _uninterrupted_failure(baseline: Trial) -> Verdict:
    if baseline.secondary == "MaxRuntimeExceeded":
        says = f"does not end within --max-run, {_seconds(baseline.seconds)}"
        return Verdict(Kind.FAILS_UNINTERRUPTED, says, ("Uninterrupted. Give it fewer steps by --hyperparameter.",))
    start = baseline.starts[-1] if baseline.starts else None
    if start is None or start.code in (None, 0):
        return Verdict(
            Kind.FAILS_UNINTERRUPTED,
            "fails without any interruption",
            (f"Its script never ran. {baseline.reason or ''}".strip(),),
        )
    errors = error_lines(start.lines)
    hint = [
        f"It reads the channel {name!r}: is its data given (--channel {name}=DIR), with that file in it?"
        for name in (channel_named(errors),)
        if name is not None
    ]
    return Verdict(
        Kind.FAILS_UNINTERRUPTED,
        "fails without any interruption",
        (f"Exit code {start.code}:", *_quoted(errors), *hint),
    )


def _quoted(lines: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"  {line.strip()}" for line in lines)


# ---- starts that fail


def _failed(trial: Trial, reading: Reading) -> Resume | None:
    """Return the start of a trial that failed by itself, after the first."""
    found = resumes(trial, reading)
    return found[-1] if found and trial.status == "Failed" else None


def _failures(others: Sequence[Trial], reading: Reading) -> list[Verdict]:
    failed = [(trial, each) for trial in others if (each := _failed(trial, reading)) is not None]
    if not failed:
        return _failures_by_chance(others)
    survived = [trial for trial in others if trial.completed and trial.cuts]
    torn = [(trial, each) for trial, each in failed if each.torn]
    whole = [(trial, each) for trial, each in failed if not each.torn]
    found = []
    if torn and (survived or not whole):
        trial, resume = torn[0]
        file = resume.torn[0]
        usual = max((write.size for write in trial.writes if write.ended is not None), default=0)
        beside = len(resume.start.restored) - len(resume.torn)
        found.append(
            Verdict(
                Kind.TORN_FILE,
                "fails at a torn file",
                (
                    f"{_upper(trial.scenario.value)}: {file.key} was left with {_bytes(file.size)} of some "
                    f"{_bytes(usual)}"
                    + (f", {plural(beside, 'whole file')} beside it" if beside else ", and no other file")
                    + f". The next start ended with exit code {resume.start.code}:",
                    *_quoted(error_lines(resume.start.lines)),
                ),
            )
        )
    else:
        whole = failed
    if whole:
        found.append(_failed_resume(whole, survived))
    return found


def _failures_by_chance(others: Sequence[Trial]) -> list[Verdict]:
    """Return what is to be said of a script that fails before it is interrupted, and did not when it ran alone."""
    for trial in others:
        if trial.status == "Failed" and len(trial.starts) == 1:
            start = trial.starts[0]
            says = "fails at times without any interruption"
            lines = (f"Exit code {start.code}:", *_quoted(error_lines(start.lines)))
            return [Verdict(Kind.FAILS_UNINTERRUPTED, says, lines)]
    return []


def _failed_resume(failed: Sequence[tuple[Trial, Resume]], survived: Sequence[Trial]) -> Verdict:
    trial, resume = failed[0]
    names = ", ".join(each.scenario.value for each, _ in failed)
    if not survived and resume.number == 2:
        says, where = "fails at the first resume", _upper(names)
    else:
        says, where = f"fails at a resume: {names}", _upper(trial.scenario.value)
    lines = error_lines(resume.start.lines)
    evidence = f"{where}: start {resume.number} ended with exit code {resume.start.code}:"
    return Verdict(Kind.FAILS_AT_RESUME, says, (evidence, *_quoted(lines)))


# ---- what was lost


def _no_checkpoint(baseline: Trial, others: Sequence[Trial], reading: Reading) -> list[Verdict]:
    unit = unit_of(reading.counter)
    steps = steps_trained(baseline, reading)
    within = _seconds(baseline.seconds) + (f", {plural(steps, unit)}" if steps else "")
    if baseline.writes:
        begun = min(write.began for write in baseline.writes)
        last = baseline.starts[-1]
        before = sum(1 for mark in _marks(baseline, reading) if mark.time <= begun)
        if steps > 1 and before >= steps:
            return [
                Verdict(
                    Kind.NO_CHECKPOINT,
                    f"no checkpoint within {within}",
                    (f"The first is written after the last {unit}, {_seconds(begun - last.began)} after the start.",),
                )
            ]
        return []
    evidence = "Nothing is written to /opt/ml/checkpoints while it trains."
    by_signal = [trial for trial in others if trial.scenario is Scenario.TERMINATED and trial.writes]
    if by_signal:
        evidence += " Only SIGTERM makes it write; an instance may go without one."
    return [Verdict(Kind.NO_CHECKPOINT, f"no checkpoint within {within}", (evidence,))]


def _lost_progress(baseline: Trial, others: Sequence[Trial], reading: Reading) -> list[Verdict]:
    begin, unit = first_step(baseline, reading), unit_of(reading.counter)
    if begin is None:
        return []
    least, saves = spacing(baseline, reading), saves_of(baseline, reading)
    most = saves.every
    if most is not None and most > least:
        # A line of the uninterrupted run's log may have come late, and two checkpoints seem to be nearer.
        most += least
    nothing: list[tuple[Trial, Resume]] = []
    again: list[tuple[Trial, Resume]] = []
    for trial in others:
        if counts_anew(trial, baseline, reading):
            continue
        for each in resumes(trial, reading, saves):
            if each.first is None or each.saved is None:
                continue
            if each.first <= begin and each.neglected > least:
                nothing.append((trial, each))
            elif most is not None and each.neglected > max(least, most):
                again.append((trial, each))
    found = []
    if nothing:
        only_torn = all(each.torn for _, each in nothing)
        says = "starts from nothing" + (" at a torn file" if only_torn else "")
        found.append(Verdict(Kind.STARTS_FROM_NOTHING, says, _told(nothing, baseline, reading)))
    if again:
        most = max(each.repeated for _, each in again)
        says = f"resumes, but trains up to {plural(most, unit)} again"
        found.append(Verdict(Kind.REPEATS, says, _told(again, baseline, reading)))
    return found


def _told(found: Sequence[tuple[Trial, Resume]], baseline: Trial, reading: Reading) -> tuple[str, ...]:
    unit = unit_of(reading.counter)
    trial, each = max(found, key=lambda pair: pair[1].neglected)
    newest = "" if each.newest is None else f" (with {each.newest.key}, written after {unit} {each.saved}, restored)"
    lines = [
        f"{_upper(trial.scenario.value)}: {unit} {each.reached} was reached; the next start{newest} began with {unit} "
        f"{each.first}."
    ]
    total, alone = steps_trained(trial, reading), steps_trained(baseline, reading)
    if total > alone:
        lines.append(f"{plural(total, unit)} were trained where {alone:,} are enough.")
    torn = next((file for file in each.torn), None)
    if torn is not None:
        lines.append(f"{torn.key} was restored torn, with {_bytes(torn.size)}.")
    return tuple(lines)


def _without_end(others: Sequence[Trial]) -> list[Verdict]:
    late = [trial for trial in others if trial.secondary in ("MaxRuntimeExceeded", "MaxWaitTimeExceeded")]
    if not late:
        return []
    names = ", ".join(trial.scenario.value for trial in late)
    return [Verdict(Kind.DOES_NOT_END, "does not end after an interruption", (f"{_upper(names)}: it was stopped.",))]


def _kept(baseline: Trial, reading: Reading) -> list[Verdict]:
    left, written = kept(baseline, reading)
    if left < MANY_CHECKPOINTS or left < written:
        return []
    unit, steps = unit_of(reading.counter), steps_trained(baseline, reading)
    of = f"{plural(steps, unit)}" if steps else f"{written:,} checkpoints"
    return [
        Verdict(
            Kind.KEEPS_EVERYTHING,
            f"keeps everything: {_bytes(baseline.left_bytes)} for {of} are downloaded at each start",
            (f"No checkpoint is deleted: {plural(len(baseline.left), 'file')} are left at the end.",),
        )
    ]


# ---- what came of it


def _differences(comparison: Comparison) -> list[Verdict]:
    found = []
    if comparison.differs:
        found.append(Verdict(Kind.RESULT_DIFFERS, comparison.says, comparison.evidence))
    elif comparison.breaks:
        found.append(Verdict(Kind.LOADS_LESS, "loads less than it saved", comparison.breaks))
    return found


def _sound(baseline: Trial, others: Sequence[Trial], reading: Reading, comparison: Comparison) -> list[Verdict]:
    found = _resumes(baseline, others, reading)
    if comparison.unequal:
        found.append(Verdict(Kind.NOT_BIT_EQUAL, comparison.unequal, comparison.evidence))
    return found


def _resumes(baseline: Trial, others: Sequence[Trial], reading: Reading) -> list[Verdict]:
    told = [trial for trial in others if trial.completed and not counts_anew(trial, baseline, reading)]
    resumed = [each for trial in told for each in resumes(trial, reading)]
    proved = [each for each in resumed if each.first is not None and each.reached is not None]
    if not proved and len(told) == len([trial for trial in others if trial.completed]):
        return []
    unit = unit_of(reading.counter)
    every = saves_of(baseline, reading).usually
    most = max((each.repeated for each in proved), default=0)
    evidence = [f"{plural(sum(trial.cuts for trial in others), 'interruption')}, and every run came to its end."]
    if every and proved:
        evidence.append(f"A checkpoint every {plural(every, unit)}; up to {plural(most, unit)} trained again.")
    return [Verdict(Kind.RESUMES, "resumes", tuple(evidence))]


def _unjudged(trials: Sequence[Trial], reading: Reading, found: Sequence[Verdict], comparison: Comparison) -> list[str]:
    baseline = trials[0]
    lines = [f"{trial.scenario.value}: {trial.missed}" for trial in trials if trial.missed and trial.completed]
    if not reading.tells:
        lines.append("the progress: the log has no number of a step or epoch; --step REGEX reads another one")
    anew = [trial.scenario.value for trial in trials[1:] if counts_anew(trial, baseline, reading)]
    if anew:
        lines.append(
            f"how much was trained again ({', '.join(anew)}): each start counts from the beginning, and trains what is "
            "missing. That all of it was kept shows in the result alone"
        )
    lines += _in_part(baseline, trials[1:], reading)
    for trial in trials[1:]:
        last = next(reversed(resumes(trial, reading)), None)
        silent = last is not None and last.first is None and last.reached != last_step(baseline, reading)
        if reading.tells and trial.completed and silent:
            lines.append(f"{trial.scenario.value}: the log of the last start has no number of a step")
    if not any(verdict.kind is Kind.NO_CHECKPOINT for verdict in found) and baseline.writes:
        torn = next((trial for trial in trials if trial.scenario is Scenario.TORN), None)
        if torn is not None and torn.torn is not None and torn.cuts and ".sagemaker-ignore" not in torn.torn.key:
            given = [file.key for start in torn.starts[1:] for file in start.restored]
            if torn.torn.key not in given:
                lines.append(f"a torn file: {torn.torn.key} was not uploaded before the instance went")
    lines += comparison.unjudged
    return lines


def _in_part(baseline: Trial, others: Sequence[Trial], reading: Reading) -> list[str]:
    """Return what starts prove nothing: they began anew, and had no checkpoint but what may be a part of one."""
    begin, saves, lines = first_step(baseline, reading), saves_of(baseline, reading), []
    for trial in others:
        if trial.completed and not counts_anew(trial, baseline, reading):
            numbers = [
                str(each.number)
                for each in resumes(trial, reading, saves)
                if each.in_part and each.first is not None and begin is not None and each.first <= begin
            ]
            if numbers:
                lines.append(
                    f"{trial.scenario.value}: start {' and '.join(numbers)} began anew; it had one checkpoint at most, "
                    "which an interruption may have cut short"
                )
    return lines


# ---- words


def _marks(trial: Trial, reading: Reading) -> list[Mark]:
    return [mark for start in trial.starts for mark in marks(start.lines, reading.counter, reading.step)]


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def _bytes(size: int) -> str:
    for unit, whole in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= whole:
            return f"{size / whole:.3g} {unit}"
    return f"{size} bytes"
