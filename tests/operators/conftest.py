"""Fixtures of the operators that run in process."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_spot.aws import retrying as patience
from airflow_spot.hooks import training as hooks
from airflow_spot.operators.training import SageMakerSpotTrainingOperator
from airflow_spot.runs import claiming, controller, stopping
from tests.support.sagemaker import DictionarySageMaker


@pytest.fixture
def service() -> DictionarySageMaker:
    return DictionarySageMaker()


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test waits for what a task would wait for."""
    monkeypatch.setattr(patience, "PAUSES", (0.01, 0.02))
    monkeypatch.setattr(hooks, "UNSEEN_PAUSES", (0.01,) * 5)
    monkeypatch.setattr(stopping, "CREATE_PAUSES", (0.01,) * 5)
    monkeypatch.setattr(controller, "GONE_PAUSES", (0.01,) * 3)
    monkeypatch.setattr(claiming, "PAUSES", (0.01,) * 5)
    monkeypatch.setattr(stopping, "_KILL_PAUSE", 0.01)
    monkeypatch.setattr(stopping, "STOP_SECONDS", 0)
    monkeypatch.setattr(stopping, "STOP_PAUSES", (0.01,) * 3)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the tasks' logs say."""
    lines: list[str] = []

    class Log:
        def info(self, message: str, *args: Any) -> None:
            lines.append(message % args)

        warning = error = info

    monkeypatch.setattr(SageMakerSpotTrainingOperator, "log", Log())
    return lines
