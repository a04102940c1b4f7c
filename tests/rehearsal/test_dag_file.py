"""A training task in a DAG file: found, rendered as far as that goes, and rehearsed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_spot.rehearsal.dag_file import from_dag_file
from airflow_spot.rehearsal.dag_tasks import unmapped
from airflow_spot.rehearsal.observations import Scenario
from airflow_spot.rehearsal.running import rehearse
from airflow_spot.rehearsal.subject import RehearsalError, Subject
from tests.dags.conftest import DAGS

FILE = Path(__file__).parent / "dags" / "train.py"


def subject(task: str, dag: str | None = "training", **options: Any) -> Subject:
    return from_dag_file(FILE, task, dag, **options)


def test_what_matters_to_the_script_is_rendered_and_the_rest_may_be_unknown() -> None:
    found = subject("train", hyperparameters={"epochs": 5})
    found.check()
    assert found.name == "first_resume.py"
    assert found.request["AlgorithmSpecification"]["TrainingImage"] == "image:1"
    assert found.request["HyperParameters"] == {"epochs": "5", "run": "20260101"}


def test_a_hyperparameter_of_another_task_has_to_be_given() -> None:
    with pytest.raises(RehearsalError, match=r"hyperparameter rate .*XCom of tune.*: give --hyperparameter rate="):
        subject("from_xcom")
    assert subject("from_xcom", hyperparameters={"rate": 0.1}).request["HyperParameters"] == {"rate": "0.1"}


def test_of_a_mapped_task_the_first_member() -> None:
    assert subject("mapped").request["HyperParameters"] == {"epochs": "3"}


def test_what_is_not_there_is_said() -> None:
    with pytest.raises(RehearsalError, match=r"no task 'none'; there are .*training: from_xcom, mapped, train"):
        subject("none", None)
    with pytest.raises(RehearsalError, match=r"--dag: one of another, training has to be chosen"):
        subject("train", None)
    with pytest.raises(RehearsalError, match=r"its code is in S3, s3://bucket/sourcedir.tar.gz: give --source-dir DIR"):
        subject("train", "another")


def test_a_file_that_cannot_be_imported_is_said(tmp_path: Path) -> None:
    (tmp_path / "dag.py").write_text("import nothing_of_this_name\n")
    with pytest.raises(RehearsalError, match=r"dag.py cannot be imported: ModuleNotFoundError"):
        from_dag_file(tmp_path / "dag.py", "train")
    assert "rehearsed_dag" not in sys.modules


def test_the_stock_operators_archive_is_found_where_its_folder_is() -> None:
    """Of an example: the script is in an archive that the task itself makes of a folder here."""
    found = from_dag_file(DAGS / "drop_in.py", "train", channels={"train": DAGS})
    assert found.program == "train.py"
    assert (found.base / (found.source_dir or "") / "train.py").is_file()
    assert found.request["HyperParameters"] == {"rounds": "20"}


def test_of_a_function_the_script_that_is_made_of_it() -> None:
    with pytest.raises(
        RehearsalError, match=r"argument depth of train cannot .*XCom of choose.*--hyperparameter depth="
    ):
        from_dag_file(DAGS / "spot_taskflow.py", "train")
    found = from_dag_file(DAGS / "spot_taskflow.py", "train", hyperparameters={"depth": "3", "rounds": 5})
    assert found.name == "train"
    with found.archive() as archive:
        assert archive is not None
        call = json.loads(archive.sources["airflow_spot_call.json"])
    assert call["kwargs"] == {"depth": 3, "rounds": 5, "seconds_per_round": "0.0"}


def test_of_a_mapped_function_the_first_member(tmp_path: Path) -> None:
    (tmp_path / "dag.py").write_text(
        "from airflow.sdk import DAG, task\n"
        "@task.sagemaker_spot(image='i', role='r', output_path='s3://bucket/o', source_dir='lib')\n"
        "def train(seed, *, checkpoint): return seed\n"
        "with DAG('a_dag'): train.expand(seed=[7, 8])\n"
    )
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "helper.py").touch()
    (tmp_path / "more.txt").write_text("numpy\n")
    found = from_dag_file(tmp_path / "dag.py", "train", requirements=tmp_path / "more.txt")
    with found.archive() as archive:
        assert archive is not None
        assert json.loads(archive.sources["airflow_spot_call.json"])["kwargs"] == {"seed": 7}
        assert {"helper.py", "requirements.txt", "airflow_spot_task.py"} <= set(archive.sources)


def test_what_a_task_is_mapped_over_may_not_be_known_and_each_command_says_what_helps() -> None:
    def unmap(given: Any) -> Any:
        raise LookupError("an XCom")

    task = SimpleNamespace(expand_input=SimpleNamespace(value={"config": [{}]}), unmap=unmap)
    with pytest.raises(RehearsalError, match=r"task t is mapped over what is known .*: give its config as a JSON file"):
        unmapped(task, "t")


@pytest.mark.slow
def test_the_example_of_a_function_is_sound() -> None:
    given = {"depth": 2, "rounds": 30, "seconds_per_round": 0.1}
    found = from_dag_file(DAGS / "spot_taskflow.py", "train", hyperparameters=given)
    report = rehearse(found, scenarios=(Scenario.KILLED,), grace=5)
    assert report.sound, str(report)


@pytest.mark.slow
def test_a_fault_is_found_through_a_dag_file() -> None:
    report = rehearse(subject("train"), scenarios=(Scenario.KILLED, Scenario.NEW_JOB), grace=5)
    assert report.kinds == ("fails-at-resume",), report
    assert "Weights only load failed" in str(report)
