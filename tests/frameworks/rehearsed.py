"""``airflow-spot rehearse`` of an example, as a user calls it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.frameworks.examples import Example
from tests.frameworks.kills import Whole
from tests.matrix.environment import ROOT


@dataclass(frozen=True)
class Rehearsed:
    """
    What the command said.

    :param report: its JSON; None where it could not run.
    :param complaint: what it said beside.
    """

    report: dict[str, Any] | None
    complaint: str = ""

    @property
    def kinds(self) -> list[str]:
        """The verdicts: ``["resumes"]`` is sound, and equal byte for byte."""
        return [] if self.report is None else [verdict["kind"] for verdict in self.report["verdicts"]]

    @property
    def runs(self) -> list[dict[str, Any]]:
        return [] if self.report is None else self.report["runs"]

    @property
    def starts(self) -> int:
        return sum(1 + run["interruptions"] for run in self.runs)

    @property
    def resumes(self) -> list[int]:
        return [at for run in self.runs for at in run["resumed_at"] if at is not None]

    @property
    def redone(self) -> int:
        return sum(run["trained_twice"] for run in self.runs)

    @property
    def equal(self) -> bool:
        """Whether all models are the same, and there is one."""
        models = [run["model"] for run in self.runs]
        return bool(models and models[0]) and all(model == models[0] for model in models)

    @property
    def whole(self) -> Whole | None:
        """The uninterrupted training; None where it did not come to its end, or counted nothing."""
        for run in self.runs:
            if run["scenario"] == "uninterrupted" and run["model"] and run["last_step"]:
                return Whole(run["model"], run["last_step"], run["seconds"])
        return None

    @property
    def sound(self) -> bool:
        return self.kinds == ["resumes"] and self.equal

    def __str__(self) -> str:
        if self.report is None:
            return self.complaint
        lines = [f"{verdict['says']}\n  " + "\n  ".join(verdict["evidence"]) for verdict in self.report["verdicts"]]
        return "\n".join([*lines, *self.report["unjudged"]])


def rehearse(example: Example, python: Path, seed: int, say: Callable[[str], None], *, bounded: bool) -> Rehearsed:
    """
    Run the command on it.

    :param bounded: killed once without a warning, instead of in every way.
    """
    command = [sys.executable, "-m", "airflow_spot.cli.main", "rehearse", str(example.script), "--json"]
    command += ["--python", str(python), "--seed", str(seed)]
    for name, value in example.hyperparameters.items():
        command += ["--hyperparameter", f"{name}={value}"]
    if bounded:
        command += ["--only", "killed", "--interruptions", "1"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    told = []
    for line in process.stderr:
        told.append(line)
        say(f"{example.name}: {line.rstrip()}")
    said = process.stdout.read()
    process.wait()
    return Rehearsed(json.loads(said) if said else None, "".join(told))
