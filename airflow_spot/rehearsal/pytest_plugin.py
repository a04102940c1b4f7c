"""
The pytest plugin: a rehearsal as a fixture. It comes with the package; a test needs nothing but this::

    def test_train_survives(rehearse):
        report = rehearse("train.py", channels={"train": "data"}, hyperparameters={"epochs": 5})
        assert report.sound, report

Every pytest of an environment that has the package loads this module, so that it imports nothing else before the
fixture is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from airflow_spot.rehearsal.report import Report


@pytest.fixture
def rehearse(request: pytest.FixtureRequest) -> Callable[..., Report]:
    """
    A function that rehearses a script and returns the report, with ``verdicts``, ``kinds`` and ``sound``.

    It takes what :func:`airflow_spot.rehearsal.rehearse` takes. Paths are relative to the test's file, else to where
    pytest runs. A test that fails shows the report.
    """
    folder = Path(request.node.path).parent

    def find(path: Any) -> Any:
        return folder / path if (folder / path).exists() else path

    def run(script: Any, **options: Any) -> Report:
        from airflow_spot.rehearsal.running import rehearse as run_one

        for name in ("source_dir", "requirements"):
            if options.get(name) is not None:
                options[name] = find(options[name])
        if options.get("channels"):
            options["channels"] = {name: find(path) for name, path in options["channels"].items()}
        if isinstance(script, (str, Path)) and options.get("source_dir") is None:
            script = find(script)
        report = run_one(script, tell=print, **options)  # what it prints is captured with the test's output
        request.node.add_report_section("call", "rehearsal", str(report))
        return report

    return run
