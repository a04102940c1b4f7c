"""Each example, with its framework, under interruption: on from the newest whole checkpoint, to the same end."""

from __future__ import annotations

import ast

import pytest

from airflow_spot.core.script_lint import lint
from tests.frameworks.examples import EXAMPLES, SCRIPTS
from tests.frameworks.played import play
from tests.support.extent import ALL


def test_each_script_is_an_example() -> None:
    assert {example.script for example in EXAMPLES.values()} == {*SCRIPTS.glob("*.py")}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_has_nothing_that_lint_finds(name: str) -> None:
    script = EXAMPLES[name].script
    report = lint({script.name: script.read_bytes()}, script.name)
    assert (report.findings, report.unreadable) == ((), ())
    ast.parse(script.read_text(), feature_version=(3, 8))


@pytest.mark.slow
@pytest.mark.timeout(3600)  # in a fresh clone the framework is installed first
@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_comes_to_the_same_end(name: str) -> None:
    """All kills with AIRFLOW_SPOT_NEW_EXAMPLES alone: bounded, a rehearsal of one interruption and two kills."""
    played = play(EXAMPLES[name], print, kills=None if ALL else 2, bounded=not ALL)
    if played.skipped:
        pytest.skip(played.skipped)
    assert played.rehearsed is not None
    assert played.rehearsed.sound, f"{played.rehearsed}\n{played.rehearsed.complaint}"
    assert played.killed is not None
    assert not played.killed.faults, "\n".join(played.killed.faults)
    assert played.killed.kills == (EXAMPLES[name].kills if ALL else 2)
