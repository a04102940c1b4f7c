"""Two hosts that train one model over gloo: one writes, and both resume from the same step, whatever happens to one."""

from __future__ import annotations

import json
import re
import shutil
import signal
from pathlib import Path

import pytest

from airflow_spot.aws.source_archive import SourceArchive
from airflow_spot.local import LocalSageMaker
from airflow_spot.local.serving.ports import free_port
from tests.frameworks.examples import SCRIPTS
from tests.frameworks.folders import of_library
from tests.frameworks.imported import Imported
from tests.frameworks.unpacked import HELD, Process, Unpacked, end, read_until, with_held
from tests.local.jobs import Jobs, until
from tests.support.extent import ALL

pytestmark = pytest.mark.slow

#: Addresses, since no name of a host resolves on this machine.
HOSTS = ("127.0.0.1", "127.0.0.2")
VALUES = {"log_every": 1, "checkpoint_every": 5, "epochs": 2}


@pytest.fixture
def script(torch_python: Path, torch_imported: Imported, tmp_path: Path) -> Unpacked:
    return Unpacked(SCRIPTS / "train_pytorch_two_hosts.py", torch_python, tmp_path, torch_imported)


@pytest.fixture(scope="module")
def model(torch_python: Path, torch_imported: Imported, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What an uninterrupted training leaves."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    script = Unpacked(SCRIPTS / "train_pytorch_two_hosts.py", torch_python, folder, torch_imported)
    both(start(script))
    return script.model("model-0")


def start(script: Unpacked, held_at: str = "", **values: object) -> list[Process]:
    """
    Start both hosts, as SageMaker does, but for S3.

    Each has a checkpoint folder of its own. What the first has written is put into both before the start, for SageMaker
    has both copied from one place.

    :param held_at: the line after which the first, which alone tells of steps, waits for a signal; and so does the
        second for the first.
    """
    first, second = script.checkpoints("0"), script.checkpoints("1")
    if first.exists():
        shutil.rmtree(second, ignore_errors=True)
        shutil.copytree(first, second)
    return start_as_they_are(script, held_at, **values)


def start_as_they_are(script: Unpacked, held_at: str = "", **values: object) -> list[Process]:
    """Start both hosts with the folders that they have."""
    port = str(free_port())
    return [
        script.start(
            {**VALUES, **values},
            checkpoints=str(number),
            model=f"model-{number}",
            environ={"SM_HOSTS": json.dumps(HOSTS), "SM_CURRENT_HOST": host, "MASTER_PORT": port},
            held_at=held_at,
        )
        for number, host in enumerate(HOSTS)
    ]


def both(hosts: list[Process]) -> list[str]:
    """Wait for both to end well; return what they said."""
    ended = [end(each) for each in hosts]
    assert [code for code, _ in ended] == [0, 0], ended
    return [said for _, said in ended]


def begun(said: list[str]) -> list[int]:
    return [int(step) for each in said for step in re.findall(r"^FROM (\d+)", each, re.MULTILINE)]


def test_one_that_is_killed_ends_the_other_and_both_go_on_from_the_same_step(script: Unpacked, model: bytes) -> None:
    hosts = start(script, "step=12 ")
    read_until(hosts[0], "step=12 ")
    hosts[1].kill()
    end(hosts[1])
    hosts[0].send_signal(signal.SIGUSR1)
    code, said = end(hosts[0])  # it would wait for ever for one that has gone
    assert code not in (0, None), said
    assert of_library(script.checkpoints("0"))[-1].step == 10
    said_by = both(start(script))
    assert begun(said_by) == [10, 10]
    assert script.model("model-0") == model
    assert not script.checkpoints("model-1").exists()


def test_sigterm_of_one_has_both_save_the_same_step(script: Unpacked) -> None:
    hosts = start(script, "step=7 ", checkpoint_every=1000)
    read_until(hosts[0], "step=7 ")
    hosts[1].send_signal(signal.SIGTERM)
    hosts[0].send_signal(signal.SIGUSR1)
    ended = [end(each) for each in hosts]
    assert [code for code, _ in ended] == [143, 143], ended
    (saved,) = of_library(script.checkpoints("0"))
    assert saved.step in (7, 8)  # after the step that it came in, or the next where the two were agreeing on that one
    assert not of_library(script.checkpoints("1"))
    assert begun(both(start(script))) == [saved.step, saved.step]


@pytest.mark.parametrize("damaged", [0, 1] if ALL else [1])
def test_where_one_has_a_damaged_copy_both_go_by_the_first(script: Unpacked, model: bytes, damaged: int) -> None:
    hosts = start(script, "step=12 ")
    read_until(hosts[0], "step=12 ")
    for each in hosts:
        each.kill()
        end(each)
    first, second = script.checkpoints("0"), script.checkpoints("1")
    shutil.rmtree(second)
    shutil.copytree(first, second)
    newest = of_library((first, second)[damaged])[-1]
    newest.files[0].write_bytes(b"cut off")
    wanted = of_library(first)[-1].step
    assert begun(both(start_as_they_are(script))) == [wanted, wanted]
    assert script.model("model-0") == model


@pytest.mark.parametrize("reclaim", ["kill", "term"] if ALL else ["kill"])
def test_two_instances_of_a_job_are_interrupted(torch_python: Path, model: bytes, tmp_path: Path, reclaim: str) -> None:
    """The same in a job: two containers, whose folders are copied from and to one place in S3."""
    script_name = "train_pytorch_two_hosts.py"
    packed = SourceArchive(HELD.name, with_held(SCRIPTS / script_name, tmp_path / "packed"))
    with LocalSageMaker(python=str(torch_python), reclaim=reclaim, grace_seconds=20, checkpoint_seconds=0.2) as service:
        jobs = Jobs(service)
        code = jobs.put("code/sourcedir.tar.gz", packed.content)
        values = {**VALUES, "sagemaker_program": packed.program, "sagemaker_submit_directory": code}
        name = jobs.start(
            ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 1},
            HyperParameters={key: json.dumps(value) for key, value in values.items()},
            Environment={
                "MASTER_PORT": str(free_port()),
                "OMP_NUM_THREADS": "1",
                "HELD": script_name,
                "HELD_AT": "step=12 ",
            },
        )
        until(lambda: [key for key in jobs.keys(f"checkpoints/{name}/step-") if key.endswith(".json")] or None, "saved")
        service.interrupt(name)
        job = jobs.end(name)
        output = [line for stream in jobs.output(name) for line in stream]
        assert job["TrainingJobStatus"] == "Completed", (job, output)
        assert jobs.model(name) == {"model.pt": model}
    steps = begun(output)
    assert sorted(steps) == [0, 0, steps[-1], steps[-1]]
    assert max(steps) > 0
