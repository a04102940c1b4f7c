"""Money of a task on Local SageMaker: AWS's list prices, what a run may cost, and what is looked at before it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_spot import config as settings
from airflow_spot.core.money.prices import Prices
from airflow_spot.core.parameter_errors import InvalidParameterError
from airflow_spot.core.run_state import RunState
from airflow_spot.errors import MaxCostReachedError, RequestError
from airflow_spot.local import LocalSageMaker
from tests.local.jobs import Jobs
from tests.support.service import Task
from tests.support.task import TaskInstance, run_task


@pytest.fixture
def aws_prices(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """AWS's prices are asked for; what was read is kept here."""
    monkeypatch.setenv("AIRFLOW__AIRFLOW_SPOT__AWS_PRICES", "True")
    monkeypatch.setenv("AIRFLOW__AIRFLOW_SPOT__CACHE_FOLDER", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Write the user's price table."""

    def write(**hourly: str) -> None:
        path = tmp_path / "prices.json"
        names = {name.replace("_", "."): price for name, price in hourly.items()}
        path.write_text(json.dumps({"currency": "EUR", "hourly": names}))
        monkeypatch.setenv("AIRFLOW__AIRFLOW_SPOT__PRICES", str(path))

    return write


def asked(local: LocalSageMaker, operation: str) -> int:
    """How often an operation was called so far."""
    return sum(line.get("operation") == operation for line in local.audit)


@pytest.mark.parametrize("task", [pytest.param("sync", marks=pytest.mark.slow), "deferrable"], indirect=True)
def test_awss_prices_are_asked_for_once(local: LocalSageMaker, task: Task, ti: TaskInstance, aws_prices: Path) -> None:
    before = asked(local, "pricing:GetProducts")
    spot = run_task(task.operator(), ti)["Spot"]
    once = asked(local, "pricing:GetProducts")
    assert once > before
    hourly = float(spot["prices"]["hourly"]["ml.m5.xlarge"])
    assert spot["prices"]["source"] == "pricing:GetProducts"
    assert spot["prices"]["read"]
    assert float(spot["cost"]["amount"]) == pytest.approx(spot["billable_seconds"] * hourly / 3600, abs=1e-4)
    saved = float(spot["on_demand_cost"]["amount"]) - float(spot["cost"]["amount"])
    assert float(spot["saved"]["amount"]) == pytest.approx(saved, abs=2e-4)
    # Another process reads what this one kept, and asks no more.
    run_task(task.operator(), TaskInstance("train", run_id=f"{ti.run_id}-again"))
    assert asked(local, "pricing:GetProducts") == once
    assert len(list(aws_prices.iterdir())) >= 1


def test_the_users_table_goes_before_awss(
    local: LocalSageMaker, sync_task: Task, ti: TaskInstance, aws_prices: Path, table: Any
) -> None:
    table(ml_m5_xlarge="3.60")
    before = asked(local, "pricing:GetProducts")
    spot = run_task(sync_task.operator(), ti)["Spot"]
    assert spot["prices"] == {
        "currency": "EUR",
        "hourly": {"ml.m5.xlarge": "3.60"},
        "source": "[airflow_spot] prices",
        "read": None,
    }
    assert asked(local, "pricing:GetProducts") == before


def test_prices_of_another_currency_are_not_added(
    sync_task: Task, ti: TaskInstance, aws_prices: Path, table: Any
) -> None:
    table(ml_m5_xlarge="3.60")
    spot = run_task(sync_task.operator(ladder=["ml.m5.xlarge", "ml.g5.xlarge"]), ti)["Spot"]
    assert spot["prices"]["currency"] == "EUR"
    assert set(spot["prices"]["hourly"]) == {"ml.m5.xlarge"}


@pytest.mark.local_sagemaker(faults="pricing:GetProducts=denied")
def test_without_the_permission_there_is_no_money_and_no_failure(
    local: LocalSageMaker, sync_task: Task, ti: TaskInstance, aws_prices: Path
) -> None:
    spot = run_task(sync_task.operator(), ti)["Spot"]
    assert (spot["cost"], spot["prices"]) == (None, None)
    assert spot["spot_discount_percent"] is not None
    once = asked(local, "pricing:GetProducts")
    run_task(sync_task.operator(), TaskInstance("train", run_id=f"{ti.run_id}-again"))
    assert asked(local, "pricing:GetProducts") == once


# ---- what it may cost


@pytest.mark.parametrize("task", [pytest.param("deferrable", marks=pytest.mark.slow), "sync"], indirect=True)
def test_a_run_of_which_one_attempt_could_cost_more_creates_nothing(
    local: LocalSageMaker, task: Task, ti: TaskInstance, table: Any
) -> None:
    table(ml_m5_xlarge="36")
    before = asked(local, "CreateTrainingJob")
    with pytest.raises(RequestError, match=r"max_cost.*may cost 1\.20 EUR: lower max_run"):  # 120 s
        run_task(task.operator(max_cost="1.19"), ti)
    assert asked(local, "CreateTrainingJob") == before
    assert run_task(task.operator(max_cost="1.20"), ti)["Training"]["TrainingJobStatus"] == "Completed"


def test_nor_does_one_of_which_no_price_is_known(local: LocalSageMaker, sync_task: Task, ti: TaskInstance) -> None:
    before = asked(local, "CreateTrainingJob")
    with pytest.raises(RequestError, match=r"max_cost.*needs the on-demand price of ml\.m5\.xlarge"):
        run_task(sync_task.operator(max_cost=50), ti)
    assert asked(local, "CreateTrainingJob") == before


@pytest.mark.parametrize("task", [pytest.param("sync", marks=pytest.mark.slow), "deferrable"], indirect=True)
def test_a_run_that_reaches_it_is_stopped_and_keeps_its_checkpoint(
    local: LocalSageMaker, task: Task, ti: TaskInstance, table: Any, bucket: str
) -> None:
    """A cent a second, of six: it trains for less than that, though one attempt may for 6 s."""
    table(ml_m5_xlarge="36")
    given: dict[str, Any] = {"steps": 1000, "max_run": 4, "max_total_run": 3600, "max_cost": "0.06"}
    client = local.client("sagemaker")
    for again in range(3):
        ti = TaskInstance("train", run_id=f"{ti.run_id}-{again}")
        with pytest.raises(MaxCostReachedError, match="Raise it, then clear the task to resume from the checkpoint"):
            run_task(task.operator(**given), ti)
        jobs = client.list_training_jobs(NameContains="afspot", MaxResults=100, SortOrder="Descending")
        newest = client.describe_training_job(TrainingJobName=jobs["TrainingJobSummaries"][0]["TrainingJobName"])
        run = newest["TrainingJobName"].rpartition("-")[0]
        names = [job["TrainingJobName"] for job in jobs["TrainingJobSummaries"]]
        names = [name for name in names if name.startswith(run)]
        # Where the machine stands still for all that time, no script comes to its first step: that counts for nothing.
        if any("step 1" in stream for name in names for stream in Jobs(local).output(name)):
            break
    assert newest["TrainingJobStatus"] == "Stopped"
    tags = client.list_tags(ResourceArn=newest["TrainingJobArn"])["Tags"]
    # On a busy machine each job may reach its max_run before anybody looks: then they end once they are billed so much.
    billed = sum(client.describe_training_job(TrainingJobName=name)["BillableTimeInSeconds"] for name in names)
    assert any("max-cost" in tag["Value"] for tag in tags) or billed >= 6
    kept = local.client("s3").list_objects_v2(Bucket=bucket, Prefix="output/checkpoints/")
    assert kept["KeyCount"] > 0
    # A clear without more money creates nothing; with more, it resumes.
    before = asked(local, "CreateTrainingJob")
    with pytest.raises(MaxCostReachedError):
        run_task(task.operator(**given), ti.cleared())
    assert asked(local, "CreateTrainingJob") == before
    more = {**given, "max_cost": 5, "steps": 5, "max_run": 60}
    resumed = run_task(task.operator(**more), ti.cleared().cleared())
    assert resumed["Training"]["TrainingJobStatus"] == "Completed"
    assert len(resumed["Spot"]["attempts"]) > 1


@pytest.mark.parametrize("given", [0, -1, "much", "nan", True])
def test_an_amount_that_is_none_is_named_when_the_dag_is_parsed(sync_task: Task, given: Any) -> None:
    with pytest.raises(InvalidParameterError, match=r"max_cost is .*: must be an amount above 0"):
        sync_task.operator(max_cost=given)


def test_a_deferral_carries_prices_spending_and_order() -> None:
    state = RunState(1, 1, prices=Prices("EUR"), spent={"spent": "1.5", "through": 2}, types=("ml.a", "ml.b"))
    again = RunState.from_json(json.loads(json.dumps(state.to_json())))
    assert (again.prices, again.spent, again.types) == (state.prices, state.spent, state.types)


@pytest.mark.parametrize(
    "prices",
    [
        "none",
        5,
        {},
        {"hourly": []},
        {"hourly": {"ml.a": "1e999999"}},
        {"hourly": {"ml.a": "x"}},
        {"hourly": {}, "read": 5},
    ],
)
@pytest.mark.parametrize(("spent", "types"), [(5, None), ([], 5), ("x", {"a": 1}), (None, True)])
def test_another_versions_state_with_odd_money_is_read(prices: Any, spent: Any, types: Any) -> None:
    state = RunState.from_json({"generation": 1, "prices": prices, "spent": spent, "types": types})
    assert (state.prices, state.spent, state.types) == (None, None, ())


# ---- the order of an automatic ladder


@pytest.mark.parametrize("task", [pytest.param("sync", marks=pytest.mark.slow), "deferrable"], indirect=True)
def test_an_automatic_ladder_is_ordered_by_what_aws_says(
    local: LocalSageMaker, task: Task, ti: TaskInstance, aws_prices: Path
) -> None:
    """The third type has no spot quota: it comes last, whatever it costs."""
    types = ["ml.g5.2xlarge", "ml.m5.xlarge", "ml.p3.2xlarge"]
    spot = run_task(task.operator(ladder="auto", instance_types=types), ti)["Spot"]
    (attempt,) = spot["attempts"]
    assert attempt["instance_type"] == "ml.m5.xlarge"  # of the three the cheapest that may be had


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"ladder": "auto"}, "ladder"),
        ({"instance_types": ["ml.a"]}, "instance_types"),
        ({"ladder": "auto", "instance_types": "g5.xlarge"}, "instance_types"),
        ({"preflight": "maybe"}, "preflight"),
    ],
)
def test_what_cannot_be_right_is_named_when_the_dag_is_parsed(sync_task: Task, given: Any, field: str) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        sync_task.operator(**given)
    assert caught.value.name == field


# ---- before the first job


def test_what_would_go_wrong_keeps_the_job_from_being_created(
    local: LocalSageMaker, sync_task: Task, ti: TaskInstance
) -> None:
    before = asked(local, "CreateTrainingJob")
    said = r"No job was created \(preflight=.fail.\): .*ml\.p3\.2xlarge for spot training job usage"
    with pytest.raises(RequestError, match=said):
        run_task(sync_task.operator(preflight="fail", instance_type="ml.p3.2xlarge"), ti)
    assert asked(local, "CreateTrainingJob") == before


@pytest.mark.parametrize("task", [pytest.param("deferrable", marks=pytest.mark.slow), "sync"], indirect=True)
def test_by_default_it_is_told_and_trained(
    local: LocalSageMaker, task: Task, ti: TaskInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__AIRFLOW_SPOT__PREFLIGHT", "warn")
    before = asked(local, "iam:SimulatePrincipalPolicy") + asked(local, "servicequotas:ListServiceQuotas")
    assert run_task(task.operator(), ti)["Training"]["TrainingJobStatus"] == "Completed"
    # Under warn nothing is asked that needs more than the run.
    assert asked(local, "iam:SimulatePrincipalPolicy") + asked(local, "servicequotas:ListServiceQuotas") == before


def test_the_option_is_one_of_three(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__AIRFLOW_SPOT__PREFLIGHT", "sometimes")
    with pytest.raises(InvalidParameterError, match="must be warn, fail or off"):
        settings.preflight()
