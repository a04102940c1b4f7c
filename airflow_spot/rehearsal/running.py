"""A rehearsal from its beginning to its report."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from airflow_spot.rehearsal.differences import models_differ
from airflow_spot.rehearsal.judge import Judgement, counts_anew, judge, of_markers
from airflow_spot.rehearsal.log_lines import choose_counter
from airflow_spot.rehearsal.observations import INTERRUPTED, Reading, Scenario, Trial
from airflow_spot.rehearsal.plan import Interruption, interruptions
from airflow_spot.rehearsal.report import Report, progress_line
from airflow_spot.rehearsal.saves import saves_of
from airflow_spot.rehearsal.stage import Stage
from airflow_spot.rehearsal.subject import RehearsalError, Subject, from_script
from airflow_spot.rehearsal.verdicts import Kind, Verdict, worst_first

#: How often the middle of a write is tried for: that takes luck, the more so on a busy machine.
_TORN_TRIES = 4
#: How often any other interruption is, of a script that trains so short (seconds) that a busy machine may miss it.
_SHORT_TRIES, _SHORT_SECONDS = 3, 30.0
#: What a control run without marker files can tell.
_BY_MARKERS = (Kind.FAILS_UNINTERRUPTED, Kind.FAILS_AT_RESUME, Kind.STARTS_FROM_NOTHING)


@dataclass(frozen=True)
class Options:
    """
    How a script is rehearsed.

    :param interruptions: how often it is interrupted at random moments, in one run.
    :param seed: of the random moments.
    :param max_run: how long a run may train, in seconds.
    :param grace: from SIGTERM to SIGKILL, in seconds. AWS: 120 for a stop.
    :param upload_seconds: how often checkpoints are uploaded while the script runs.
    :param images: what runs for an image: patterns and commands.
    :param python: interpreter for scripts.
    :param metrics: names and regular expressions; default: the request's MetricDefinitions, else the usual names.
    :param step: regular expression of a step's number; default: the usual patterns.
    :param compare: a command that is asked about each model.
    :param scenarios: those to run; default: all.
    """

    interruptions: int = 2
    seed: int = 0
    max_run: float = 600.0
    grace: float = 30.0
    upload_seconds: float = 0.1
    images: Mapping[str, str] = field(default_factory=dict)
    python: str | None = None
    metrics: Mapping[str, str] = field(default_factory=dict)
    step: str | None = None
    compare: str | None = None
    scenarios: tuple[Scenario, ...] = INTERRUPTED


Tell = Callable[[str], None]


def run_rehearsal(subject: Subject, options: Options, tell: Tell = lambda line: None) -> Report:
    """
    Run a script uninterrupted, then interrupted in several ways, and judge it.

    :param tell: is called with a line for each run, as it ends.
    :raises RehearsalError: it cannot be run.
    """
    subject.check()
    with ExitStack() as stack:
        rehearsal = _Rehearsal(subject, options, tell, stack)
        return rehearsal.report()


class _Rehearsal:
    def __init__(self, subject: Subject, options: Options, tell: Tell, stack: ExitStack) -> None:
        self._subject = subject
        self._options = options
        self._tell = tell
        self._stack = stack
        self._stages: dict[bool, Stage] = {}
        self._metrics = {**subject.metric_definitions, **options.metrics}
        self._reading = Reading(None, options.step, self._metrics)

    def report(self) -> Report:
        baseline = self._run(Scenario.UNINTERRUPTED, None)
        lines = [line for start in baseline.starts for line in start.lines]
        if self._options.step is None:
            self._reading = replace(self._reading, counter=choose_counter(lines))
        self._say(baseline)
        extra: list[Verdict] = []
        markers = True
        if not baseline.completed:
            judgement = judge([baseline], self._reading)
            found, control = self._control(judgement.verdicts, baseline, None)
            if found is None or control is None:
                return self._made([baseline], judgement)
            # It is no worse for the other faults: they are looked for without marker files.
            extra, baseline, markers = [found], control, False
            control_lines = [line for start in baseline.starts for line in start.lines]
            if self._options.step is None:
                self._reading = replace(self._reading, counter=choose_counter(control_lines))
        trials = [baseline]
        for scenario in self._options.scenarios:
            if not baseline.writes and scenario in (Scenario.TORN, Scenario.AT_ONCE, Scenario.NEW_JOB):
                continue
            trial = self._run(scenario, baseline, markers=markers)
            for _ in range(_tries(scenario, baseline) - 1):
                if not _shows_too_little(trial, baseline, self._reading):
                    break
                again = self._run(scenario, baseline, markers=markers)
                trial = again if _tells_more(again, trial, baseline, self._reading) else trial
            self._say(trial, baseline)
            trials.append(trial)
        if models_differ(baseline, trials[1:]):
            again = self._run(Scenario.AGAIN, baseline, markers=markers)
            self._say(again)
            trials.append(again)
        judgement = judge(trials, self._reading)
        if markers:
            judgement = self._without_markers(trials, judgement)
        verdicts = tuple(worst_first([*extra, *judgement.verdicts]))
        if any(verdict.fault for verdict in extra):
            verdicts = tuple(verdict for verdict in verdicts if verdict.fault or verdict.kind is Kind.RESUMES)
        return self._made(trials, Judgement(verdicts, judgement.unjudged))

    def _without_markers(self, trials: Sequence[Trial], judgement: Judgement) -> Judgement:
        """Find out whether SageMaker's files beside the checkpoints are the cause of a fault."""
        baseline = trials[0]
        for trial in trials[1:]:
            if trial.scenario in (Scenario.TORN, Scenario.AGAIN) or not baseline.writes:
                continue
            alone = judge([t for t in (baseline, trial, trials[-1]) if t is not None], self._reading)
            if not any(verdict.kind in _BY_MARKERS for verdict in alone.verdicts):
                continue
            found, _ = self._control(alone.verdicts, trial, baseline)
            if found is None:
                return judgement
            by_them = {verdict.kind for verdict in alone.verdicts if verdict.kind in _BY_MARKERS}
            others = [verdict for verdict in judgement.verdicts if verdict.kind not in by_them]
            return Judgement((found, *others), judgement.unjudged)
        return judgement

    def _control(
        self, verdicts: Sequence[Verdict], trial: Trial, baseline: Trial | None
    ) -> tuple[Verdict | None, Trial | None]:
        """Run a trial once more, without marker files; return what that says, and the trial."""
        control = self._run(trial.scenario, baseline, markers=False)
        self._say(control, baseline)
        reading = self._reading
        if baseline is None and reading.step is None:
            reading = replace(reading, counter=choose_counter([line for each in control.starts for line in each.lines]))
        both = [control] if baseline is None else [baseline, control]
        found = of_markers(verdicts, trial, control, judge(both, reading).verdicts, reading)
        if found is not None and not self._fails_again(trial, baseline):
            return None, control
        return found, control

    def _fails_again(self, trial: Trial, baseline: Trial | None) -> bool:
        """Run a trial once more as it was: what comes and goes by itself is not the marker files' doing."""
        again = self._run(trial.scenario, baseline)
        self._say(again, baseline)
        both = [again] if baseline is None else [baseline, again]
        return any(verdict.kind in _BY_MARKERS for verdict in judge(both, self._reading).verdicts)

    def _run(self, scenario: Scenario, baseline: Trial | None, *, markers: bool = True) -> Trial:
        options = self._options
        planned: Sequence[Interruption] = ()
        limit = options.max_run
        if baseline is not None:
            files = saves_of(baseline, self._reading).files
            planned = interruptions(scenario, baseline, options.interruptions, options.seed, files)
            limit = min(limit, 60 + 5 * (len(planned) + 1) * baseline.seconds)
        return self._stage(markers).run(scenario, planned, limit)

    def _stage(self, markers: bool) -> Stage:
        if markers not in self._stages:
            self._stages[markers] = self._make_stage(markers)
        return self._stages[markers]

    def _make_stage(self, markers: bool) -> Stage:
        from airflow_spot.local import LocalSageMaker

        options = self._options
        try:
            service = self._stack.enter_context(
                LocalSageMaker(
                    grace_seconds=options.grace,
                    checkpoint_seconds=options.upload_seconds,
                    checkpoint_markers=markers,
                    images=dict(options.images),
                    python=options.python or sys.executable,
                )
            )
        except (RuntimeError, ValueError) as error:
            raise RehearsalError(str(error)) from error
        return Stage(self._subject, service, options.compare, markers=markers)

    def _say(self, trial: Trial, baseline: Trial | None = None) -> None:
        anew = baseline is not None and counts_anew(trial, baseline, self._reading)
        self._tell(progress_line(trial, self._reading, anew=anew))

    def _made(self, trials: Sequence[Trial], judgement: Judgement) -> Report:
        return Report(
            self._subject.name,
            judgement.verdicts,
            (*self._subject.notes, *judgement.unjudged),
            tuple(trials),
            self._reading,
            self._options.seed,
        )


def _tries(scenario: Scenario, baseline: Trial) -> int:
    """Return how often a scenario is played at most until its interruptions come about."""
    if scenario is Scenario.TORN and len(baseline.writes) > 1:
        return _TORN_TRIES
    return _SHORT_TRIES if scenario is not Scenario.TORN and baseline.seconds < _SHORT_SECONDS else 1


def _shows_too_little(trial: Trial, baseline: Trial, reading: Reading) -> bool:
    """Return whether some of its interruptions did not come about, and those that did have shown no fault."""
    if not (trial.missed and trial.completed):
        return False
    return trial.scenario is Scenario.TORN or not trial.cuts or not _faults(trial, baseline, reading)


def _tells_more(again: Trial, trial: Trial, baseline: Trial, reading: Reading) -> bool:
    """Return whether a second run counts in place of the first, which has shown too little."""
    return again.cuts > trial.cuts or not _shows_too_little(again, baseline, reading)


def _faults(trial: Trial, baseline: Trial, reading: Reading) -> set[Kind]:
    """Return the faults that the trial shows and the baseline alone does not; a result may differ by chance."""
    shown, known = judge([baseline, trial], reading).verdicts, judge([baseline], reading).verdicts
    faults = {verdict.kind for verdict in shown if verdict.fault} - {verdict.kind for verdict in known}
    return faults - {Kind.RESULT_DIFFERS}


def rehearse(script: str | Path | Subject, *, tell: Tell = lambda line: None, **options: Any) -> Report:
    """
    Rehearse a script; what the pytest fixture calls.

    :param script: its path; or a :class:`Subject`.
    :param tell: is called with a line for each run, as it ends.
    :param options: those of :func:`~airflow_spot.rehearsal.subject.from_script` and of :class:`Options`.
    :raises RehearsalError: it cannot be run.
    """
    if isinstance(script, Subject):
        return run_rehearsal(script, Options(**options), tell)
    known = Options.__dataclass_fields__
    own = {name: value for name, value in options.items() if name in known}
    rest = {name: value for name, value in options.items() if name not in known}
    return run_rehearsal(from_script(script, **rest), Options(**own), tell)
