"""A script's archive depends on what is in the files, and on nothing else."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from airflow_spot.aws.source_archive import SourceArchive, script_mode_hyperparameters
from airflow_spot.core.parameter_errors import InvalidParameterError

FILES = {"train.py": "print('train')\n", "lib/helper.py": "x = 1\n", "lib/größe ü.txt": "ü", "empty.txt": ""}


def _write(folder: Path, names: list[str]) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(FILES[name], encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of sources."""
    _write(tmp_path / "src", list(FILES))
    return tmp_path / "src"


def members(archive: SourceArchive) -> dict[str, tarfile.TarInfo]:
    """What is in it."""
    with tarfile.open(fileobj=io.BytesIO(archive.content), mode="r:gz") as opened:
        return {member.name: member for member in opened.getmembers()}


def read(archive: SourceArchive, name: str) -> bytes:
    """One file's content in it."""
    with tarfile.open(fileobj=io.BytesIO(archive.content), mode="r:gz") as opened:
        file = opened.extractfile(name)
        assert file is not None
        return file.read()


def test_the_archive_is_the_same_for_the_same_files(folder: Path, tmp_path: Path) -> None:
    _write(tmp_path / "copy", list(reversed(FILES)))
    for number, path in enumerate((tmp_path / "copy").rglob("*")):
        os.utime(path, (number * 1_000, number * 1_000))
    one, other = SourceArchive("train.py", folder), SourceArchive("train.py", tmp_path / "copy")
    assert one.content == other.content
    assert one.content[4:8] == bytes(4)  # where gzip has the time at which it packed
    assert one.digest == other.digest
    assert one.uri("s3://bucket/code/") == other.uri("s3://bucket/code")
    assert one.uri("s3://bucket/code") == f"s3://bucket/code/{one.digest}/sourcedir.tar.gz"


def test_the_archive_holds_the_files_and_nothing_of_this_machine(folder: Path) -> None:
    archive = SourceArchive("train.py", folder)
    found = members(archive)
    assert sorted(found) == list(found) == sorted(FILES)
    assert read(archive, "lib/größe ü.txt").decode() == "ü"
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname) for m in found.values()} == {(0, 0, 0, "", "")}
    assert str(folder).encode() not in gzip.decompress(archive.content)


@pytest.mark.parametrize("change", ["content", "name", "mode", "more", "fewer", "moved"])
def test_every_change_changes_the_digest(folder: Path, change: str) -> None:
    before = SourceArchive("train.py", folder)
    was, content = before.digest, before.content
    helper = folder / "lib" / "helper.py"
    if change == "content":
        helper.write_text("x = 2\n")
    elif change == "name":
        helper.rename(folder / "lib" / "other.py")
    elif change == "mode":
        helper.chmod(0o755)
    elif change == "more":
        (folder / "new.py").touch()
    elif change == "fewer":
        helper.unlink()
    else:
        helper.rename(folder / "helper.py")
    after = SourceArchive("train.py", folder)
    assert after.digest != was
    assert after.content != content


def test_what_is_made_by_running_is_left_out(folder: Path) -> None:
    was = SourceArchive("train.py", folder).digest
    for name in ("__pycache__/a.pyc", "lib/__pycache__/b.pyc", ".git/config", ".ipynb_checkpoints/x", "lib/.DS_Store"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    archive = SourceArchive("train.py", folder)
    assert archive.digest == was
    assert sorted(members(archive)) == sorted(FILES)


def test_an_executable_stays_one(folder: Path) -> None:
    (folder / "train.py").chmod(0o700)
    found = members(SourceArchive("train.py", folder))
    assert found["train.py"].mode == 0o755
    assert found["empty.txt"].mode == 0o644


def test_a_script_alone_is_packed_alone(folder: Path) -> None:
    archive = SourceArchive("src/lib/helper.py", None, folder.parent)
    assert list(members(archive)) == ["helper.py"]
    assert archive.program == "helper.py"


def test_a_script_in_a_subfolder_keeps_its_place(folder: Path) -> None:
    archive = SourceArchive("lib/helper.py", Path("src"), folder.parent)
    assert archive.program == "lib/helper.py"
    assert archive.program in members(archive)


@pytest.mark.parametrize(
    ("entry_point", "source", "field", "value"),
    [
        ("train.py", "nowhere", "source_dir", "nowhere"),
        ("train.py", "src/train.py", "source_dir", "src/train.py"),
        ("missing.py", "src", "entry_point", "missing.py"),
        ("lib", "src", "entry_point", "lib"),
        ("missing.py", None, "entry_point", "missing.py"),
        ("../outside.py", "src", "entry_point", "../outside.py"),
        ("ABSOLUTE", "src", "entry_point", "outside.py"),
        ("__pycache__/train.py", "src", "entry_point", "__pycache__/train.py"),
    ],
)
def test_a_script_that_would_not_be_there_is_refused(
    folder: Path, entry_point: str, source: str | None, field: str, value: str
) -> None:
    """Also one that is a file, and that the archive would not hold: its job would start, and fail."""
    outside = folder.parent / "outside.py"
    outside.touch()
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "train.py").touch()
    name = str(outside) if entry_point == "ABSOLUTE" else entry_point
    with pytest.raises(InvalidParameterError) as refused:
        SourceArchive(name, Path(source) if source else None, folder.parent)
    assert refused.value.name == field
    assert value in str(refused.value)


def test_what_tells_the_container_is_json() -> None:
    made = script_mode_hyperparameters("train.py", "s3://bucket/code/x/sourcedir.tar.gz", "eu-west-1")
    assert {name: json.loads(value) for name, value in made.items()} == {
        "sagemaker_program": "train.py",
        "sagemaker_submit_directory": "s3://bucket/code/x/sourcedir.tar.gz",
        "sagemaker_region": "eu-west-1",
    }
    assert "sagemaker_region" not in script_mode_hyperparameters("train.py", "s3://bucket/x", None)


@pytest.mark.parametrize("place", ["", "src"])
def test_the_library_is_packed_beside_a_script_that_imports_it(tmp_path: Path, place: str) -> None:
    folder = tmp_path / "code"
    (folder / place).mkdir(parents=True)
    script = folder / place / "train.py"
    script.write_text("print(1)")
    entry_point = f"{place}/train.py".lstrip("/")
    assert list(members(SourceArchive(entry_point, folder))) == [entry_point]
    script.write_text("from airflow_spot.checkpoint import Checkpointer")
    library = f"{place}/airflow_spot/checkpoint/__init__.py".lstrip("/")
    assert library in members(SourceArchive(entry_point, folder))
    assert list(SourceArchive(entry_point, folder).sources) == [entry_point]  # the lint is not to judge ours
    assert library.removeprefix("src/") in members(SourceArchive(str(script)))
    own = folder / library
    own.parent.mkdir(parents=True)
    own.write_text("# mine")
    assert read(SourceArchive(entry_point, folder), library) == b"# mine"


def test_it_runs_from_the_archive_where_the_package_is_not_installed(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text("from airflow_spot.checkpoint import Checkpointer; print(Checkpointer('c').latest())")
    with tarfile.open(fileobj=io.BytesIO(SourceArchive(str(script)).content)) as packed:
        packed.extractall(tmp_path / "opt", filter="data")
    done = subprocess.run(
        [sys.executable, "-S", "train.py"], cwd=tmp_path / "opt", capture_output=True, text=True, check=True
    )
    assert done.stdout == "None\n"


def test_what_is_made_is_packed_like_a_file(folder: Path) -> None:
    made = {"made.py": b"from airflow_spot.checkpoint import Checkpointer\n", "call.json": b"{}"}
    alone = SourceArchive("made.py", None, folder, made)
    assert read(alone, "call.json") == b"{}"
    assert "airflow_spot/checkpoint/__init__.py" in members(alone)
    assert sorted(alone.sources) == ["call.json", "made.py"]
    beside = SourceArchive("made.py", folder, made=made)
    assert {*FILES, *made} <= set(members(beside))
    assert members(beside)["made.py"].mode == 0o644
    other = SourceArchive("made.py", folder, made={**made, "call.json": b"[]"})
    assert len({alone.digest, beside.digest, other.digest}) == 3
    assert SourceArchive("made.py", folder, made=dict(reversed(made.items()))).digest == beside.digest
    with pytest.raises(
        InvalidParameterError, match=r"it has a train.py, which is made by airflow_spot: give that file"
    ):
        SourceArchive("train.py", folder, made={"train.py": b""})
