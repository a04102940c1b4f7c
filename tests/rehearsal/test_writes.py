"""A checkpoint folder is watched while real processes write into it, and one is stopped in the middle of a write."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_spot.rehearsal.writes import FolderWatch, is_supported
from tests.local.jobs import until

pytestmark = pytest.mark.skipif(not is_supported(), reason="the kernel does not tell")

IN_PLACE = """
import itertools, sys, time
from pathlib import Path
for i in itertools.count():
    time.sleep(0.01)
    with (Path(sys.argv[1]) / f"{i % 100}.txt").open("w") as file:
        for _ in range(int(sys.argv[2])):
            file.write("x" * 10_000)
        file.write("end")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "checkpoints"
    path.mkdir()
    return path


@pytest.fixture
def watch(folder: Path) -> Iterator[FolderWatch]:
    with FolderWatch(folder) as watch:
        watch.live_since(0)
        until(lambda: bool(watch._folders), "the folder is watched")
        yield watch


def settled(watch: FolderWatch, writes: int) -> FolderWatch:
    until(
        lambda: len(watch.writes) >= writes and all(write.ended is not None for write in watch.writes),
        "the writes are told",
    )
    return watch


def test_a_write_in_place_and_one_aside(watch: FolderWatch, folder: Path) -> None:
    (folder / "in-place").write_bytes(b"12345")
    (folder / "part").write_bytes(b"123")
    (folder / "part").rename(folder / "aside")
    settled(watch, 2)
    (folder / "in-place").unlink()
    until(lambda: bool(watch.deleted), "the deletion is told")
    first, second = watch.writes
    assert (first.key, first.size, first.aside, first.ended is not None) == ("in-place", 5, False, True)
    assert (second.key, second.size, second.aside) == ("aside", 3, True)
    assert [each.key for each in watch.deleted] == ["in-place"]
    assert watch.begun == 2


def test_a_file_that_is_written_over_is_written_twice(watch: FolderWatch, folder: Path) -> None:
    (folder / "newest").write_bytes(b"1")
    settled(watch, 1)
    (folder / "newest").write_bytes(b"12")
    assert [write.size for write in settled(watch, 2).writes] == [1, 2]


def test_folders_are_watched_and_may_be_renamed(watch: FolderWatch, folder: Path) -> None:
    (folder / "tmp-5").mkdir()
    (folder / "tmp-5" / "model").write_bytes(b"12")
    settled(watch, 1)
    (folder / "tmp-5").rename(folder / "checkpoint-5")
    until(lambda: watch.writes[0].key == "checkpoint-5/model" and watch.writes[0].aside, "the rename is told")


def test_a_folder_that_is_renamed_before_anybody_looks_into_it_is_whole(watch: FolderWatch, folder: Path) -> None:
    """As trainers do, which write a checkpoint of many files aside; so fast that the watch may come late."""
    for i in range(20):
        (folder / "tmp").mkdir()
        (folder / "tmp" / "model").write_bytes(b"12")
        (folder / "tmp" / "optimizer").write_bytes(b"123")
        (folder / "tmp").rename(folder / f"checkpoint-{i}")
        time.sleep(0.02)
    wanted = {f"checkpoint-{i}/{name}" for i in range(20) for name in ("model", "optimizer")}
    until(lambda: {write.key for write in watch.writes if write.ended is not None} == wanted, "all are told")
    sizes = {(write.key.rpartition("/")[2], write.size) for write in watch.writes}
    assert sizes == {("model", 2), ("optimizer", 3)}
    assert all(write.ended is not None for write in watch.writes)
    assert len(watch.writes) == watch.begun == len(wanted)


def test_files_that_are_renamed_in_a_new_folder_are_written_once_each(watch: FolderWatch, folder: Path) -> None:
    """The watch of a new folder may see a file by a look and by the kernel's word."""
    for i in range(20):
        into = folder / f"checkpoint-{i}"
        into.mkdir()
        for name in ("model", "optimizer"):
            (into / f"{name}.tmp").write_bytes(b"12")
            (into / f"{name}.tmp").rename(into / name)
        (into / "done").write_bytes(b"1")
        time.sleep(0.02)
    wanted = sorted(f"checkpoint-{i}/{name}" for i in range(20) for name in ("model", "optimizer", "done"))
    until(lambda: {write.key for write in watch.writes if write.ended is not None} == set(wanted), "all are told")
    assert sorted(write.key for write in watch.writes) == wanted
    assert watch.begun == len(wanted)


def test_markers_reports_and_known_logs_are_no_checkpoints(watch: FolderWatch, folder: Path) -> None:
    (folder / "a.sagemaker-uploaded").touch()
    (folder / "airflow-spot-progress.json.sagemaker-ignore").write_bytes(b"{}")
    (folder / "airflow-spot-progress.json.sagemaker-ignore").rename(folder / "airflow-spot-progress.json")
    (folder / "events.out.tfevents.1732870000.algo-1.12.0").write_bytes(b"1")
    (folder / "a").write_bytes(b"1")
    assert [write.key for write in settled(watch, 1).writes] == ["a"]
    assert watch.begun == 1


def test_the_folder_may_come_late_and_come_again(tmp_path: Path) -> None:
    folder = tmp_path / "later"
    with FolderWatch(folder) as watch:
        for number in (1, 2):
            folder.mkdir()
            until(lambda: bool(watch._folders), "the folder is watched")
            (folder / "a").write_bytes(b"1")
            settled(watch, number)
            (folder / "a").unlink()
            folder.rmdir()
            until(lambda: not watch._folders, "it is told that the folder has gone")
        assert [write.key for write in watch.writes] == ["a", "a"]


def test_what_was_written_before_anybody_looked_counts_from_the_time_of_its_file(folder: Path) -> None:
    """On a busy machine a script of a second has ended before its folder is watched."""
    (folder / "restored").write_bytes(b"1")
    time.sleep(0.05)
    began = time.time()
    time.sleep(0.05)
    (folder / "own").write_bytes(b"12")
    with FolderWatch(folder) as watch:
        settled(watch, 2)
        watch.live_since(began)
        assert watch.begun == 1, "the restored one is not the script's"
        (folder / "next").write_bytes(b"123")
        settled(watch, 3)
    assert watch.begun == 2
    assert [(write.key, write.size) for write in watch.writes if write.began >= began] == [("own", 2), ("next", 3)]


@pytest.mark.parametrize(("piece", "tens"), [(0, 0), (3, 10)])
def test_a_process_is_stopped_in_the_middle_of_a_write(watch: FolderWatch, folder: Path, piece: int, tens: int) -> None:
    """Three bytes, or a hundred thousand: the file is open, and not whole."""
    whole = tens * 10_000 + 3
    writer = subprocess.Popen([sys.executable, "-c", IN_PLACE, str(folder), str(tens)])
    try:
        watch.set_trap(5, piece, lambda: [writer.pid])
        torn = until(watch.trapped, "it is met")
        assert torn.size < whole
        assert (folder / torn.key).stat().st_size == torn.size
        assert len(watch.writes) >= 6
        assert Path(f"/proc/{writer.pid}/stat").read_bytes().rpartition(b")")[2].split()[0] == b"T"
    finally:
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
    until(lambda: torn.key not in watch._open, "the kernel has closed the file")
    assert [write.ended for write in watch.writes if write.key == torn.key][-1] is None
