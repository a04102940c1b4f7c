"""Airflow finds this provider, and everything that it names exists."""

from __future__ import annotations

import json
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import airflow
import jsonschema
import pytest

import airflow_spot
from airflow_spot.operators.training import SageMakerSpotTrainingOperator
from airflow_spot.provider_info import get_provider_info


def test_airflow_finds_it_by_its_entry_point() -> None:
    (found,) = [e for e in entry_points(group="apache_airflow_provider") if e.value.startswith("airflow_spot")]
    assert found.load()() == get_provider_info()


@pytest.mark.parametrize("schema", ["provider_info.schema.json"])
def test_it_passes_airflows_own_check(schema: str) -> None:
    jsonschema.validate(get_provider_info(), json.loads((Path(airflow.__file__).parent / schema).read_text()))


def test_airflows_providers_manager_takes_it() -> None:
    from airflow.providers_manager import ProvidersManager

    manager = ProvidersManager()
    assert manager.providers["airflow-spot"].version == airflow_spot.__version__
    assert {name for name in manager.extra_links_class_names if name.startswith("airflow_spot")} == set(
        get_provider_info()["extra-links"]
    )
    options: Any = dict(manager.provider_configs)["airflow-spot"]["airflow_spot"]["options"]
    assert set(options) == {
        "namespace",
        "check_interval",
        "events_queue_url",
        "prices",
        "aws_prices",
        "preflight",
        "cache_folder",
        "tabs",
        "actions",
        "events_file",
        "stop_on_kill",
    }


@pytest.mark.parametrize("kind", ["operators", "sensors", "hooks", "triggers"])
def test_every_module_exists_and_is_named(kind: str) -> None:
    """A module that is added and not named here would be missing in Airflow's own lists."""
    named = [name for item in get_provider_info()[kind] for name in item["python-modules"]]
    for name in named:
        import_module(name)
    folder = Path(airflow_spot.__file__).parent / kind
    classes = {"operators": "Operator", "sensors": "Sensor", "hooks": "Hook", "triggers": "Trigger"}[kind]
    public = set()
    for path in folder.glob("*.py"):
        module = import_module(f"airflow_spot.{kind}.{path.stem}") if not path.stem.startswith("_") else None
        if module and any(
            name.endswith(classes) and getattr(thing, "__module__", "") == module.__name__
            for name, thing in vars(module).items()
        ):
            public.add(module.__name__)
    assert public == set(named)


def test_every_link_of_the_operator_is_named() -> None:
    """Airflow 2 drops a link that is not."""
    info = get_provider_info()
    links = {
        f"{type(link).__module__}.{type(link).__qualname__}"
        for link in SageMakerSpotTrainingOperator.operator_extra_links
    }
    assert links == set(info["extra-links"])
    for path in links:
        module, _, name = path.rpartition(".")
        assert getattr(import_module(module), name).name


def test_every_decorator_is_named_and_a_dag_has_it() -> None:
    from airflow.sdk import task

    (named,) = get_provider_info()["task-decorators"]
    module, _, name = named["class-name"].rpartition(".")
    assert getattr(task, named["name"]) is getattr(import_module(module), name)


def test_the_version_is_the_packages() -> None:
    assert get_provider_info()["versions"] == [airflow_spot.__version__]
