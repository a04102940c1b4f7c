"""Two Airflows that nobody has named, in one account, with the same DAG: neither takes the other's job or result."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_spot import config
from airflow_spot.compat import variables
from airflow_spot.runs import namespace
from tests.operators.scene import Hook, operator
from tests.support.sagemaker import DictionarySageMaker
from tests.support.task import TaskInstance

pytestmark = pytest.mark.usefixtures("short_pauses")


class Deployments:
    """Airflows, each with a database of Variables, of which one is at work."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.variables: dict[str, str] = {}
        for name in ("AIRFLOW_SPOT__NAMESPACE", "API__BASE_URL", "WEBSERVER__BASE_URL"):
            monkeypatch.delenv(f"AIRFLOW__{name}", raising=False)
        monkeypatch.delenv("AIRFLOW_ENV_NAME", raising=False)
        monkeypatch.setattr(variables, "read_variable", self._read)
        monkeypatch.setattr(variables, "create_variable", self._create)
        monkeypatch.setattr(namespace, "SETTLING_SECONDS", 0.001)

    def work_in(self, database: dict[str, str]) -> None:
        """Go on in a process of another deployment, or in a new one of the same."""
        self.variables = database
        namespace._settled.clear()
        config.deployment_namespace.cache_clear()

    def _read(self, key: str) -> str | None:
        return self.variables.get(key)

    def _create(self, key: str, value: str, description: str) -> None:
        self.variables.setdefault(key, value)


@pytest.fixture
def deployments(monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployments]:
    yield Deployments(monkeypatch)
    namespace._settled.clear()
    config.deployment_namespace.cache_clear()


def waits_for(service: DictionarySageMaker, number: int = 1, max_tries: int = 1) -> str:
    """Have a try of the one task continue until it waits; its job."""
    context: Any = {"ti": TaskInstance("train", try_number=number, max_tries=max_tries)}
    with pytest.raises(TaskDeferred) as wait:
        operator(service).execute(context)
    trigger: Any = wait.value.trigger
    return str(trigger.job_name)


def test_neither_takes_the_others_job_or_result(deployments: Deployments) -> None:
    service = DictionarySageMaker()
    dev: dict[str, str] = {}
    prod: dict[str, str] = {}
    deployments.work_in(prod)
    theirs = waits_for(service)
    service.put(theirs, "Completed", "Completed")
    deployments.work_in(dev)
    ours = waits_for(service)
    assert ours != theirs
    assert ours.split("-afspot-")[1].split("-")[0] != theirs.split("-afspot-")[1].split("-")[0]
    assert dev != prod
    deployments.work_in(prod)
    context: Any = {"ti": TaskInstance("train", try_number=2, max_tries=1)}
    made = operator(service)
    assert isinstance(made.hook, Hook)
    assert made.execute(context)["Training"]["TrainingJobName"] == theirs
    assert service.jobs[ours]["TrainingJobStatus"] == "InProgress"


@pytest.mark.filterwarnings("ignore:The base_url option")
@pytest.mark.parametrize("before", ["API", "WEBSERVER"])
@pytest.mark.parametrize("url", ["http://localhost:8080", "http://airflow:8080", "http://0.0.0.0:8080/"])
def test_an_upgrade_in_mid_run_finds_its_job(
    deployments: Deployments, monkeypatch: pytest.MonkeyPatch, before: str, url: str
) -> None:
    """The defaults of Airflow 2 and 3 differ; the Variable is of the database, which is upgraded and kept."""
    service = DictionarySageMaker()
    database: dict[str, str] = {}
    deployments.work_in(database)
    job = waits_for(service)
    monkeypatch.setenv(f"AIRFLOW__{before}__BASE_URL", url)
    deployments.work_in(database)
    assert waits_for(service, number=2) == job
    assert service.calls.count("CreateTrainingJob") == 1
    assert len(database) == 1
