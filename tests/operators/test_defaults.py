"""What a task does not say, ``[airflow_spot]`` says; what it says holds."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_spot.errors import RequestError
from airflow_spot.operators._run_maker import make_run
from airflow_spot.runs.startup import StartupGuard
from tests.support.service import Task
from tests.support.task import TaskInstance


@pytest.fixture(autouse=True)
def _configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__AIRFLOW_SPOT__CHECK_INTERVAL", "77")
    monkeypatch.setenv("AIRFLOW__AIRFLOW_SPOT__STOP_ON_KILL", "False")


@pytest.mark.parametrize(
    ("said", "holds"),
    [
        ({}, (77.0, False)),
        ({"check_interval": 5, "stop_on_kill": True}, (5.0, True)),
        ({"check_interval": 0.5}, (0.5, False)),
    ],
)
def test_the_task_goes_before_the_configuration(
    bucket: str, ti: TaskInstance, said: dict[str, Any], holds: tuple[float, bool]
) -> None:
    operator = Task(bucket, deferrable=True).operator(**{"check_interval": None, **said})
    context: Any = {"ti": ti}
    options = make_run(operator, context, StartupGuard.of(operator, context).run, None).run.options
    assert (options.check_interval, options.stop_on_kill) == holds


def test_a_wrong_configuration_is_met_before_any_job(
    bucket: str, ti: TaskInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__AIRFLOW_SPOT__CHECK_INTERVAL", "0")
    operator = Task(bucket, deferrable=False).operator(check_interval=None)
    context: Any = {"ti": ti}
    with pytest.raises(RequestError, match=r"\[airflow_spot\] check_interval.*Nothing was sent"):
        operator.execute(context)
