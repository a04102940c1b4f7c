"""A kill, a template's error, a missing script, before a task's code has a run: what is live is dealt with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred
from jinja2 import Environment, StrictUndefined, UndefinedError

from airflow_spot.compat.sdk import AirflowTaskTimeout
from airflow_spot.core.marks import StopMark
from airflow_spot.core.orphans import TaskState
from airflow_spot.errors import (
    RenderError,
    RequestError,
    RunKilledError,
    SpotTrainingError,
)
from airflow_spot.operators import _before_execute
from airflow_spot.operators.training import SageMakerSpotTrainingOperator
from airflow_spot.runs import stopping
from tests.operators.scene import Hook, deferred, mark, operator, resume, ti
from tests.support.sagemaker import DictionarySageMaker

pytestmark = pytest.mark.usefixtures("short_pauses")

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
    service.put(trigger.job_name, "Stopped", "MaxWaitTimeExceeded")
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
