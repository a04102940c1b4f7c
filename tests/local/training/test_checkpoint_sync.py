"""What is in a checkpoint folder and cannot be a checkpoint; and stops that find results they cannot save."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_spot.local import LocalSageMaker
from airflow_spot.local.clock import Clock
from airflow_spot.local.storage.audit import Audit
from airflow_spot.local.training.checkpoint_sync import CheckpointSync
from tests.local.jobs import BUCKET, Jobs

AT_A_STOP = "trap '{make}; exit 0' TERM; echo 1 > /opt/ml/checkpoints/good; echo ready; sleep 99 & wait"


def shell(script: str) -> dict[str, Any]:
    return {"TrainingInputMode": "File", "TrainingImage": "image:1", "ContainerEntrypoint": ["sh", "-c", script]}


def start_ready(jobs: Jobs, script: str, **overrides: Any) -> str:
    name = jobs.start(AlgorithmSpecification=shell(script), **overrides)
    jobs.wait_for_line(name, "ready")
    return name


@pytest.mark.parametrize("make", ["ln -s l /opt/ml/checkpoints/l", "mkfifo /opt/ml/checkpoints/l"])
def test_a_stopped_job_ends_whatever_is_among_its_checkpoints(jobs: Jobs, make: str) -> None:
    name = start_ready(jobs, AT_A_STOP.format(make=make))
    jobs.sagemaker.stop_training_job(TrainingJobName=name)
    assert jobs.end(name)["TrainingJobStatus"] == "Stopped"
    assert jobs.keys(f"checkpoints/{name}/") == [f"checkpoints/{name}/good"]
    (lines,) = jobs.output(name)
    assert len([line for line in lines if "'l' is not uploaded" in line]) == 1


def test_what_cannot_be_uploaded_is_said_once_and_spares_the_other_files_and_what_s3_has(jobs: Jobs) -> None:
    script = r"""
        import os, socket, time
        os.chdir("/opt/ml/checkpoints")
        os.symlink("loop", "loop")
        os.symlink("/nowhere", "dangling")
        os.mkfifo("fifo")
        os.mkdir("folder")
        socket.socket(socket.AF_UNIX).bind("folder/socket")
        open(b"latin-\xe9", "w").close()
        for name in ("kept", "good"):
            open(name, "w").write(name)
        os.symlink("good", "link")
        os.symlink("folder", "linked-folder")
        while not os.path.exists("/opt/ml/input/go"):
            time.sleep(0.05)
        # At no moment is it gone: S3's would be deleted.
        os.mkfifo("kept.sagemaker-ignore")
        os.replace("kept.sagemaker-ignore", "kept")
    """
    name = jobs.start(script)
    jobs.wait_for_checkpoint(name, key="kept")
    jobs.release(name)
    job = jobs.end(name)
    assert (job["TrainingJobStatus"], job.get("FailureReason")) == ("Completed", None)
    assert jobs.keys(f"checkpoints/{name}/") == [f"checkpoints/{name}/{key}" for key in ("good", "kept", "link")]
    assert jobs.get(f"s3://{BUCKET}/checkpoints/{name}/kept") == b"kept"
    (lines,) = jobs.output(name)
    warned = sorted(line.split()[1] for line in lines if "is not uploaded" in line)
    assert warned == [
        "'dangling'",
        "'fifo'",
        "'folder/socket'",
        "'kept'",
        "'latin-\\udce9'",
        "'linked-folder'",
        "'loop'",
    ]


class NoS3:
    """An S3 that keeps what it is given."""

    def __init__(self, objects: dict[str, bytes]) -> None:
        self.objects = objects
        self.watch: Callable[[str], None] = lambda key: None

    def get_paginator(self, name: str) -> NoS3:
        return self

    def paginate(self, **_: Any) -> list[dict[str, Any]]:
        return [{"Contents": [{"Key": key, "Size": len(body), "ETag": "e"} for key, body in self.objects.items()]}]

    def get_object(self, *, Key: str, **_: Any) -> dict[str, Any]:
        return {"Body": io.BytesIO(self.objects[Key])}

    def put_object(self, *, Key: str, Body: Any, **_: Any) -> dict[str, str]:
        self.watch(Key)
        self.objects[Key] = Body.read()
        return {"ETag": "e"}

    def delete_object(self, *, Key: str, **_: Any) -> None:
        del self.objects[Key]


@pytest.fixture
def warned() -> list[str]:
    return []


@pytest.fixture
def synced(tmp_path: Path, warned: list[str]) -> Iterator[tuple[CheckpointSync, NoS3, Path]]:
    """A folder that has been restored from what an S3 with markers, and with a file of a name that is left out, has."""
    s3 = NoS3({"c/kept": b"k", "c/kept.sagemaker-uploaded": b"", "c/own.sagemaker-ignore": b"o"})
    audit = Audit(tmp_path / "audit.jsonl", Clock())
    folder = tmp_path / "checkpoints"
    sync = CheckpointSync(s3, "s3://bucket/c", folder, scratch=tmp_path, audit=audit, facts={}, warn=warned.append)
    sync.restore()
    yield sync, s3, folder
    audit.close()


def test_markers_follow_each_upload(synced: tuple[CheckpointSync, NoS3, Path]) -> None:
    sync, s3, folder = synced
    assert sorted(path.name for path in folder.iterdir()) == ["kept", "own.sagemaker-ignore"]
    during: list[list[str]] = []
    s3.watch = lambda key: during.append(sorted(path.name for path in folder.glob("new*")))
    (folder / ".sagemaker-ignore").mkdir()
    (folder / ".sagemaker-ignore" / "inside").touch()
    for text in ("one", "more"):
        (folder / "new").write_text(text)
        sync.sync()
        assert sorted(path.name for path in folder.glob("new*")) == ["new", "new.sagemaker-uploaded"]
    assert during == [["new", "new.sagemaker-uploading"]] * 2
    (folder / "new").unlink()
    sync.sync()
    assert list(folder.glob("new*")) == []
    # Nothing was deleted that is not the job's to delete.
    assert sorted(s3.objects) == ["c/kept", "c/kept.sagemaker-uploaded", "c/own.sagemaker-ignore"]


def test_no_marker_is_made_through_a_link_or_a_pipe(synced: tuple[CheckpointSync, NoS3, Path], tmp_path: Path) -> None:
    sync, s3, folder = synced
    os.mkfifo(folder / "a.sagemaker-uploading")
    (folder / "b.sagemaker-uploaded").symlink_to(tmp_path / "elsewhere")
    for name in ("a", "b"):
        (folder / name).write_text(name)
    sync.sync()
    assert {"c/a", "c/b"} <= set(s3.objects)
    assert not (tmp_path / "elsewhere").exists()


def test_a_link_to_a_folder_is_said_once_and_deletes_nothing(
    synced: tuple[CheckpointSync, NoS3, Path], tmp_path: Path, warned: list[str]
) -> None:
    """The folder was uploaded before it became a link: what lies behind the link is not what the script deleted."""
    sync, s3, folder = synced
    (folder / "step-1").mkdir()
    (folder / "step-1" / "weights").write_text("w")
    sync.sync()
    assert s3.objects["c/step-1/weights"] == b"w"
    (folder / "step-1").rename(tmp_path / "moved")
    (folder / "step-1").symlink_to(tmp_path / "moved")
    (folder / "deep").mkdir()
    (folder / "deep" / "latest").symlink_to("../step-1")
    (folder / "own.sagemaker-ignore").unlink()
    (folder / "own.sagemaker-ignore").symlink_to(tmp_path / "moved")  # of a name that is left out without a word
    (folder / "beside").write_text("b")
    for _ in range(3):
        sync.sync()
    assert s3.objects["c/step-1/weights"] == b"w" and s3.objects["c/beside"] == b"b"
    assert not any("latest" in key for key in s3.objects)
    assert sorted(warned) == [
        "Checkpoint 'deep/latest' is not uploaded: it is a link to a folder",
        "Checkpoint 'step-1' is not uploaded: it is a link to a folder",
    ]
    (folder / "step-1").unlink()
    sync.sync()
    assert "c/step-1/weights" not in s3.objects  # now it was deleted


def test_a_folder_that_cannot_be_read_is_said_once_and_deletes_nothing(
    synced: tuple[CheckpointSync, NoS3, Path], monkeypatch: pytest.MonkeyPatch, warned: list[str]
) -> None:
    """Its error is raised here: a test that root runs can read every folder."""
    sync, s3, folder = synced
    (folder / "closed").mkdir()
    (folder / "closed" / "weights").write_text("w")
    sync.sync()
    scandir = os.scandir

    def refusing(path: Any) -> Any:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    for _ in range(2):
        sync.sync()
    assert s3.objects["c/closed/weights"] == b"w"
    assert warned == ["Checkpoint 'closed' is not uploaded: Permission denied"]


def test_a_job_whose_results_cannot_be_packed_is_stopped_all_the_same(sm: LocalSageMaker, jobs: Jobs) -> None:
    name = start_ready(jobs, "trap 'exit 0' TERM; echo ready; sleep 99 & wait", spot=False)
    shutil.rmtree(sm.dir / "jobs" / "us-east-1" / name)
    jobs.sagemaker.stop_training_job(TrainingJobName=name)
    job = jobs.end(name)
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "Stopped")
    jobs.sagemaker.delete_training_job(TrainingJobName=name)
