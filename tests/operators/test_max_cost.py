"""What a run may cost holds whatever happens to its workers, its DAG and its prices."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_spot.core.identity import JobName
from airflow_spot.errors import MaxCostReachedError, NonRetryableSpotError, RequestError, SpotTrainingError
from airflow_spot.runs import money
from tests.operators.scene import deferred, mark, operator, resume, ti
from tests.operators.test_adoption import BEGAN
from tests.support.sagemaker import DictionarySageMaker, error

pytestmark = pytest.mark.usefixtures("short_pauses")

#: A cent a second; an attempt may train 100 s, the run 10 USD.
HOURLY = {"ml.m5.xlarge": "36", "ml.c5.xlarge": "36"}
GIVEN: dict[str, Any] = {"max_run": 100, "max_wait": 3600, "max_cost": 10}


@pytest.fixture(autouse=True)
def table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    path = tmp_path / "prices.json"
    path.write_text(json.dumps({"hourly": HOURLY}))
    monkeypatch.setenv("AIRFLOW__AIRFLOW_SPOT__PRICES", str(path))
    return path


def ends(service: DictionarySageMaker, name: str, billed: int, **more: Any) -> None:
    """Have a job end so that the run may go on."""
    fields = {"TrainingTimeInSeconds": billed, "BillableTimeInSeconds": billed, "TrainingEndTime": service.clock()}
    service.put(name, "Failed", "Failed", FailureReason="InternalServerError: why", **{**fields, **more})


def trains(service: DictionarySageMaker, name: str, seconds: float) -> None:
    """Have a job that has trained for so long."""
    service.passes(name, "Starting", "Training")
    for transition in service.jobs[name]["SecondaryStatusTransitions"]:
        transition["StartTime"] -= timedelta(seconds=seconds)


def test_a_retry_that_finds_its_job_late_counts_what_earlier_tries_cost(service: DictionarySageMaker) -> None:
    """No list shows the first try's jobs yet, nor does the first look at their names."""
    first = deferred(service, ti(1, 1), **GIVEN)
    ends(service, first.job_name, 1000)
    describe, create = service.describe_training_job, service.create_training_job

    def late(TrainingJobName: str) -> dict[str, Any]:
        if service.unlisted:
            raise error("ValidationException", "Requested resource not found.", "DescribeTrainingJob")
        return describe(TrainingJobName)

    def creates(**request: Any) -> dict[str, str]:
        service.unlisted = 0
        return create(**request)

    service.unlisted = 1
    service.describe_training_job = late  # type: ignore[method-assign]
    service.create_training_job = creates  # type: ignore[method-assign]
    with pytest.raises(MaxCostReachedError, match=r"has cost 10\.00 USD of max_cost \(10\.00 USD\)"):
        operator(service, **GIVEN).execute({"ti": ti(2, 1)})
    assert len(service.jobs) == 1


@pytest.mark.parametrize("lost", [{"spent": None}, {"spent": {"spent": "?"}}, {"spent": None, "prices": None}])
def test_what_a_deferral_did_not_carry_is_read_of_the_jobs(service: DictionarySageMaker, lost: dict[str, Any]) -> None:
    """Another version's row, or the limit was added meanwhile: earlier tries, and those that are carried, count."""
    first = deferred(service, ti(1, 1), **GIVEN)
    ends(service, first.job_name, 600)
    second = deferred(service, ti(2, 1), **GIVEN)
    ends(service, second.job_name, 300)
    with pytest.raises(TaskDeferred) as wait:  # for the pause after SageMaker's own error
        resume(operator(service, **GIVEN), ti(2, 1), second)
    pause: Any = wait.value.trigger
    assert pause.run_state["ended"]
    state = {**pause.run_state, **lost}
    pause.run_state = {key: value for key, value in state.items() if value is not None}
    with pytest.raises(MaxCostReachedError, match=r"has cost 9\.00 USD"):
        resume(operator(service, **{**GIVEN, "max_cost": 9}), ti(2, 1), pause)


def test_an_earlier_attempt_on_a_type_that_the_ladder_has_no_more_counts(
    service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch, table: Path
) -> None:
    """AWS's prices are asked for the ladder's types; here it would be the file's."""
    first = deferred(service, ti(1, 1), ladder=["ml.c5.xlarge"], **GIVEN)
    ends(service, first.job_name, 1000)
    asked: list[list[str]] = []

    def find(*_: Any, **__: Any) -> Any:
        return money.Prices("USD", {"ml.m5.xlarge": money.Decimal(36)})

    def more(_: Any, log: Any, known: Any, types: list[str]) -> Any:
        asked.append(types)
        return money.Prices("USD", {kind: money.Decimal(price) for kind, price in HOURLY.items()})

    monkeypatch.setattr("airflow_spot.operators._run_maker.find_prices", find)
    monkeypatch.setattr("airflow_spot.operators._run_maker.more_prices", more)
    with pytest.raises(MaxCostReachedError, match=r"has cost 10\.00 USD"):
        operator(service, ladder=["ml.m5.xlarge"], **GIVEN).execute({"ti": ti(2, 1)})
    assert asked == [["ml.c5.xlarge"]]


def test_a_ladder_that_was_changed_meanwhile_is_priced_or_not_gone_along(
    service: DictionarySageMaker, table: Path
) -> None:
    first = deferred(service, ti(), ladder=["ml.m5.xlarge"], **GIVEN)
    service.put(first.job_name, "Stopped", "MaxWaitTimeExceeded", TrainingTimeInSeconds=10, BillableTimeInSeconds=10)
    with pytest.raises(RequestError, match=r"max_cost \(10\.00 USD\) needs the on-demand price of ml\.p4d\.24xlarge"):
        resume(operator(service, ladder=["ml.p4d.24xlarge"], **GIVEN), ti(), first)
    assert len(service.jobs) == 1


def test_prices_that_vanish_while_it_is_deferred_are_carried(service: DictionarySageMaker, table: Path) -> None:
    first = deferred(service, ti(), **GIVEN)
    table.unlink()
    trains(service, first.job_name, 1001)
    with pytest.raises(TaskDeferred):  # until it has ended
        resume(operator(service, **GIVEN), ti(), first)
    assert service.jobs[first.job_name]["TrainingJobStatus"] == "Stopping"
    stop = mark(service, first.job_name)
    assert stop is not None and stop.reason == "max-cost"


@pytest.mark.parametrize("after_stop", [False, True])
def test_a_worker_that_is_lost_around_the_stop_leaves_no_further_job(
    service: DictionarySageMaker, after_stop: bool
) -> None:
    first = deferred(service, ti(1, 3), **GIVEN)
    trains(service, first.job_name, 1001)

    class Lost(BaseException):
        pass

    stop = service.stop_training_job

    def loses(TrainingJobName: str) -> None:
        if after_stop:
            stop(TrainingJobName)
        raise Lost

    service.stop_training_job = loses  # type: ignore[method-assign]
    with pytest.raises(Lost):
        resume(operator(service, **GIVEN), ti(1, 3), first)
    service.stop_training_job = stop  # type: ignore[method-assign]
    if after_stop:
        # It ends, and was billed a third of it.
        fields = {"TrainingTimeInSeconds": 1001, "BillableTimeInSeconds": 300, "TrainingEndTime": service.clock()}
        service.put(first.job_name, "Stopped", "Stopped", **fields)
        with pytest.raises(MaxCostReachedError):
            operator(service, **GIVEN).execute({"ti": ti(2, 3)})
    else:
        deferred(service, ti(2, 3), **GIVEN)
        stopped = mark(service, first.job_name)
        assert stopped is not None and (stopped.reason, stopped.try_number) == ("max-cost", 2)
    assert len(service.jobs) == 1


# ---- a job that nobody waits for


def test_one_that_nobody_waits_for_is_not_created_where_it_may_cost_more_than_is_left(
    service: DictionarySageMaker,
) -> None:
    given = {**GIVEN, "deferrable": False, "wait_for_completion": False, "max_cost": "1.5"}
    name = operator(service, **given).execute({"ti": ti(1, 2)})["Training"]["TrainingJobName"]
    ends(service, name, 60)
    with pytest.raises(MaxCostReachedError, match=r"has cost 0\.60 USD, .* left of max_cost \(1\.50 USD\)"):
        operator(service, **given).execute({"ti": ti(2, 2)})
    more = operator(service, **{**given, "max_cost": "1.6"}).execute({"ti": ti(2, 2)})
    parsed = JobName.parse(more["Training"]["TrainingJobName"])
    assert parsed is not None and parsed.number == 2


def test_nor_is_one_left_running_that_has_cost_too_much(service: DictionarySageMaker) -> None:
    given = {**GIVEN, "deferrable": False, "wait_for_completion": False}
    name = operator(service, **given).execute({"ti": ti(1, 2)})["Training"]["TrainingJobName"]
    trains(service, name, 1001)
    stop = service.stop_training_job

    def stops(TrainingJobName: str) -> None:
        stop(TrainingJobName)
        service.put(TrainingJobName, "Stopped", "Stopped", TrainingEndTime=service.clock())

    service.stop_training_job = stops  # type: ignore[method-assign]
    with pytest.raises(MaxCostReachedError):
        operator(service, **given).execute({"ti": ti(2, 2)})
    stopped = mark(service, name)
    assert stopped is not None and stopped.reason == "max-cost"


def test_prices_that_vanish_while_a_job_that_was_taken_over_is_waited_for_are_carried(
    service: DictionarySageMaker, table: Path
) -> None:
    service.put("stock-job", secondary="Training", ResourceConfig={"InstanceType": "ml.m5.xlarge", "InstanceCount": 1})
    context: Any = {"ti": ti(), "dag_run": BEGAN}
    given = {**GIVEN, "adopt_job": "stock-job"}
    with pytest.raises(TaskDeferred) as wait:
        operator(service, **given).execute(context)
    trigger: Any = wait.value.trigger
    table.unlink()
    service.put("stock-job", "Completed", "Completed", ModelArtifacts={"S3ModelArtifacts": "s3://bucket/model"})
    event = {"status": "terminal", "job_name": "stock-job", "run_state": trigger.run_state}
    result = operator(service, **given).execute_complete(context, event)
    assert result["Training"]["TrainingJobName"] == "stock-job"


@pytest.mark.parametrize("tries", [2, 3])
def test_a_retry_that_is_told_no_price_leaves_its_job_to_the_next_one(
    service: DictionarySageMaker, table: Path, tries: int
) -> None:
    """Its worker has no answer of AWS in its cache, and gets none: that passes, and is no fault of the run."""
    first = deferred(service, ti(1, 3), **GIVEN)
    service.passes(first.job_name, "Starting", "Training")
    content = table.read_text()
    table.unlink()
    for number in range(2, tries + 1):
        with pytest.raises(SpotTrainingError, match=r"max_cost is 10: it needs .* the next try asks again") as caught:
            operator(service, **GIVEN).execute({"ti": ti(number, 3)})
        assert not isinstance(caught.value, NonRetryableSpotError)
    assert service.jobs[first.job_name]["TrainingJobStatus"] == "InProgress"
    table.write_text(content)
    assert deferred(service, ti(tries + 1, 3), **GIVEN).job_name == first.job_name


def test_the_first_try_is_refused_for_good(service: DictionarySageMaker, table: Path) -> None:
    table.unlink()
    with pytest.raises(RequestError, match="max_cost"):
        operator(service, **GIVEN).execute({"ti": ti(1, 3)})
    assert service.jobs == {}
