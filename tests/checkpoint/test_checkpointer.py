"""The library for scripts: what it wrote is whole or not there, whatever killed the process that wrote."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_spot import checkpoint as library
from airflow_spot.checkpoint import Checkpointer, CheckpointError

SOURCE = Path(library.__file__)


class Script:
    """What a training script has: a state, how it is written, and what it was told."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.told: list[str] = []
        self.checkpoints = Checkpointer(str(folder), tell=self.told.append, **options)

    def save(self, step: int, content: str | None = None) -> None:
        self.checkpoints.save(step, lambda path: Path(path).write_text(content or f"state of {step}"))

    def load(self) -> tuple[int, str] | None:
        found = self.checkpoints.load(lambda path: Path(path).read_text())
        return None if found is None else (found.step, found.state)


def names(folder: Path, ending: str = ".json") -> list[str]:
    return sorted(each.name for each in folder.iterdir() if each.name.endswith(ending))


def steps(folder: Path) -> list[int]:
    return [int(name.split("-")[1]) for name in names(folder) if name.startswith("step-")]


def data_of(folder: Path, step: int) -> Path:
    (found,) = folder.glob(f"step-{step:012d}-*.data")
    return found


def test_it_is_python_3_6_and_the_standard_library() -> None:
    tree = ast.parse(SOURCE.read_text(), feature_version=(3, 6))
    imported = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported <= set(sys.stdlib_module_names)
    assert "__future__" not in imported  # annotations came with 3.7


@pytest.mark.parametrize("path", sorted(SOURCE.parent.glob("for_*.py")), ids=lambda path: path.stem)
def test_an_adapter_is_python_3_6_and_imports_no_more_than_this_room(path: Path) -> None:
    """It goes along into every container, those of old images too, in a package of whatever name."""
    tree = ast.parse(path.read_text(), feature_version=(3, 6))
    assert "from __future__" not in path.read_text()
    imported = {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) if not node.level}
    assert {name for name in imported if name.startswith("airflow")} <= {"airflow_spot.checkpoint"}


def test_it_runs_alone_without_the_package(tmp_path: Path) -> None:
    shutil.copy(SOURCE, tmp_path / "checkpoint.py")
    code = (
        "import sys; sys.path[:0] = ['.']; import checkpoint; c = checkpoint.Checkpointer('c'); "
        "c.save(3, lambda p: open(p, 'w').write('x')); print(c.latest().step)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "3"


def test_the_newest_is_loaded_and_two_are_kept(tmp_path: Path) -> None:
    script = Script(tmp_path)
    assert script.load() is None
    for step in (1, 9, 10, 100):
        script.save(step)
    assert steps(tmp_path) == [10, 100]
    assert len(names(tmp_path, ".data")) == 2
    again = Script(tmp_path)
    assert again.load() == (100, "state of 100")
    assert again.told == ["airflow_spot.checkpoint: resuming from the checkpoint of step 100"]


def test_metrics_come_back(tmp_path: Path) -> None:
    Script(tmp_path).checkpoints.save(4, lambda path: Path(path).touch(), {"loss": 0.5})
    found = Checkpointer(str(tmp_path)).latest()
    assert found is not None
    assert (found.step, found.metrics, found.state) == (4, {"loss": 0.5}, None)


def test_a_folder_is_a_checkpoint_too(tmp_path: Path) -> None:
    def write(path: str) -> None:
        (Path(path) / "deep").mkdir(parents=True)
        (Path(path) / "deep" / "model").write_text("m")
        (Path(path) / "optimizer").write_text("o")

    script = Script(tmp_path)
    script.checkpoints.save(1, write)
    script.checkpoints.save(2, write)
    (data_of(tmp_path, 2) / "deep" / "model").unlink()
    found = script.checkpoints.load(lambda path: sorted(each.name for each in Path(path).rglob("*")))
    assert found is not None
    assert (found.step, found.state) == (1, ["deep", "model", "optimizer"])


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: path.write_text("sta"), "has 3 of 10 bytes"),
        (lambda path: path.write_text("STATE OF 2"), "is not what was written"),
        (lambda path: path.unlink(), "is missing"),
        (lambda path: path.with_suffix(".json").write_text('{"v": 1, "st'), "cannot be read (JSONDecodeError)"),
        (lambda path: path.with_suffix(".json").write_text("[]"), "cannot be read (TypeError)"),
        (lambda path: path.with_suffix(".json").write_text('{"v": 2, "files": {}}'), "a newer version of this library"),
    ],
)
def test_one_that_is_damaged_is_said_and_the_one_before_it_taken(
    tmp_path: Path, damage: Callable[[Path], None], said: str
) -> None:
    first = Script(tmp_path)
    first.save(1)
    first.save(2)
    damage(data_of(tmp_path, 2))
    script = Script(tmp_path)
    assert script.load() == (1, "state of 1")
    assert script.told[0].startswith("airflow_spot.checkpoint: checkpoint of step 2 is damaged: ")
    assert said in script.told[0]
    # It goes with the next save, and does not count among those that are kept.
    script.save(2)
    assert steps(tmp_path) == [1, 2]
    assert Script(tmp_path).load() == (2, "state of 2")


def test_several_without_a_whole_one_do_not_begin_anew_in_silence(tmp_path: Path) -> None:
    script = Script(tmp_path)
    script.save(1)
    script.save(2)
    for step in (1, 2):
        data_of(tmp_path, step).write_text("torn")
    with pytest.raises(CheckpointError, match="holds 2 checkpoints and none is whole"):
        Script(tmp_path).load()


def test_several_of_which_none_was_ever_whole_are_the_beginning(tmp_path: Path) -> None:
    """Small files overtake large ones: a kill while the first data are uploaded leaves manifests alone."""
    script = Script(tmp_path)
    script.save(1)
    script.save(2)
    for step in (1, 2):
        data_of(tmp_path, step).unlink()
    script = Script(tmp_path)
    assert script.load() is None
    assert [line.split(": ")[1] for line in script.told] == [
        "checkpoint of step 2 is damaged",
        "checkpoint of step 1 is damaged",
        f"no checkpoint in {tmp_path}",
    ]
    script.save(1)
    assert steps(tmp_path) == [1]


def test_the_very_first_one_torn_is_the_beginning(tmp_path: Path) -> None:
    Script(tmp_path).save(1)
    data_of(tmp_path, 1).write_text("torn")
    assert Script(tmp_path).load() is None


def test_what_read_raises_of_a_whole_one_is_raised(tmp_path: Path) -> None:
    script = Script(tmp_path)
    script.save(1)
    with pytest.raises(ZeroDivisionError):
        script.checkpoints.load(lambda path: 1 / 0)


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    script = Script(tmp_path)
    script.save(1)

    def write(path: str) -> None:
        Path(path).write_text("half")
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space left"):
        script.checkpoints.save(2, write)
    with pytest.raises(CheckpointError, match="wrote nothing"):
        script.checkpoints.save(2, lambda path: None)
    assert len(list(tmp_path.iterdir())) == 2
    assert Script(tmp_path).load() == (1, "state of 1")


def test_sagemakers_own_files_are_no_checkpoints(tmp_path: Path) -> None:
    script = Script(tmp_path)
    script.save(7)
    for path in list(tmp_path.iterdir()):
        path.with_name(path.name + ".sagemaker-uploaded").touch()
    (tmp_path / "step-000000000099-000000000000.json.sagemaker-uploading").touch()
    (tmp_path / "step-000000000098-000000000000.data").write_text("half")
    assert Script(tmp_path).load() == (7, "state of 7")


def test_nothing_goes_before_something_newer_is_in_s3(tmp_path: Path) -> None:
    """SageMaker's markers tell; a kill now must find a whole checkpoint there."""
    script = Script(tmp_path, keep=1)
    script.save(1)
    for path in list(tmp_path.iterdir()):
        path.with_name(path.name + ".sagemaker-uploaded").touch()
    script.save(2)
    assert steps(tmp_path) == [1, 2]
    data = data_of(tmp_path, 2)
    data.with_name(data.name + ".sagemaker-uploaded").touch()
    script.save(2)  # the manifest is not there yet
    assert steps(tmp_path) == [1, 2, 2]
    for name in names(tmp_path)[1:]:
        for each in (name, name.replace(".json", ".data")):
            (tmp_path / f"{each}.sagemaker-uploaded").touch()
    script.save(3)
    assert steps(tmp_path) == [2, 3]
    for path in tmp_path.glob("step-000000000003-*[an]"):
        path.with_name(path.name + ".sagemaker-uploaded").touch()
    script.save(4)
    assert steps(tmp_path)[-1] == 4


def test_saves_that_are_faster_than_the_uploads_pile_up_no_files(tmp_path: Path) -> None:
    script = Script(tmp_path)
    script.save(1)
    for path in list(tmp_path.iterdir()):
        path.with_name(path.name + ".sagemaker-uploaded").touch()
    script.save(2)
    data = data_of(tmp_path, 2)
    data.with_name(data.name + ".sagemaker-uploading").touch()
    for step in range(3, 30):
        script.save(step)
    assert steps(tmp_path) == [1, 2, 28, 29]  # what is in S3, what is on its way, and the newest two
    for path in tmp_path.glob("step-000000000002-*[an]"):
        path.with_name(path.name + ".sagemaker-uploaded").touch()
    script.save(30)
    assert steps(tmp_path) == [2, 29, 30]


def test_the_first_upload_arrives_though_saves_are_faster(tmp_path: Path) -> None:
    """Nothing is uploaded yet, and no marker of an upload tells that SageMaker looks after the folder."""
    script = Script(tmp_path, keep=1)
    script.save(1)
    marker = tmp_path / f"{data_of(tmp_path, 1).name}.sagemaker-uploading"
    marker.touch()
    for step in (2, 3, 4):
        script.save(step)
    assert steps(tmp_path) == [1, 4]
    for path in tmp_path.glob("step-000000000004-*[an]"):
        path.with_name(path.name + ".sagemaker-uploaded").touch()
    script.save(5)
    assert steps(tmp_path) == [4, 5]
    assert not marker.exists()
    marker.touch()  # an upload that was under way ends after its file went
    script.save(6)
    assert not marker.exists()


def test_of_a_folder_one_file_on_its_way_tells_of_the_uploads(tmp_path: Path) -> None:
    def write(path: str) -> None:
        for name in ("model", "optimizer"):
            Path(path).mkdir(exist_ok=True)
            (Path(path) / name).write_text("numbers")

    script = Script(tmp_path, keep=1)
    script.checkpoints.save(1, write)
    (data_of(tmp_path, 1) / "model.sagemaker-uploaded").touch()
    for step in (2, 3):
        script.checkpoints.save(step, write)
    assert steps(tmp_path) == [1, 3]


def test_a_copy_from_the_checkpoints_brings_no_markers(tmp_path: Path) -> None:
    """They would tell of uploads that never were."""
    before = tmp_path / "before"
    before.mkdir()
    (before / "model").write_text("numbers")
    (before / "model.sagemaker-uploaded").touch()
    script = Script(tmp_path / "checkpoints")
    script.checkpoints.save(1, lambda path: shutil.copytree(before, path))
    assert [each.name for each in data_of(tmp_path / "checkpoints", 1).iterdir()] == ["model"]


def test_of_several_hosts_one_writes_and_all_drop_what_was_restored(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("SM_HOSTS", '["algo-10", "algo-2", "algo-1"]')
    waits: list[str] = []
    hosts = {}
    for host in ("algo-1", "algo-10"):
        seed = Script(tmp_path / host)
        seed.save(1)
        seed.save(2)
    for host in ("algo-1", "algo-10"):
        monkeypatch.setenv("SM_CURRENT_HOST", host)
        hosts[host] = Script(tmp_path / host, barrier=lambda host=host: waits.append(host))
        assert hosts[host].load() == (2, "state of 2") if host == "algo-1" else hosts[host].load()
    (tmp_path / "algo-1" / f"{library.PROGRESS_NAME}.sagemaker-uploaded").touch()
    now = [float(int(time.monotonic()) + 1)]  # of whole seconds: sums of them are exact
    monkeypatch.setattr(library.time, "monotonic", lambda: now[0])
    for step in (3, 4, 5, 6):
        for script in hosts.values():
            script.save(step)
        if step == 5:
            assert steps(tmp_path / "algo-10") == [1, 2]  # nothing tells this host whether step 3 is in S3
            now[0] += library._THROUGH_AFTER
    assert steps(tmp_path / "algo-1") == [2, 5, 6]  # what is in S3 for certain stays until a marker tells of more
    assert steps(tmp_path / "algo-10") == []
    assert waits == ["algo-1", "algo-10"] * 4
    assert hosts["algo-10"].told == []


@pytest.mark.parametrize(
    ("environ", "roles"),
    [
        ({}, (True, True)),
        ({"RANK": "0", "LOCAL_RANK": "0"}, (True, True)),
        ({"RANK": "3", "LOCAL_RANK": "3"}, (False, False)),
        ({"RANK": "8", "LOCAL_RANK": "0"}, (False, True)),
        ({"LOCAL_RANK": "1", "SM_HOSTS": '["algo-1"]', "SM_CURRENT_HOST": "algo-1"}, (False, False)),
        ({"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_LOCAL_RANK": "0"}, (True, True)),
        ({"OMPI_COMM_WORLD_RANK": "3", "OMPI_COMM_WORLD_LOCAL_RANK": "3"}, (False, False)),
        ({"SM_HOSTS": "no list", "SM_CURRENT_HOST": "algo-1"}, (True, True)),
        ({"SM_HOSTS": '["algo-1", "algo-2"]', "SM_CURRENT_HOST": "algo-2"}, (False, True)),
    ],
)
def test_who_writes(environ: dict[str, str], roles: tuple[bool, bool]) -> None:
    assert library._roles(environ) == roles


@pytest.mark.parametrize(("options", "said"), [({"keep": 0}, "keep is 0"), ({"keep": -1}, "keep is -1")])
def test_what_is_wrong_is_refused(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Checkpointer(str(tmp_path), **options)
    with pytest.raises(ValueError, match="step is -1"):
        Checkpointer(str(tmp_path)).save(-1, lambda path: None)


def test_progress_is_a_small_file_at_most_twice_a_minute(tmp_path: Path, monkeypatch: Any) -> None:
    now = [1000.0]
    monkeypatch.setattr(library.time, "monotonic", lambda: now[0])
    checkpoints = Checkpointer(str(tmp_path))
    seen = []
    for step in range(1, 101):
        checkpoints.progress(step, 100, {"loss": 1 / step, "bad": float("nan"), "text": "secret"})
        said = json.loads((tmp_path / library.PROGRESS_NAME).read_text())
        assert said["metrics"].keys() == {"loss"}
        seen.append(said["step"])
        now[0] += 1
    assert sorted(set(seen)) == [1, 31, 61, 91, 100]
    assert checkpoints.latest() is None


def test_the_interval_that_loses_least(tmp_path: Path, monkeypatch: Any) -> None:
    now = [0.0]
    monkeypatch.setattr(library.time, "monotonic", lambda: now[0])
    script = Script(tmp_path)

    def write(path: str) -> None:
        Path(path).touch()
        now[0] += 8.0

    for step in range(1, 4):
        now[0] += 2.0
        script.checkpoints.save(step, write)
    assert script.checkpoints.advised_seconds() == 240.0
    assert [line for line in script.told if "loses least" in line] == [
        "airflow_spot.checkpoint: a save takes 8.0 s and comes every 2 s; with an interruption an hour, every 240 s "
        "loses least"
    ]
    assert not script.checkpoints.due(4)
    now[0] += 240.0
    assert script.checkpoints.due(4)
    assert [step for step in range(1, 10) if script.checkpoints.due(step, every=3)] == [3, 6, 9]


# ---- what scripts give it


def test_what_was_restored_stays_until_something_newer_may_be_in_s3(tmp_path: Path, monkeypatch: Any) -> None:
    now = [1000.0]
    monkeypatch.setattr(library.time, "monotonic", lambda: now[0])
    Script(tmp_path, keep=1).save(1)
    script = Script(tmp_path, keep=1)
    now[0] += 3600  # a script that saves once an hour: until now there was nothing to upload
    script.save(2)
    assert steps(tmp_path) == [1, 2]
    now[0] += library._MARKERS_AFTER  # no marker has come: nobody uploads
    script.save(3)
    assert steps(tmp_path) == [3]


def test_a_disk_that_is_full_ends_no_training_for_a_word_on_its_progress(tmp_path: Path, monkeypatch: Any) -> None:
    script = Script(tmp_path)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(library.os, "fsync", full)
    script.checkpoints.progress(1, 2)
    script.checkpoints.progress(2, 2)
    assert [line for line in script.told if "progress" in line] == [
        "airflow_spot.checkpoint: the progress cannot be written: [Errno 28] No space left on device"
    ]


class Number:
    """A number of a framework."""

    def __index__(self) -> int:
        return 7

    def __float__(self) -> float:
        return 7.5


def test_numbers_of_frameworks_are_numbers(tmp_path: Path) -> None:
    script = Script(tmp_path)
    script.checkpoints.save(Number(), lambda path: Path(path).touch(), {"loss": Number()})  # type: ignore[arg-type]
    script.checkpoints.progress(Number(), Number())  # type: ignore[arg-type]
    found = Script(tmp_path).checkpoints.latest()
    assert found is not None
    assert (found.step, found.metrics) == (7, {"loss": 7.5})
    with pytest.raises(TypeError):
        script.checkpoints.save(1.5, lambda path: Path(path).touch())  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        script.checkpoints.save(9, lambda path: Path(path).touch(), {"what": object()})
    assert steps(tmp_path) == [7]


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda path: Path(path + ".npz").touch(), "but added '.npz' to it: give it an open file"),
        (lambda path: Path(path).mkdir(), "a folder without a file"),
        (lambda path: Path(path).symlink_to("/etc/hostname"), "a symbolic link, and S3 has none"),
    ],
)
def test_what_would_not_come_back_from_s3_is_refused(tmp_path: Path, write: Callable[[str], Any], said: str) -> None:
    with pytest.raises(CheckpointError, match=said):
        Script(tmp_path).checkpoints.save(1, write)
    assert list(tmp_path.iterdir()) == []


def test_threads_save_one_after_the_other(tmp_path: Path) -> None:
    script = Script(tmp_path, keep=3)

    def write(path: str) -> None:
        with Path(path).open("w") as file:
            for _ in range(20):
                file.write("x")
                file.flush()
                time.sleep(0.001)

    threads = [threading.Thread(target=script.checkpoints.save, args=(step, write)) for step in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(steps(tmp_path)) == 3
    assert Script(tmp_path).load() == (7, "x" * 20)


def test_a_thread_that_saves_after_sigterm_ends_the_process(tmp_path: Path) -> None:
    code = (
        "import threading, time; from checkpoint import Checkpointer; c = Checkpointer('c'); c.stopping = True; "
        "threading.Thread(target=c.save, args=(1, lambda p: open(p, 'w').close())).start(); time.sleep(60)"
    )
    shutil.copy(SOURCE, tmp_path / "checkpoint.py")
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False).returncode == 143
