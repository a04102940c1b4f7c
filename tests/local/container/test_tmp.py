"""A job's temporary files: short enough paths for Unix sockets, and nothing left behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import pytest

from airflow_spot.local import LocalSageMaker
from airflow_spot.local.container.namespaces import MOST_ENTRIES, Entry, chosen
from tests.local.jobs import Jobs

#: Below TMPDIR as libraries make them: a manager's own listener, and one in a folder with a long name.
SOCKETS = """
import multiprocessing, os, socket, tempfile
if __name__ == "__main__":
    with multiprocessing.Manager() as manager:
        manager.dict()["a"] = 1
        print("manager")
    folder = tempfile.mkdtemp(prefix="torch_shm_manager_")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(os.path.join(folder, "listener-abcdefgh"))
    listener.listen()
    print("listener", len(tempfile.gettempdir()))
"""


@pytest.fixture(scope="module", params=["auto", "relocate"])
def far(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jobs]:
    """A service whose folder alone is longer than a socket's path may be."""
    folder = tmp_path_factory.mktemp("far") / ("a-folder-with-a-long-name/" * 5)
    with LocalSageMaker(dir=folder, isolation=request.param, grace_seconds=0.5) as service:
        yield Jobs(service)


def links(to: Path) -> list[Path]:
    """Return the links in /tmp that lead into a service's folder; other services have theirs beside them."""
    found = []
    for path in Path("/tmp").glob("afspot-*"):
        with suppress(OSError):  # one of theirs has just gone, or is no link
            found += [path] if path.readlink().is_relative_to(to) else []
    return found


def test_a_job_may_listen_on_sockets_below_its_temporary_folder(far: Jobs) -> None:
    done = far.run(SOCKETS)
    assert done["TrainingJobStatus"] == "Completed", done
    assert links(far.sm.dir) == []


def test_temporary_files_are_the_jobs_own(far: Jobs) -> None:
    name = f"afspot-test-{uuid4().hex}"
    script = (
        f"import os, tempfile\npath = os.path.join(tempfile.gettempdir(), {name!r})\n"
        "assert not os.path.exists(path)\nopen(path, 'w')"
    )
    for _ in range(2):
        assert far.run(script)["TrainingJobStatus"] == "Completed"
    assert not (Path("/tmp") / name).exists()


def test_what_is_in_tmp_is_seen_in_a_namespace(tmp_path: Path, sm: LocalSageMaker, jobs: Jobs) -> None:
    """Data and interpreters may be there; what a job writes into one of its folders is there afterwards."""
    folder = Path("/tmp") / f"afspot-test-{uuid4().hex}"
    folder.mkdir()
    try:
        (folder / "data").write_text("data")
        done = jobs.run(f"assert open({str(folder / 'data')!r}).read() == 'data'\nopen({str(folder / 'new')!r}, 'w')")
        assert done["TrainingJobStatus"] == "Completed", done
        assert (folder / "new").exists()
    finally:
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()


def test_of_a_tmp_with_very_many_entries_a_job_sees_what_it_runs_from_and_what_is_newest() -> None:
    """Each is a mount, which takes its time, and of which the kernel allows a namespace 100,000."""
    files: list[Entry] = [(f"file-{number}", False, False, 1000.0 + number) for number in range(120_000)]
    folder: Entry = ("data", False, True, 500_000.0)
    interpreter: Entry = ("venv", True, False, 0.0)
    shown = chosen([*files, folder, interpreter], {"venv"})
    assert shown[:4] == [interpreter, folder, files[-1], files[-2]]
    assert len(shown) == MOST_ENTRIES
    assert chosen([*files[:10], folder], set()) == [*files[:10], folder]


def test_a_tmp_in_a_namespace_is_everybodys_as_any_is(sm: LocalSageMaker, jobs: Jobs) -> None:
    done = jobs.run("import os\nassert oct(os.stat('/tmp').st_mode) == '0o41777', oct(os.stat('/tmp').st_mode)")
    assert done["TrainingJobStatus"] == "Completed", done
