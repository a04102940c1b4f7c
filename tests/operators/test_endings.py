"""Nothing is abandoned where a try cannot begin, cannot stop or cannot see its job: what is live is ended, or named."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from airflow.providers.common.compat.sdk import TaskDeferred
from jinja2 import Environment, StrictUndefined, UndefinedError

from airflow_spot.aws import retrying as patience
from airflow_spot.aws.marks import Marks
from airflow_spot.aws.retrying import RetryingClient
from airflow_spot.aws.shapes import input_shape
from airflow_spot.compat.sdk import AirflowTaskTimeout
from airflow_spot.core.marks import StopMark
from airflow_spot.core.orphans import TaskState
from airflow_spot.core.request_schema import Shape
from airflow_spot.errors import (
    NonRetryableSpotError,
    RenderError,
    RequestError,
    RunKilledError,
    RunTimeoutError,
    SpotTrainingError,
    StoppedExternallyError,
)
from airflow_spot.hooks import training as hooks
from airflow_spot.operators import _before_execute
from airflow_spot.operators.training import SageMakerSpotTrainingOperator
from airflow_spot.runs import controller, stopping
from tests.support.requests import stock_config
from tests.support.sagemaker import DictionaryHook, DictionarySageMaker, error
from tests.support.task import TaskInstance

CLIENT = boto3.client("sagemaker", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
SHAPE = input_shape(CLIENT, "CreateTrainingJob")


class Hook(DictionaryHook):
    """The real hook, as an operator needs it, with retries as with SageMaker."""

    conn_region_name = "us-east-1"
    conn_partition = "aws"
    request_shape: Shape = SHAPE  # type: ignore[assignment]

    @property
    def client(self) -> Any:
        return self._retrying or self.service

    def enable_retries(self, sleep: Any, deadline: float | None, **_: Any) -> None:
        self._retrying = RetryingClient(lambda fresh: self.service, sleep, self.log, deadline=deadline)

    def check_training_config(self, training_config: dict[str, Any]) -> None:
        """There is no S3 beside the dictionary."""


@pytest.fixture
def service() -> DictionarySageMaker:
    return DictionarySageMaker()


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PAUSES", (0.01, 0.02))
    monkeypatch.setattr(hooks, "UNSEEN_PAUSES", (0.01,) * 5)
    monkeypatch.setattr(stopping, "CREATE_PAUSES", (0.01,) * 5)
    monkeypatch.setattr(controller, "GONE_PAUSES", (0.01,) * 3)
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


def operator(service: DictionarySageMaker, **parameters: Any) -> SageMakerSpotTrainingOperator:
    """A task of the run, made anew for each worker."""
    config = {**stock_config("bucket"), **parameters.pop("config", {})}
    defaults: dict[str, Any] = {"task_id": "train", "deferrable": True, "print_log": False, "aws_conn_id": None}
    made = SageMakerSpotTrainingOperator(config=config, **{**defaults, **parameters})
    made.__dict__["hook"] = Hook(service)
    return made


def edited(service: DictionarySageMaker, **parameters: Any) -> SageMakerSpotTrainingOperator:
    """The same task after somebody broke its config, in what is known only once it runs."""
    made = operator(service, **parameters)
    made.config = {**made.config, "OutputDataConfig": {"S3OutputPath": "no-uri"}}
    return made


def ti(number: int = 1, retries: int = 0) -> TaskInstance:
    return TaskInstance("train", try_number=number, max_tries=retries)


def deferred(service: DictionarySageMaker, this: TaskInstance, **parameters: Any) -> Any:
    """Have a try create its job and defer; its trigger."""
    context: Any = {"ti": this}
    with pytest.raises(TaskDeferred) as wait:
        operator(service, **parameters).execute(context)
    return wait.value.trigger


def resume(made: SageMakerSpotTrainingOperator, this: TaskInstance, trigger: Any, status: str = "timeout") -> Any:
    """Go on in a new worker, after the trigger fired."""
    context: Any = {"ti": this}
    return made.execute_complete(
        context, {"status": status, "job_name": trigger.job_name, "run_state": trigger.run_state}
    )


def mark(service: DictionarySageMaker, name: str) -> StopMark | None:
    return StopMark.parse(service.tags_of(name).get("airflow-spot:stop"))


# ---- a try that cannot be prepared


def test_a_config_that_broke_while_a_job_trains_stops_it_and_says_so(service: DictionarySageMaker) -> None:
    trigger = deferred(service, ti(retries=3))
    with pytest.raises(RequestError, match=f"no-uri.*{trigger.job_name} was stopped") as failed:
        resume(edited(service), ti(retries=3), trigger)
    assert "Nothing was sent" not in str(failed.value)
    assert service.jobs[trigger.job_name]["TrainingJobStatus"] == "Stopping"
    assert str(mark(service, trigger.job_name)) == "failure 1"


def test_a_retry_whose_config_is_wrong_stops_the_job_of_the_try_before(service: DictionarySageMaker) -> None:
    name = deferred(service, ti(1, 3)).job_name
    context: Any = {"ti": ti(2, 3)}
    made = operator(service, resume="{{ params.resume }}")
    made.resume = "maybe"  # as Jinja rendered it
    with pytest.raises(RequestError, match=f"resume is 'maybe'.*{name} was stopped"):
        made.execute(context)
    assert service.jobs[name]["TrainingJobStatus"] == "Stopping"
    assert service.tags_of(name)["airflow-spot:owner"] == "2"


def test_a_wrong_time_limit_of_a_retry_stops_the_job_as_well(service: DictionarySageMaker) -> None:
    name = deferred(service, ti(1, 3)).job_name
    made = operator(service)
    made.max_ingestion_time = 0
    context: Any = {"ti": ti(2, 3)}
    with pytest.raises(RequestError, match=f"max_ingestion_time.*{name} was stopped"):
        made.execute(context)
    assert service.jobs[name]["TrainingJobStatus"] == "Stopping"


def test_the_job_is_found_where_it_may_not_be_listed(service: DictionarySageMaker) -> None:
    service.denied = {"ListTrainingJobs"}
    name = deferred(service, ti(1, 3)).job_name
    context: Any = {"ti": ti(2, 3)}
    with pytest.raises(RequestError, match=f"{name} was stopped"):
        edited(service).execute(context)


def test_a_broken_config_leaves_a_job_that_may_run_on_and_names_it(
    service: DictionarySageMaker, said: list[str]
) -> None:
    trigger = deferred(service, ti(retries=3), stop_on_kill=False)
    with pytest.raises(RequestError, match=f"{trigger.job_name} keeps running \\(stop_on_kill=False\\)"):
        resume(edited(service, stop_on_kill=False), ti(retries=3), trigger)
    assert service.jobs[trigger.job_name]["TrainingJobStatus"] == "InProgress"
    assert any(f"Leaving training job {trigger.job_name} running (stop_on_kill=False" in line for line in said)


def test_a_broken_config_leaves_a_later_trys_job_alone(service: DictionarySageMaker) -> None:
    trigger = deferred(service, ti(1, 3))
    with pytest.raises(TaskDeferred):
        context: Any = {"ti": ti(2, 3)}
        operator(service).execute(context)
    with pytest.raises(RequestError, match="not stopped: it is owned by try 2"):
        resume(edited(service), ti(1, 3), trigger)
    assert service.jobs[trigger.job_name]["TrainingJobStatus"] == "InProgress"


@pytest.mark.parametrize(("begun", "status"), [(-60, "InProgress"), (60, "Stopping")])
def test_a_lower_try_takes_a_job_over_only_where_its_dag_run_was_made_again(
    service: DictionarySageMaker, begun: int, status: str
) -> None:
    """Else it was superseded while it prepared."""
    name = deferred(service, ti(2, 3)).job_name
    started = service.jobs[name]["CreationTime"] + timedelta(seconds=begun)
    context: Any = {"ti": ti(1, 3), "dag_run": SimpleNamespace(start_date=started)}
    with pytest.raises(RequestError, match=name):
        edited(service).execute(context)
    assert service.jobs[name]["TrainingJobStatus"] == status


def test_a_broken_config_says_what_came_of_a_job_that_ended(service: DictionarySageMaker) -> None:
    trigger = deferred(service, ti())
    service.put(trigger.job_name, "Completed", "Completed")
    with pytest.raises(RequestError, match=f"{trigger.job_name} has ended: completed"):
        resume(edited(service), ti(), trigger, "terminal")


def test_a_broken_config_of_a_run_without_a_job_sent_nothing(service: DictionarySageMaker) -> None:
    context: Any = {"ti": ti()}
    with pytest.raises(RequestError, match=r"no-uri.*Nothing was sent to SageMaker"):
        edited(service).execute(context)
    assert not service.jobs


@pytest.mark.parametrize("retries", [0, 1])
def test_a_role_that_cannot_be_looked_up_ends_the_job_or_leaves_it_to_the_next_try(
    service: DictionarySageMaker, said: list[str], monkeypatch: pytest.MonkeyPatch, retries: int
) -> None:
    trigger = deferred(service, ti(retries=retries))

    def refused(*_: Any, **__: Any) -> str:
        raise error("NoSuchEntity", "The role with name trainer cannot be found.", "GetRole")

    monkeypatch.setattr(Hook, "expand_role", refused)
    with pytest.raises(type(error(""))):
        resume(operator(service), ti(retries=retries), trigger)
    stopped = service.jobs[trigger.job_name]["TrainingJobStatus"] == "Stopping"
    assert stopped is (retries == 0)
    assert any(f"{trigger.job_name} keeps running; the next try attaches" in line for line in said) is (retries == 1)


def test_a_role_is_looked_up_until_iam_answers(service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    refusals = [error("Throttling", "Rate exceeded", "GetRole")] * 3

    def get(*_: Any) -> str:
        if refusals:
            raise refusals.pop()
        return "arn:aws:iam::123456789012:role/trainer"

    monkeypatch.setattr(hooks.SageMakerHook, "expand_role", get)
    assert deferred(service, ti(), config={"RoleArn": "trainer"}).job_name in service.live()


def test_a_task_that_is_killed_while_it_prepares_stops_its_job(
    service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A retry does not know its job yet, and a task that goes on does: both stop it, and neither defers."""
    trigger = deferred(service, ti(1, 3))
    made = operator(service)
    monkeypatch.setattr(Hook, "expand_role", lambda self, role: (made.on_kill(), role)[1])
    with pytest.raises(RunKilledError):
        resume(made, ti(1, 3), trigger)
    assert str(mark(service, trigger.job_name)) == "killed 1"
    assert service.jobs[trigger.job_name]["TrainingJobStatus"] == "Stopping"
    service.put(trigger.job_name, "InProgress")
    context: Any = {"ti": ti(2, 3)}
    with pytest.raises(RunKilledError):
        made.execute(context)
    assert service.jobs[trigger.job_name]["TrainingJobStatus"] == "Stopping"


# ---- a stop that fails


def test_a_stop_at_the_deadline_is_repeated_until_sagemaker_answers(
    service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    trigger = deferred(service, ti(), max_ingestion_time=1)
    time.sleep(max(0.0, trigger.run_state["give_up_at"] - time.time()))
    stop, refusals = service.stop_training_job, [error("ThrottlingException", "Rate exceeded", "StopTrainingJob")] * 3

    def throttled(TrainingJobName: str) -> None:
        if refusals:
            raise refusals.pop()
        stop(TrainingJobName)

    monkeypatch.setattr(service, "stop_training_job", throttled)
    with pytest.raises(TaskDeferred):  # to wait for its end
        resume(operator(service), ti(), trigger)
    assert service.jobs[trigger.job_name]["TrainingJobStatus"] == "Stopping"
    service.put(trigger.job_name, "Stopped", "Stopped")
    with pytest.raises(RunTimeoutError):
        resume(operator(service), ti(), trigger, "terminal")


def test_a_stop_that_is_not_permitted_is_told_and_leaves_no_mark(service: DictionarySageMaker, said: list[str]) -> None:
    trigger = deferred(service, ti(), max_ingestion_time=1)
    time.sleep(max(0.0, trigger.run_state["give_up_at"] - time.time()))
    service.denied = {"StopTrainingJob"}
    with pytest.raises(RequestError, match=f"sagemaker:StopTrainingJob.*{trigger.job_name} could not be stopped"):
        resume(operator(service), ti(), trigger)
    left = mark(service, trigger.job_name)
    assert left is not None
    assert left.withdrawn
    assert any(f"{trigger.job_name} could not be stopped" in line for line in said)


@pytest.mark.parametrize("denied", [{"StopTrainingJob"}, {"StopTrainingJob", "AddTags", "DescribeTrainingJob"}])
def test_a_timeout_stays_one_where_the_stop_fails(
    service: DictionarySageMaker, said: list[str], monkeypatch: pytest.MonkeyPatch, denied: set[str]
) -> None:
    made = operator(service, deferrable=False, check_interval=1)

    def sleep(*_: Any) -> None:
        service.denied = denied
        raise AirflowTaskTimeout("Timeout")

    monkeypatch.setattr("airflow_spot.runs.controller.interruptible_sleep", sleep)
    context: Any = {"ti": ti()}
    with pytest.raises(AirflowTaskTimeout):
        made.execute(context)
    (name,) = service.live()
    assert any(f"{name} could not be stopped" in line for line in said)


def test_a_kill_whose_stop_failed_is_made_up_for_by_the_task_itself(
    service: DictionarySageMaker, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = operator(service, deferrable=False, check_interval=1)

    def killed(amount: float, check_alive: Any) -> None:
        service.denied = {"StopTrainingJob"}
        made.on_kill()
        service.denied = set()
        check_alive()

    monkeypatch.setattr("airflow_spot.runs.controller.interruptible_sleep", killed)
    context: Any = {"ti": ti(1, 3)}
    with pytest.raises(RunKilledError):
        made.execute(context)
    (name,) = service.live()
    assert service.jobs[name]["TrainingJobStatus"] == "Stopping"


# ---- a job that does not show


class Shy(DictionarySageMaker):
    """Shows a job only some looks after its create."""

    looks = 0

    def describe_training_job(self, TrainingJobName: str) -> dict[str, Any]:
        if TrainingJobName in self.jobs and self.looks > 0:
            self.looks -= 1
            raise error("ValidationException", "Requested resource not found.", "DescribeTrainingJob")
        return super().describe_training_job(TrainingJobName)


def test_a_job_that_shows_late_is_waited_for() -> None:
    service = Shy()
    service.looks = 3
    assert deferred(service, ti()).job_name in service.live()
    assert service.calls.count("CreateTrainingJob") == 1


@pytest.mark.parametrize("retries", [0, 1])
def test_a_job_that_does_not_show_in_time_is_stopped_or_left_to_the_next_try(said: list[str], retries: int) -> None:
    service = Shy()
    service.looks = 6
    context: Any = {"ti": ti(retries=retries)}
    with pytest.raises(SpotTrainingError, match="does not find it"):
        operator(service).execute(context)
    (name,) = service.live()
    assert (service.jobs[name]["TrainingJobStatus"] == "Stopping") is (retries == 0)
    assert any(f"{name} keeps running; the next try attaches" in line for line in said) is (retries == 1)


def test_a_strangers_job_of_our_name_is_not_stopped() -> None:
    service = Shy()
    name = deferred(service, ti()).job_name
    service.put(name, Environment={})
    service.unlisted = service.looks = 1  # seen only once the create is refused
    context: Any = {"ti": ti()}
    with pytest.raises(RequestError, match="already used outside this run"):
        operator(service).execute(context)
    assert service.jobs[name]["TrainingJobStatus"] == "InProgress"


def test_a_task_that_does_not_wait_leaves_no_job_where_it_fails(
    service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise error("ValidationException", "no more tags", "AddTags")

    monkeypatch.setattr(Marks, "set_delivered", refused)
    context: Any = {"ti": ti()}
    with pytest.raises(type(error(""))):
        operator(service, wait_for_completion=False).execute(context)
    (name,) = service.live()
    assert service.jobs[name]["TrainingJobStatus"] == "Stopping"


# ---- a script that is not on this worker


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The parameters of script mode; nothing is sent to S3."""
    monkeypatch.setattr(Hook, "upload_source", lambda *_: "")
    (tmp_path / "train.py").write_text("print('trains')")
    return {"entry_point": "train.py", "source_dir": str(tmp_path)}


def test_a_worker_without_the_script_takes_over_the_job(
    service: DictionarySageMaker, source: dict[str, Any], said: list[str]
) -> None:
    trigger = deferred(service, ti(1, 5), **source)
    (Path(source["source_dir"]) / "train.py").unlink()
    assert deferred(service, ti(2, 5), **source).job_name == trigger.job_name
    with pytest.raises(TaskDeferred):
        resume(operator(service, **source), ti(2, 5), trigger)
    assert service.live() == [trigger.job_name]
    assert service.jobs[trigger.job_name]["TrainingJobStatus"] == "InProgress"
    assert not any("changed since" in line for line in said)


def test_a_worker_without_the_script_makes_no_job_and_another_try_may(
    service: DictionarySageMaker, source: dict[str, Any]
) -> None:
    trigger = deferred(service, ti(1, 5), **source)
    service.put(trigger.job_name, "Failed", "Failed", FailureReason="InternalServerError: sorry")
    script = Path(source["source_dir"]) / "train.py"
    script.rename(script.with_suffix(".away"))
    with pytest.raises(SpotTrainingError, match=r"there is no file .* on this worker") as failed:
        resume(operator(service, **source), ti(1, 5), trigger)
    assert not isinstance(failed.value, RequestError)
    assert len(service.jobs) == 1
    script.with_suffix(".away").rename(script)
    assert deferred(service, ti(2, 5), **source).job_name != trigger.job_name


# ---- what Airflow does before the task's code runs


@pytest.mark.parametrize("deferrable", [True, False])
def test_a_kill_before_execute_creates_nothing(service: DictionarySageMaker, deferrable: bool) -> None:
    made = operator(service, deferrable=deferrable)
    made.on_kill()
    context: Any = {"ti": ti()}
    with pytest.raises(RunKilledError):
        made.execute(context)
    assert not service.jobs


def test_a_kill_of_a_retry_before_execute_stops_what_the_try_before_left(service: DictionarySageMaker) -> None:
    name = deferred(service, ti(1, 3)).job_name
    made = operator(service)
    made.on_kill()
    context: Any = {"ti": ti(2, 3)}
    with pytest.raises(RunKilledError):
        made.execute(context)
    assert service.jobs[name]["TrainingJobStatus"] == "Stopping"


def test_a_kill_before_a_resume_stops_the_job(service: DictionarySageMaker) -> None:
    trigger = deferred(service, ti())
    made = operator(service)
    made.on_kill()
    with pytest.raises(RunKilledError):
        resume(made, ti(), trigger)
    assert service.jobs[trigger.job_name]["TrainingJobStatus"] == "Stopping"


@pytest.mark.parametrize("state", ["failed", "success", "skipped"])
def test_a_task_that_was_ended_while_it_began_does_not_wait_and_stops_its_job(
    service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    """A worker looks for a mark every five seconds; a deferral after it is refused once the task's code is over."""
    monkeypatch.setattr(_before_execute, "state_in_task", lambda run: TaskState(True, state))
    context: Any = {"ti": ti(1, 3)}
    with pytest.raises(RunKilledError, match=f"was marked {state} .* was stopped"):
        operator(service).execute(context)
    (name,) = service.jobs
    assert service.jobs[name]["TrainingJobStatus"] == "Stopping"
    assert mark(service, name) == StopMark("killed", 1)


@pytest.mark.parametrize("state", [None, "running", "restarting", "queued", "deferred", "up_for_retry"])
def test_a_task_that_somebody_comes_for_waits(
    service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch, state: str | None
) -> None:
    monkeypatch.setattr(_before_execute, "state_in_task", lambda run: TaskState(state is not None, state))
    assert deferred(service, ti()).job_name in service.jobs
    assert "StopTrainingJob" not in service.calls


def test_a_task_waits_where_nobody_says_how_it_is(
    service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_answer(_: Any) -> None:
        raise ConnectionError("no API server")

    monkeypatch.setattr(_before_execute, "state_in_task", no_answer)
    assert deferred(service, ti()).job_name in service.jobs
    assert "StopTrainingJob" not in service.calls


def test_a_timeout_while_the_state_is_asked_for_stops_the_job(
    service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(_: Any) -> None:
        raise AirflowTaskTimeout("over")

    monkeypatch.setattr(_before_execute, "state_in_task", slow)
    monkeypatch.setattr(stopping, "_POLL_SECONDS", 0.001)
    monkeypatch.setattr(stopping, "STOP_SECONDS", 0.002)
    context: Any = {"ti": ti()}
    with pytest.raises(AirflowTaskTimeout):
        operator(service).execute(context)
    (name,) = service.jobs
    assert mark(service, name) == StopMark("timeout", 1)


def render(made: SageMakerSpotTrainingOperator) -> None:
    """Render a task as Airflow does before it runs it."""
    made.render_template_fields({"params": {}}, jinja_env=Environment(undefined=StrictUndefined))


TEMPLATE = "s3://bucket/{{ var.value.folder }}"


def test_a_template_that_no_longer_renders_stops_the_job_and_is_told(service: DictionarySageMaker) -> None:
    trigger = deferred(service, ti(retries=3))
    made = operator(service, checkpoint_s3_uri=TEMPLATE)
    render(made)
    with pytest.raises(RenderError, match=r"checkpoint_s3_uri.*var") as raised:
        resume(made, ti(retries=3), trigger)
    assert isinstance(raised.value.__cause__, UndefinedError)
    assert service.jobs[trigger.job_name]["TrainingJobStatus"] == "Stopping"
    assert str(mark(service, trigger.job_name)) == "failure 1"


def test_a_template_that_may_render_at_the_next_try_leaves_the_job_to_it(
    service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = deferred(service, ti(1, 3)).job_name

    def unanswered(*_: Any, **__: Any) -> None:
        raise ConnectionResetError("the API server is restarted")

    for this, status in ((ti(2, 3), "InProgress"), (ti(4, 3), "Stopping")):
        made = operator(service)
        with monkeypatch.context() as patch:
            patch.setattr(SageMakerSpotTrainingOperator, "render_template", unanswered)
            render(made)
        context: Any = {"ti": this}
        with pytest.raises(RenderError, match="restarted"):
            made.execute(context)
        assert service.jobs[name]["TrainingJobStatus"] == status


def test_the_other_fields_are_rendered_all_the_same(service: DictionarySageMaker) -> None:
    made = operator(service, checkpoint_s3_uri=TEMPLATE, region_name="{{ 'eu' }}-west-1")
    render(made)
    assert made.region_name == "eu-west-1"
    context: Any = {"ti": ti()}
    with pytest.raises(RenderError):
        made.execute(context)
    assert not service.jobs


# ---- a create without an answer, and a stop without effect


class LateBirth(DictionarySageMaker):
    """Carries out a create only some looks after its answer should have come."""

    looks, request = 3, dict[str, Any]()

    def create_training_job(self, **request: Any) -> dict[str, str]:
        self.request = request
        raise self.end

    def describe_training_job(self, TrainingJobName: str) -> dict[str, Any]:
        if self.request and TrainingJobName == self.request["TrainingJobName"]:
            self.looks -= 1
            if self.looks == 0:
                super().create_training_job(**self.request)
        return super().describe_training_job(TrainingJobName)

    end: BaseException = AirflowTaskTimeout("Timeout")


class Terminated(BaseException):
    """What Airflow 2 raises from its signal handler, once on_kill has returned."""


@pytest.mark.parametrize("end", [AirflowTaskTimeout("Timeout"), Terminated(), KeyboardInterrupt()])
def test_a_job_that_comes_to_life_after_the_tasks_end_is_stopped(end: BaseException) -> None:
    service = LateBirth()
    service.end = end
    context: Any = {"ti": ti()}
    with pytest.raises(type(end)):
        operator(service).execute(context)
    (job,) = service.jobs.values()
    assert job["TrainingJobStatus"] == "Stopping"


def test_a_create_that_never_comes_to_life_is_not_waited_for_for_ever(service: DictionarySageMaker) -> None:
    late = LateBirth()
    late.looks = 1_000
    context: Any = {"ti": ti()}
    with pytest.raises(AirflowTaskTimeout):
        operator(late).execute(context)
    assert not late.jobs


def test_a_kill_does_not_wait_for_the_create_that_it_interrupts(
    service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signal handler returns, and the call that it came in goes on."""
    made = operator(service)
    create = service.create_training_job
    looks: list[int] = []

    def interrupted(**request: Any) -> Any:
        before = service.calls.count("DescribeTrainingJob")
        made.on_kill()
        looks.append(service.calls.count("DescribeTrainingJob") - before)
        return create(**request)

    monkeypatch.setattr(service, "create_training_job", interrupted)
    context: Any = {"ti": ti()}
    with pytest.raises(RunKilledError):
        made.execute(context)
    assert looks == [1]
    (job,) = service.jobs.values()
    assert job["TrainingJobStatus"] == "Stopping"


class Throttled(DictionarySageMaker):
    """Answers no call for the first so many."""

    refuses = 0

    def _called(self, operation: str) -> None:
        super()._called(operation)
        if self.refuses > 0:
            self.refuses -= 1
            raise error("ThrottlingException", "Rate exceeded", operation)


def test_a_kill_is_repeated_within_the_seconds_that_it_has(said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    service = Throttled()
    made = operator(service, deferrable=False)

    def killed(*_: Any) -> None:
        service.refuses = 20
        made.on_kill()
        raise Terminated

    monkeypatch.setattr("airflow_spot.runs.controller.interruptible_sleep", killed)
    context: Any = {"ti": ti()}
    with pytest.raises(Terminated):
        made.execute(context)
    (job,) = service.jobs.values()
    assert job["TrainingJobStatus"] == "Stopping"
    assert not any("could not be stopped" in line for line in said)


def test_a_kill_that_cannot_stop_in_its_seconds_says_who_will(said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    service = Throttled()
    made = operator(service, deferrable=False)
    monkeypatch.setattr(stopping, "ON_KILL_SECONDS", 0.05)

    def killed(*_: Any) -> None:
        service.refuses = 10_000
        made.on_kill()
        service.refuses = 0
        raise Terminated

    monkeypatch.setattr("airflow_spot.runs.controller.interruptible_sleep", killed)
    context: Any = {"ti": ti()}
    with pytest.raises(Terminated):
        made.execute(context)
    assert any("could not be stopped" in line and "airflow-spot orphans --stop" in line for line in said)
    (job,) = service.jobs.values()
    assert job["TrainingJobStatus"] == "Stopping"  # by the task itself, which was left to go on


# ---- a success


def test_retention_comes_before_delivery(service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that is lost while checkpoints are deleted leaves a result that the next try takes, and pays no more."""
    trigger = deferred(service, ti())
    service.put(trigger.job_name, "Completed", "Completed")
    marked: list[bool] = []

    def retention(*_: Any) -> None:
        marked.append("airflow-spot:delivered" in service.tags_of(trigger.job_name))

    monkeypatch.setattr("airflow_spot.operators.training.apply_retention", retention)
    resume(operator(service, checkpoint_retention="30d"), ti(), trigger, "terminal")
    assert marked == [False]
    assert "airflow-spot:delivered" in service.tags_of(trigger.job_name)


def cleared(number: int = 2) -> TaskInstance:
    """The task after a person's clear."""
    return ti(number, number)


@pytest.mark.parametrize(
    ("choice", "name"), [(None, "-1-2"), ("resume", "-1-2"), ("restart", "-2-1"), ("fail", RequestError)]
)
def test_a_result_that_nobody_got_is_not_that_of_a_task_changed_and_cleared(
    service: DictionarySageMaker, choice: str | None, name: Any
) -> None:
    trigger = deferred(service, ti())
    service.put(trigger.job_name, "Completed", "Completed")
    changed = {"config": {"HyperParameters": {"steps": "99"}}, "on_config_change": choice}
    if isinstance(name, str):
        again = deferred(service, cleared(), **changed)
        assert again.job_name.endswith(name)
        service.put(again.job_name, "Failed", "Failed", FailureReason="InternalServerError: sorry")
        assert deferred(service, cleared(), **changed).job_name != trigger.job_name
    else:
        context: Any = {"ti": cleared()}
        with pytest.raises(name):
            operator(service, **changed).execute(context)
        assert len(service.jobs) == 1


@pytest.mark.parametrize(("this", "config"), [(ti(2, 1), {"HyperParameters": {"steps": "99"}}), (cleared(), {})])
def test_a_result_that_nobody_got_is_a_retrys_and_an_unchanged_tasks(
    service: DictionarySageMaker, this: TaskInstance, config: dict[str, Any]
) -> None:
    trigger = deferred(service, ti(1, 1))
    service.put(trigger.job_name, "Completed", "Completed")
    context: Any = {"ti": this}
    assert operator(service, config=config).execute(context)["Training"]["TrainingJobName"] == trigger.job_name
    assert len(service.jobs) == 1


def test_a_refused_create_after_a_result_that_is_not_wanted_does_not_bring_it_back(
    service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    trigger = deferred(service, ti())
    service.put(trigger.job_name, "Completed", "Completed")
    changed: dict[str, Any] = {"config": {"HyperParameters": {"steps": "99"}}}
    create = service.create_training_job

    def refused(**_: Any) -> Any:
        raise error("ResourceLimitExceeded", "The account-level service limit is 0 Instances", "CreateTrainingJob")

    monkeypatch.setattr(service, "create_training_job", refused)
    monkeypatch.setattr(controller, "SHORT_PAUSE_SECONDS", 0.0)
    pause = deferred(service, cleared(), **changed)
    assert pause.job_name is None
    monkeypatch.setattr(service, "create_training_job", create)
    with pytest.raises(TaskDeferred) as again:
        resume(operator(service, **changed), cleared(), pause, "quota_available")
    made: Any = again.value.trigger
    assert made.job_name.endswith("-1-2")


# ---- what people do to jobs


@pytest.mark.parametrize("how", ["resume", "sync"])
def test_a_job_that_a_person_deletes_is_not_trained_again(
    service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    def delete() -> None:
        service.jobs.clear()

    with pytest.raises(StoppedExternallyError, match="was deleted outside Airflow"):
        if how == "resume":
            trigger = deferred(service, ti(1, 3))
            delete()
            resume(operator(service), ti(1, 3), trigger, "not_found")
        else:
            monkeypatch.setattr("airflow_spot.runs.controller.interruptible_sleep", lambda *_: delete())
            context: Any = {"ti": ti(1, 3)}
            operator(service, deferrable=False).execute(context)
    assert service.calls.count("CreateTrainingJob") == 1
    assert deferred(service, cleared(4)).job_name.endswith("-1-1")


def test_one_answer_without_the_job_is_not_its_deletion(service: DictionarySageMaker) -> None:
    shy = Shy()
    trigger = deferred(shy, ti(1, 3))
    shy.looks = 2
    with pytest.raises(TaskDeferred):
        resume(operator(shy), ti(1, 3), trigger, "not_found")
    assert shy.calls.count("CreateTrainingJob") == 1


def test_a_job_that_completed_and_is_deleted_is_told_of(
    service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    trigger = deferred(service, ti(1, 3))
    service.put(trigger.job_name, "Completed", "Completed")
    monkeypatch.setattr(controller.TrainingRun, "_act", lambda *_: None)
    decide = controller.decide

    def and_delete(*args: Any) -> Any:
        service.jobs.clear()
        return decide(*args)

    monkeypatch.setattr(controller, "decide", and_delete)
    with pytest.raises(NonRetryableSpotError, match="completed, and was deleted"):
        resume(operator(service), ti(1, 3), trigger, "terminal")


def test_a_clear_while_the_job_stops_waits_for_its_end_and_goes_on(
    service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = deferred(service, ti()).job_name
    service.stop_training_job(name)  # by a person, who then clears the task
    trigger = deferred(service, cleared())
    assert trigger.job_name == name
    service.put(name, "Stopped", "Stopped")
    with pytest.raises(TaskDeferred) as again:
        resume(operator(service), cleared(), trigger, "terminal")
    made: Any = again.value.trigger
    assert made.job_name.endswith("-1-2")
    service.stop_training_job(made.job_name)  # and once more: that one is this try's
    service.put(made.job_name, "Stopped", "Stopped")
    with pytest.raises(StoppedExternallyError):
        resume(operator(service), cleared(), made, "terminal")
