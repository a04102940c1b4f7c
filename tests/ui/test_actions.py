"""What is asked of a run from its page reaches its job, and no other's; the run then does as it was asked."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred
from botocore.exceptions import ClientError, ConnectionClosedError, EndpointConnectionError

from airflow_spot.aws import asked_stops
from airflow_spot.core.identity import JobName
from airflow_spot.core.marks import TAG_REQUEST, TAG_STOP
from airflow_spot.errors import StoppedExternallyError
from airflow_spot.render.values import Viewed
from airflow_spot.ui import actions
from airflow_spot.ui.actions import Credentials, RefusedError, carry_out, commands, live_job, offered
from tests.operators.scene import deferred, operator, resume, ti
from tests.support.sagemaker import DictionarySageMaker
from tests.support.task import TaskInstance
from tests.ui.ledgers import attempt, timeline

NOW = datetime.now(timezone.utc)
LADDER = ["ml.m5.xlarge", {"on_demand": ["ml.m5.2xlarge"]}]


@pytest.fixture
def service() -> DictionarySageMaker:
    return DictionarySageMaker()


class Run:
    """A task that waits in the triggerer for a job, and its ledger."""

    def __init__(self, service: DictionarySageMaker, **parameters: Any) -> None:
        self.service, self.parameters = service, parameters
        self.this = ti()
        self.trigger = deferred(service, self.this, **parameters)
        self.job = self.trigger.job_name
        service.passes(self.job, "Training")

    @property
    def key(self) -> str:
        """The run key."""
        name = JobName.parse(self.job)
        assert name is not None
        return name.key

    def viewed(self, **changes: Any) -> Viewed:
        """What its page shows."""
        one = self.this
        ledger: Any = timeline(one.dag_id, one.run_id, one.task_id, attempts=[attempt(job=self.job)])
        ledger["key"] = self.key
        return Viewed(one.dag_id, one.run_id, one.task_id, state="deferred", timeline={**ledger, **changes})

    def asks(self, name: str, viewed: Viewed | None = None) -> str:
        """Ask for something, as its page does."""
        return carry_out(name, viewed or self.viewed(), lambda region: self.service)

    def goes_on(self) -> Any:
        """Have the job end as it was told to, and the task continue."""
        self.service.put(self.job, "Stopped", "Stopped", TrainingTimeInSeconds=60, BillableTimeInSeconds=30)
        return resume(operator(self.service, **self.parameters), self.this, self.trigger, "terminal")


def test_a_stop_is_one_for_good(service: DictionarySageMaker) -> None:
    run = Run(service, ladder=LADDER)
    assert run.job in run.asks("stop")
    assert service.jobs[run.job]["TrainingJobStatus"] == "Stopping"
    with pytest.raises(StoppedExternallyError):
        run.goes_on()
    assert len(service.jobs) == 1


def test_to_on_demand_goes_on_there_from_the_checkpoint(service: DictionarySageMaker) -> None:
    run = Run(service, ladder=LADDER)
    run.asks("on-demand")
    tags = service.tags_of(run.job)
    assert (tags[TAG_STOP], tags[TAG_REQUEST]) == ("request 1", "on-demand 1")
    assert service.calls.index("AddTags") < service.calls.index("StopTrainingJob")
    with pytest.raises(TaskDeferred):
        run.goes_on()
    first, second = (service.jobs[name] for name in service.jobs)
    assert second["EnableManagedSpotTraining"] is False
    assert second["ResourceConfig"]["InstanceType"] == "ml.m5.2xlarge"
    assert second["CheckpointConfig"]["S3Uri"] == first["CheckpointConfig"]["S3Uri"]


def test_a_ledger_that_names_the_job_of_another_stops_nothing(service: DictionarySageMaker) -> None:
    """Whoever may edit an XCom of one DAG must not stop the jobs of another."""
    theirs = Run(service)
    mine = TaskInstance("train", "my_dag", theirs.this.run_id)
    forged: Any = theirs.viewed().timeline
    viewed = Viewed(mine.dag_id, mine.run_id, mine.task_id, state="deferred", timeline=forged)
    for name in ("stop", "on-demand"):
        with pytest.raises(RefusedError) as refused:
            theirs.asks(name, viewed)
        assert refused.value.status == 403
    assert "StopTrainingJob" not in service.calls
    assert TAG_STOP not in service.tags_of(theirs.job)


@pytest.mark.parametrize(
    ("denied", "name", "said"),
    [
        ("ListTags", "stop", "sagemaker:ListTags"),
        ("AddTags", "on-demand", "sagemaker:AddTags"),
        ("StopTrainingJob", "stop", "AccessDenied"),
        ("ListTrainingJobs", "stop", "AccessDenied"),
    ],
)
def test_what_may_not_be_done_is_a_command_to_copy(
    service: DictionarySageMaker, denied: str, name: str, said: str
) -> None:
    run = Run(service)
    service.denied.add(denied)
    with pytest.raises(RefusedError) as refused:
        run.asks(name)
    assert said in str(refused.value)
    assert f"airflow-spot stop --job {run.job} --region eu-west-1" in str(refused.value)
    assert service.jobs[run.job]["TrainingJobStatus"] == "InProgress"


LOST = ConnectionClosedError(endpoint_url="https://x")
DENIED = ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "StopTrainingJob")


@pytest.mark.parametrize("error", [LOST, DENIED])
def test_a_stop_that_fails_leaves_no_tag_that_a_persons_later_stop_would_be_read_by(
    service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    run = Run(service, ladder=LADDER)

    def fails(**_: Any) -> None:
        raise error

    monkeypatch.setattr(service, "stop_training_job", fails)
    with pytest.raises(RefusedError) as refused:
        run.asks("on-demand")
    assert refused.value.status == 502
    service.put(run.job, "Stopped", "Stopped")  # in the console
    with pytest.raises(StoppedExternallyError):
        run.goes_on()
    assert len(service.jobs) == 1


def test_a_request_whose_stop_failed_does_not_pay_for_on_demand_later(
    service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(service, ladder=["ml.m5.xlarge", "ml.m5.4xlarge", {"on_demand": ["ml.m5.2xlarge"]}])
    monkeypatch.setattr(service, "stop_training_job", lambda **_: (_ for _ in ()).throw(DENIED))
    with pytest.raises(RefusedError):
        run.asks("on-demand")
    monkeypatch.undo()
    asked_stops.stop_to_go_on(service, asked_stops.live_attempts(service, run.key, NOW)[0])
    with pytest.raises(TaskDeferred):
        run.goes_on()
    assert [job["EnableManagedSpotTraining"] for job in service.jobs.values()] == [True, True]


def test_a_stop_whose_answer_was_lost_is_one(service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(service, ladder=LADDER)

    def lost(**named: Any) -> None:
        DictionarySageMaker.stop_training_job(service, **named)
        raise LOST

    monkeypatch.setattr(service, "stop_training_job", lost)
    assert run.job in run.asks("on-demand")
    with pytest.raises(TaskDeferred):
        run.goes_on()
    _, second = service.jobs.values()
    assert second["EnableManagedSpotTraining"] is False


@pytest.mark.parametrize(
    "error",
    [
        EndpointConnectionError(endpoint_url="https://x"),
        ClientError({"Error": {"Code": "ExpiredToken", "Message": "a-secret"}}, "ListTrainingJobs"),
    ],
)
def test_aws_that_is_not_reached_is_no_error_of_the_page(service: DictionarySageMaker, error: Exception) -> None:
    run = Run(service)

    def no_client(region: str) -> Any:
        raise error

    with pytest.raises(RefusedError) as refused:
        carry_out("stop", run.viewed(), no_client)
    assert refused.value.status == 502
    assert "a-secret" not in str(refused.value)


def test_another_account_has_no_such_job(service: DictionarySageMaker) -> None:
    run = Run(service)
    with pytest.raises(RefusedError, match="web server uses"):
        carry_out("stop", run.viewed(), lambda region: DictionarySageMaker())


def test_once_is_enough(service: DictionarySageMaker) -> None:
    run = Run(service)
    run.asks("stop")
    assert "stopping already" in run.asks("stop")
    assert service.calls.count("StopTrainingJob") == 1


@pytest.mark.parametrize(("first", "then"), [("on-demand", "stop"), ("stop", "on-demand")])
def test_a_job_that_is_stopping_for_something_else_is_no_success(
    service: DictionarySageMaker, first: str, then: str
) -> None:
    """Who asks to stop a run must not be told that it stops where it continues, and costs."""
    run = Run(service)
    run.asks(first)
    with pytest.raises(RefusedError, match="stopping already, and the") as refused:
        run.asks(then)
    assert refused.value.status == 409
    assert service.calls.count("StopTrainingJob") == 1


def test_an_on_demand_attempt_is_not_asked_to_go_there() -> None:
    ledger: Any = timeline("d", "r", "t", attempts=[attempt(spot=False)])
    viewed = Viewed("d", "r", "t", timeline=ledger)
    assert set(commands(ledger, ledger["attempts"][0])) == {"stop"}
    with pytest.raises(RefusedError, match="on-demand already"):
        carry_out("on-demand", viewed)


def test_a_command_is_one_for_a_shell_whatever_the_ledger_holds() -> None:
    ledger: Any = timeline("d", "r", "t", region="x; rm -rf /", attempts=[attempt(job="$(reboot)")])
    assert commands(ledger, ledger["attempts"][0])["stop"] == (
        "airflow-spot stop --job '$(reboot)' --region 'x; rm -rf /'"
    )


@pytest.mark.parametrize(
    ("state", "changes"),
    [
        ("success", {}),
        ("failed", {}),
        ("deferred", {"state": "completed"}),
        ("deferred", {"attempts": []}),
        ("deferred", {"attempts": [attempt(ended=3.0, status="Stopped")]}),
        ("deferred", {"attempts": [attempt(status="Stopping")]}),
    ],
)
def test_where_nothing_is_live_nothing_is_offered(state: str, changes: dict[str, Any]) -> None:
    ledger: Any = timeline("d", "r", "t", **changes)
    viewed = Viewed("d", "r", "t", state=state, timeline=ledger)
    assert live_job(viewed) is None
    assert not offered(viewed, may_edit=True, credentials=True).allowed
    with pytest.raises(RefusedError, match="nothing to stop"):
        carry_out("stop", viewed)
    assert live_job(Viewed("d", "r", "t")) is None


def test_credentials_are_looked_for_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now, looks = [0.0], []
    known = Credentials(lambda: bool(looks.append(now[0]) or len(looks) > 1), lambda: now[0])
    assert not known
    assert not known
    now[0] += 301
    assert known
    assert len(looks) == 2


def test_without_credentials_this_process_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/none")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/none")
    assert actions._has_credentials() is False
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    assert actions._has_credentials() is True
