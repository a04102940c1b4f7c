"""A rehearsal's report, for people and as JSON. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from airflow_spot.rehearsal.differences import metrics_of
from airflow_spot.rehearsal.log_lines import plural, unit_of
from airflow_spot.rehearsal.observations import Reading, Scenario, Trial
from airflow_spot.rehearsal.resumes import last_step, resumes, steps_trained
from airflow_spot.rehearsal.verdicts import Kind, Verdict


@dataclass(frozen=True)
class Report:
    """
    What a rehearsal has found.

    :param name: of the script.
    :param verdicts: what can be said of it, the worst first.
    :param unjudged: what could not be judged, and why.
    :param trials: what was seen, the uninterrupted run first.
    :param reading: how the log was read.
    :param seed: of the moments of the interruptions.
    """

    name: str
    verdicts: tuple[Verdict, ...]
    unjudged: tuple[str, ...]
    trials: tuple[Trial, ...]
    reading: Reading
    seed: int = 0

    @property
    def sound(self) -> bool:
        """Whether no fault was found, and a resume was seen."""
        return not self.faults and any(verdict.kind is Kind.RESUMES for verdict in self.verdicts)

    @property
    def faults(self) -> tuple[Verdict, ...]:
        """The verdicts that are faults."""
        return tuple(verdict for verdict in self.verdicts if verdict.fault)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of the verdicts, such as ``torn-file``."""
        return tuple(verdict.kind.value for verdict in self.verdicts)

    def __str__(self) -> str:
        return "\n".join(lines(self))

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON; keys are only ever added."""
        return {
            "v": 1,
            "script": self.name,
            "sound": self.sound,
            "seed": self.seed,
            "verdicts": [
                {
                    "kind": verdict.kind.value,
                    "fault": verdict.fault,
                    "says": verdict.says,
                    "evidence": list(verdict.evidence),
                    "fix": verdict.fix,
                }
                for verdict in self.verdicts
            ],
            "unjudged": list(self.unjudged),
            "runs": [_run(trial, self.reading) for trial in self.trials],
        }


def _run(trial: Trial, reading: Reading) -> dict[str, Any]:
    return {
        "scenario": trial.scenario.name.lower(),
        "status": trial.status,
        "seconds": round(trial.seconds, 2),
        "interruptions": trial.cuts,
        "missed": trial.missed,
        "steps_trained": steps_trained(trial, reading),
        "last_step": last_step(trial, reading),
        "resumed_at": [each.first for each in resumes(trial, reading)],
        "trained_twice": sum(each.repeated for each in resumes(trial, reading)),
        "checkpoints_written": len(trial.writes),
        "checkpoints_left": len(trial.left),
        "bytes_left": trial.left_bytes,
        "torn": None if trial.torn is None else {"key": trial.torn.key, "size": trial.torn.size},
        "metrics": metrics_of(trial, reading.metrics),
        "model": None if trial.model is None else {name: digest for name, (digest, _) in trial.model.items()},
        "marker_files": trial.markers,
    }


def progress_line(trial: Trial, reading: Reading, *, anew: bool = False) -> str:
    """
    Return the line that tells of a run that has ended.

    :param anew: each of its starts counts from the beginning, wherever it continues.
    """
    unit = unit_of(reading.counter)
    facts = [f"{trial.seconds:.1f} s"]
    steps = steps_trained(trial, reading)
    if steps:
        facts.append(plural(steps, unit))
    if trial.scenario in (Scenario.UNINTERRUPTED, Scenario.AGAIN):
        facts.append(f"{plural(len(trial.writes), 'checkpoint file')} written, {len(trial.left)} left")
    else:
        firsts = [each.first for each in resumes(trial, reading) if each.first is not None]
        if trial.torn is not None:
            facts.append(f"{trial.torn.key} torn at {trial.torn.size} bytes")
        facts.append(f"{trial.cuts} of its interruptions" if trial.missed else plural(trial.cuts, "interruption"))
        if anew:
            facts.append("each start counts from the beginning")
        elif firsts:
            facts.append(f"resumed at {unit} {', '.join(map(str, firsts))}")
        twice = sum(each.repeated for each in resumes(trial, reading))
        if twice and not anew:
            facts.append(f"{twice:,} trained twice")
    if not trial.completed:
        facts.append(trial.status if trial.status == "Failed" else trial.secondary)
    name = trial.scenario.value if trial.markers else f"{trial.scenario.value}, without marker files"
    return f"{name}: {', '.join(facts)}"


def lines(report: Report) -> list[str]:
    """Return the report for people: each verdict with its evidence and its fix."""
    faults = len(report.faults)
    if faults:
        head = f"{report.name}: {plural(faults, 'fault')}"
    elif report.sound:
        head = f"{report.name}: nothing that was tried breaks it"
    else:
        head = f"{report.name}: could not be judged"
    said = [head]
    for verdict in report.verdicts:
        said.append("")
        said.append(verdict.says)
        said += [f"  {line}" for line in verdict.evidence]
        if verdict.fix:
            said.append(f"  Fix: {verdict.fix}")
    if report.unjudged:
        said += ["", "could not be judged", *(f"  {line}" for line in report.unjudged)]
    return said
