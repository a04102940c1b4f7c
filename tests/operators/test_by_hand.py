"""A task that a person runs by hand, again: it trains again, or one line says that the result is an earlier one's."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_spot.errors import RequestError
from tests.operators.scene import operator, resume, ti
from tests.support.sagemaker import DictionarySageMaker

pytestmark = pytest.mark.usefixtures("short_pauses")

DATE = datetime(2026, 1, 1, tzinfo=timezone.utc)
#: As `airflow dags test D 2026-01-01` makes the DAG run, each time anew, and as a scheduler begins one.
BY_HAND = SimpleNamespace(start_date=DATE, logical_date=DATE, clear_number=0)
SCHEDULED = SimpleNamespace(start_date=DATE + timedelta(seconds=1), logical_date=DATE, clear_number=0)


def defer(service: DictionarySageMaker, dag_run: Any, **parameters: Any) -> Any:
    context: Any = {"ti": ti(), "dag_run": dag_run}
    with pytest.raises(TaskDeferred) as wait:
        operator(service, **parameters).execute(context)
    return wait.value.trigger


def trained(service: DictionarySageMaker, dag_run: Any) -> str:
    """Run the task to its success; the job's name."""
    trigger = defer(service, dag_run)
    service.put(trigger.job_name, "Completed", "Completed", TrainingEndTime=datetime.now(timezone.utc))
    resume(operator(service), ti(), trigger, "terminal")
    return str(trigger.job_name)


def test_dags_test_of_the_same_date_trains_anew(service: DictionarySageMaker) -> None:
    assert trained(service, BY_HAND).endswith("-1-1")
    assert trained(service, BY_HAND).endswith("-2-1")
    assert len(service.jobs) == 2


def test_tasks_test_of_a_dag_run_that_is_over_trains_anew(
    service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert trained(service, SCHEDULED).endswith("-1-1")
    monkeypatch.setenv("AIRFLOW_TEST_MODE", "True")
    assert trained(service, SCHEDULED).endswith("-2-1")


def test_what_trains_already_is_taken_over(service: DictionarySageMaker) -> None:
    first = defer(service, BY_HAND)
    assert defer(service, BY_HAND).job_name == first.job_name
    # A failure is resumed from, as after a clear; resume=False has it start over.
    service.put(first.job_name, "Failed", "Failed", TrainingEndTime=datetime.now(timezone.utc))
    assert defer(service, BY_HAND).job_name.endswith("-1-2")
    (live,) = service.live()
    service.put(live, "Failed", "Failed", TrainingEndTime=datetime.now(timezone.utc))
    assert defer(service, BY_HAND, resume=False).job_name.endswith("-2-1")


@pytest.mark.parametrize(("choice", "name"), [("resume", "-1-2"), ("restart", "-2-1"), ("fail", None)])
def test_on_config_change_holds(service: DictionarySageMaker, choice: str, name: str | None) -> None:
    first = defer(service, BY_HAND)
    service.put(first.job_name, "Failed", "Failed", TrainingEndTime=datetime.now(timezone.utc))
    changed = {"config": {"HyperParameters": {"steps": "99"}}, "on_config_change": choice}
    if name is not None:
        assert defer(service, BY_HAND, **changed).job_name.endswith(name)
        return
    context: Any = {"ti": ti(), "dag_run": BY_HAND}
    with pytest.raises(RequestError, match="hyperparameters changed since job"):
        operator(service, **changed).execute(context)


def test_where_nothing_tells_a_new_run_one_line_says_whose_the_result_is(
    service: DictionarySageMaker, said: list[str]
) -> None:
    name = trained(service, SCHEDULED)
    assert not [line for line in said if "Nothing was trained" in line]
    context: Any = {"ti": ti(), "dag_run": SCHEDULED}
    config = {"HyperParameters": {"steps": "99"}}
    again = operator(service, config=config).execute(context)
    assert again["Training"]["TrainingJobName"] == name
    (line,) = [line for line in said if "Nothing was trained" in line]
    assert line.startswith(
        f"Nothing was trained in this try: the result is that of training job {name}, which completed"
    )
    assert line.endswith(
        "was handed over by try 1. hyperparameters changed since. To train from the beginning, clear the task"
    )
    operator(service, wait_for_completion=False).execute(context)
    assert "Nothing was trained" in said[-1] and "keeps running" not in "".join(said)
