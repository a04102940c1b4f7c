"""The page lists every kind of resource that the service has."""

from __future__ import annotations

import re
from html import unescape

from airflow_spot.local import LocalSageMaker
from airflow_spot.local.http.registry import KINDS, OPERATIONS
from tests.local.hosting.test_endpoints import Endpoints, adder
from tests.local.hosting.test_model_packages import Registry
from tests.local.jobs import Jobs
from tests.local.page.test_page import ask
from tests.local.processing.test_processing import Processing
from tests.local.transform.transforms import Transforms
from tests.local.tuning.tuning_jobs import Tuning


def one_of_each(jobs: Jobs) -> dict[str, str]:
    """Make one resource of every kind; return their names by the operation that creates the kind."""
    model = Endpoints(jobs).deploy(adder())
    registry = Registry(jobs)
    registry.register()
    return {
        "CreateTrainingJob": jobs.start("pass"),
        "CreateProcessingJob": Processing(jobs).start("pass"),
        "CreateTransformJob": Transforms(jobs).start(model),
        "CreateHyperParameterTuningJob": Tuning(jobs).start("print('loss=1')"),
        "CreateModelPackageGroup": registry.group,
        "CreateModelPackage": f"{registry.group}/1",
        "CreateModel": model,
        "CreateEndpointConfig": model,
        "CreateEndpoint": model,
    }


def test_every_kind_that_can_be_created_is_listed(local_sagemaker: LocalSageMaker) -> None:
    made = one_of_each(Jobs(local_sagemaker))
    assert sorted(made) == sorted(name for name in OPERATIONS if name.startswith("Create"))
    answer = ask(local_sagemaker, "GET", "/")
    assert answer.status == 200
    sections = dict(re.findall(r"<h2>(.*?)</h2>(.*?)(?=<h2>|$)", unescape(answer.text), re.DOTALL))
    listed = {f"Create{kind.member_prefix}": sections[f"{kind.label}s"] for kind in KINDS}
    assert {operation: name for operation, name in made.items() if name not in listed.get(operation, "")} == {}
