"""Real scripts on Local SageMaker: each has one fault, and the rehearsal finds that one."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from airflow_spot.rehearsal import RehearsalError, Report, rehearse
from airflow_spot.rehearsal.observations import INTERRUPTED, Scenario
from tests.dags.conftest import DAGS

SCRIPTS = Path(__file__).parent / "scripts"


def rehearsed(script: str, **options: object) -> Report:
    return rehearse(f"{script}.py", source_dir=SCRIPTS, grace=5, tell=print, **options)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "scenarios", "kinds"),
    [
        ("sound", INTERRUPTED, ["resumes"]),
        ("several_files", (Scenario.KILLED, Scenario.AT_ONCE), ["resumes"]),
        ("not_equal", INTERRUPTED, ["not-bit-equal", "resumes"]),
        ("drops_weights", INTERRUPTED, ["result-differs"]),
        ("last_digit", INTERRUPTED, ["repeats", "keeps-everything"]),
        ("torn", INTERRUPTED, ["torn-file"]),
        ("first_resume", (Scenario.KILLED, Scenario.TORN), ["fails-at-resume"]),
        ("keeps_everything", (Scenario.AT_ONCE,), ["keeps-everything", "resumes"]),
        ("marker_files", (Scenario.KILLED,), ["marker-files", "resumes"]),
        ("no_checkpoint", INTERRUPTED, ["no-checkpoint"]),
        ("never_loads", (Scenario.TERMINATED, Scenario.NEW_JOB), ["starts-from-nothing"]),
    ],
)
def test_the_fault_of_a_script_is_found_and_no_other(
    script: str, scenarios: tuple[Scenario, ...], kinds: list[str]
) -> None:
    report = rehearsed(script, scenarios=scenarios)
    assert list(report.kinds) == kinds, report
    assert report.sound is not any(verdict.fault for verdict in report.verdicts)
    assert not report.unjudged, report


def shape(line: str) -> str:
    """A line without its numbers; of what it quotes of a log, nothing."""
    return "quoted" if line.startswith("    ") else re.sub(r"[\d.]+ ?(?:kB|bytes)|[\d.]+", "#", line)


def test_the_middle_of_a_write_is_met_and_tears_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    report = rehearsed("torn", scenarios=(Scenario.TORN, Scenario.TERMINATED), interruptions=1)
    said = [*capsys.readouterr().out.splitlines(), "", *str(report).splitlines()]
    assert report.kinds == ("torn-file",), report
    trial = next(trial for trial in report.trials if trial.scenario is Scenario.TORN)
    assert trial.torn is not None
    whole = min(write.size for write in trial.writes if write.ended is not None and write.key < trial.torn.key)
    assert 0 < trial.torn.size < whole
    assert trial.torn.key in [file.key for file in trial.starts[1].restored]
    page = (Path(__file__).parents[2] / "docs" / "rehearse.md").read_text()
    told = page.split("```text\n")[1].split("```")[0].splitlines()
    # That SIGTERM comes between two writes is chance.
    assert [shape(line) for line in told if "SIGTERM:" not in line] == [
        shape(line) for line in said if "SIGTERM:" not in line
    ]


@pytest.mark.slow
def test_the_example_script_is_sound(tmp_path: Path) -> None:
    pytest.importorskip("xgboost")
    prepare(tmp_path)
    report = rehearse(
        "train.py",
        source_dir=DAGS / "scripts",
        channels={"train": tmp_path / "train", "validation": tmp_path / "validation"},
        hyperparameters={"rounds": 16, "checkpoint_every": 2, "seconds_per_round": 0.05},
        scenarios=(Scenario.TORN, Scenario.NEW_JOB),
        interruptions=1,
        tell=print,
    )
    assert report.sound, report
    assert report.kinds == ("resumes",), report


def prepare(folder: Path) -> None:
    import subprocess

    command = [sys.executable, str(DAGS / "scripts" / "prepare.py"), "--output-dir", str(folder)]
    subprocess.run(command, check=True, timeout=120)


@pytest.mark.slow
def test_the_users_command_and_patterns_are_asked() -> None:
    """The command says on which side the model sees a point; the metric and the step have names of their own."""
    command = f"""{sys.executable} -c 'import json, sys
w = json.load(open(sys.argv[1] + "/weights.json"))
print("right" if w[0] + w[1] > 0 else "wrong")'"""
    report = rehearsed(
        "drops_weights",
        compare=command,
        metrics={"share": r"accuracy=([\d.]+)"},
        step=r"epoch (\d+)/",
        scenarios=(Scenario.TERMINATED,),
    )
    assert report.kinds == ("result-differs",), report
    assert report.verdicts[0].says.startswith("the result differs: share "), report
    baseline, other = report.trials[0], report.trials[1]
    assert (baseline.answers, other.answers) == ("right\n", "wrong\n")


def test_what_cannot_run_is_said_before_anything_is_started(tmp_path: Path) -> None:
    with pytest.raises(RehearsalError, match=r"there is no file"):
        rehearse(tmp_path / "none.py")
    with pytest.raises(RehearsalError, match=r"--channel train=.*: there is no folder with files in it"):
        rehearse(SCRIPTS / "torn.py", channels={"train": tmp_path})
    with pytest.raises(RehearsalError, match=r"there is no such file"):
        rehearse(SCRIPTS / "torn.py", requirements=tmp_path / "requirements.txt")


@pytest.mark.slow
def test_a_script_that_fails_alone_is_not_interrupted(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("print('epoch 1')\nraise SystemExit('no data')\n")
    report = rehearse(tmp_path / "train.py")
    assert report.kinds == ("fails-uninterrupted",)
    assert "  no data" in report.verdicts[0].evidence
