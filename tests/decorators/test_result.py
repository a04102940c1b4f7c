"""A function's result: written in the container, found by the operator, and no other job's."""

from __future__ import annotations

import ast
import io
import json
import math
import subprocess
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy
import pytest
from hypothesis import given, settings

from airflow_spot.checkpoint import for_taskflow as inside
from airflow_spot.core.folder_look import SCRIPT_RESULT_NAME, is_checkpoint
from airflow_spot.core.marks import ENV_ATTEMPT, ENV_GENERATION, ENV_RUN
from airflow_spot.decorators import training
from airflow_spot.decorators._result import MAX_BYTES, NoResultError, read_result, result_uri
from tests.decorators.test_arguments import JSON
from tests.support.sagemaker import error

JOB = "train-afspot-abcdefghij-2-3"
WITH = {"TrainingJobName": JOB, "CheckpointConfig": {"S3Uri": "s3://bucket/checkpoints/"}}
WITHOUT = {"TrainingJobName": JOB, "OutputDataConfig": {"S3OutputPath": "s3://bucket/output/"}}
MARKS = {ENV_RUN: "abcdefghij", ENV_GENERATION: "2", ENV_ATTEMPT: "3"}


def ended(
    result: Any,
    folder: Path,
    environ: dict[str, str] | None = None,
    checkpoints: str | None = None,
    **more: Any,
) -> Path:
    """Run a function that returns something, as a container does; the file of its result."""
    call = {"function": "train", "args": [], "kwargs": {}, "checkpoints": checkpoints, **more}
    (folder / inside.CALL_NAME).write_text(json.dumps(call))
    known = {
        **MARKS,
        "SM_CHECKPOINT_DIR": str(folder / "c"),
        "SM_OUTPUT_DATA_DIR": str(folder / "o"),
        **(environ or {}),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name in ("SM_HOSTS", "SM_CURRENT_HOST", "RANK"):
            patch.delenv(name, raising=False)
        for name, value in known.items():
            patch.setenv(name, value)
        with inside.Call(str(folder / "script.py")) as called:
            assert called.checkpoints == str(folder / "c")
            called.result = result() if callable(result) else result
    return folder / ("c" if checkpoints else "o") / inside.RESULT_NAME


def bucket(path: str, content: bytes | None) -> Any:
    """An S3 that has one object, or refuses one."""

    def get_object(Bucket: str, Key: str) -> dict[str, Any]:
        assert f"s3://{Bucket}/{Key}" == path
        if content is None:
            raise error("NoSuchKey", "The specified key does not exist.", "GetObject")
        return {"Body": io.BytesIO(content)}

    return SimpleNamespace(get_object=get_object)


def packed(*files: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def test_both_sides_agree_on_names() -> None:
    assert inside.RESULT_NAME == SCRIPT_RESULT_NAME
    assert inside.CALL_NAME == training.CALL
    assert MAX_BYTES > inside.MAX_RESULT_BYTES
    assert not is_checkpoint(f"run/1/{inside.RESULT_NAME}", 10)


def test_what_runs_in_the_container_is_python_3_6_and_the_standard_library() -> None:
    tree = ast.parse(Path(inside.__file__).read_text(), feature_version=(3, 6))
    imported = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported <= {*sys.stdlib_module_names, "airflow_spot.checkpoint"}


@settings(max_examples=40)
@given(result=JSON)
def test_a_result_comes_back_as_it_was(result: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = ended(result, tmp_path_factory.mktemp("run"), checkpoints="/opt/ml/checkpoints")
    assert read_result(bucket(result_uri(WITH), file.read_bytes()), WITH) == result


def test_without_checkpoints_it_is_in_the_jobs_output(tmp_path: Path) -> None:
    file = ended([1], tmp_path, checkpoints=None)
    assert file.parent.name == "o"
    archive = packed(("plots/a.png", b"x" * 9), (inside.RESULT_NAME, file.read_bytes()))
    assert result_uri(WITHOUT) == f"s3://bucket/output/{JOB}/output/output.tar.gz"
    assert read_result(bucket(result_uri(WITHOUT), archive), WITHOUT) == [1]
    with pytest.raises(NoResultError, match=rf"output.tar.gz has no {inside.RESULT_NAME} in it"):
        read_result(bucket(result_uri(WITHOUT), packed(("a", b"x"))), WITHOUT)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "there is no s3://bucket/checkpoints/airflow-spot-result.json"),
        (b"{", "is not what"),
        (b"[]", "is not what"),
        (b'{"run": "abcdefghij", "generation": "2", "attempt": "2", "result": 1}', "is of another job"),
        (b'{"run": "abcdefghij", "generation": "1", "attempt": "3", "result": 1}', "is of another job"),
        (b" " * (MAX_BYTES + 1), "is larger than any result"),
    ],
)
def test_what_is_no_result_of_the_job_is_said(content: bytes | None, said: str) -> None:
    with pytest.raises(NoResultError, match=said):
        read_result(bucket(result_uri(WITH), content), WITH)


def test_another_refusal_of_s3_is_no_missing_result() -> None:
    def denied(**_: Any) -> None:
        raise error("AccessDenied", "no", "GetObject")

    with pytest.raises(Exception, match="AccessDenied"):
        read_result(SimpleNamespace(get_object=denied), WITH)


def test_numbers_of_numpy_are_numbers_and_what_is_not_finite_is_null(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = {"loss": numpy.float32(0.5), "n": numpy.int64(3), "bad": math.nan, "pair": (1, numpy.array(2.0))}
    said = json.loads(ended(result, tmp_path).read_text())
    assert said["result"] == {"loss": 0.5, "n": 3, "bad": None, "pair": [1, 2.0]}
    assert "['bad'] is not finite, and becomes null" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (
            {"model": object()},
            r"the result of train\['model'\] is an object of object, which is not JSON: return numbers",
        ),
        ([numpy.zeros(3)], r"\[0\] is an object of ndarray"),
        ({1: 2}, r"has the key 1, which is no text: make it str\(key\)"),
        ("x" * inside.MAX_RESULT_BYTES, r"has \d+ bytes as JSON, and may have 262144: write it to a file"),
    ],
)
def test_what_cannot_be_a_result_fails_the_job_and_leaves_none(tmp_path: Path, result: Any, said: str) -> None:
    with pytest.raises(inside.ResultError, match=said):
        ended(result, tmp_path)
    assert not (tmp_path / "o" / inside.RESULT_NAME).exists()


def test_what_is_to_be_an_xcom_for_each_key_is_a_dict_or_fails_the_job(tmp_path: Path) -> None:
    """Airflow would refuse it once the training is paid for, and its result is marked as delivered."""
    with pytest.raises(inside.ResultError, match="the result of train is an object of list, and by its return hint"):
        ended([1], tmp_path, mapping=True)
    assert not (tmp_path / "o" / inside.RESULT_NAME).exists()
    for fine in ({"a": 1}, None):
        assert ended(fine, tmp_path, mapping=True).exists()


def test_sys_exit_with_success_is_a_result_of_none_and_another_is_a_failure(tmp_path: Path) -> None:
    assert json.loads(ended(sys.exit, tmp_path).read_text())["result"] is None
    with pytest.raises(SystemExit):
        ended(lambda: sys.exit(3), tmp_path)
    assert not (tmp_path / "o" / inside.RESULT_NAME).exists(), "the one of before is no result of this start"


def test_of_several_hosts_and_processes_one_writes(tmp_path: Path) -> None:
    hosts = {"SM_HOSTS": '["algo-1", "algo-2"]'}
    assert not ended(1, tmp_path, {**hosts, "SM_CURRENT_HOST": "algo-2"}).exists()
    assert not ended(1, tmp_path, {"RANK": "1"}).exists()
    assert ended(1, tmp_path, {**hosts, "SM_CURRENT_HOST": "algo-1"}).exists()


def trains(rounds: int, *, names: list[str]) -> dict[str, Any]:
    """A function with a brace { in its words."""
    import helper

    return {"rounds": rounds, "names": names, "helped": helper.VALUE}


def test_the_script_runs_alone(tmp_path: Path) -> None:
    """As a container runs it: with what lies beside it, and with hyperparameters as its arguments."""
    library = tmp_path / "airflow_spot" / "checkpoint"
    library.mkdir(parents=True)
    for path in Path(inside.__file__).parent.glob("*.py"):
        (library / path.name).write_text(path.read_text())
    (tmp_path / "helper.py").write_text("VALUE = 5\n")
    (tmp_path / training.PROGRAM).write_text(training.script_of(trains))
    call = {"function": "trains", "args": [], "kwargs": {"rounds": 2, "names": ["ü"]}, "checkpoints": None}
    (tmp_path / training.CALL).write_text(json.dumps(call))
    command = [sys.executable, "-S", training.PROGRAM, "--rounds", "9"]
    environ = {"SM_OUTPUT_DATA_DIR": str(tmp_path / "o"), "PATH": "/usr/bin"}
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = json.loads((tmp_path / "o" / inside.RESULT_NAME).read_text())
    assert said["result"] == {"rounds": 2, "names": ["ü"], "helped": 5}
