"""Isolation on a machine as it is: for root and for an ordinary user, and nothing left behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from airflow_spot.local import LocalSageMaker
from tests.local.jobs import COUNTER, Jobs, until
from tests.local.test_service import job_processes

NOBODY = 65534
ROOT = Path(__file__).parents[3]

AS_A_USER = """
import os, sys
sys.path.insert(0, {root!r})
from pathlib import Path
from airflow_spot.local.container.container import Containers, Spec
from airflow_spot.local.settings import Settings
folder = Path({folder!r})
containers = Containers(Settings(directory=str(folder), isolation={isolation!r}))
opt_ml = containers.opt_ml(folder / "one")
lines = []
script = "id -u; ls /opt; pwd; echo x > file; id -g"
spec = Spec(opt_ml, ["sh", "-c", script], containers.base_environment(opt_ml), opt_ml.see("/opt/ml"))
code = containers.start(spec, lines.append).wait(120)
print(code, containers.namespace, (opt_ml.host / "file").stat().st_uid, *lines)
"""


def python_for_all() -> str | None:
    """An interpreter that an ordinary user can run, and that can read this checkout as one."""
    code = f"import os, sys; assert sys.version_info >= (3, 10); os.listdir({str(ROOT)!r})"
    for name in ("python3", "python3.13", "python3.12", "python3.11", "python3.10"):
        path = shutil.which(name, path="/usr/bin:/usr/local/bin")
        if path and subprocess.run([path, "-c", code], user=NOBODY, check=False, capture_output=True).returncode == 0:
            return path
    return None


@pytest.mark.parametrize("isolation", ["auto", "relocate"])
def test_an_ordinary_user(isolation: str) -> None:
    if os.getuid() != 0:
        pytest.skip("every other test already runs as an ordinary user")
    python = python_for_all()
    if python is None:
        pytest.skip("no interpreter here that an ordinary user can run")
    # Not below pytest's own folder, which only its owner can enter.
    folder = Path("/tmp") / f"airflow-spot-user-{os.getpid()}-{isolation}"
    folder.mkdir()
    try:
        os.chown(folder, NOBODY, NOBODY)
        code = AS_A_USER.format(root=str(ROOT), folder=str(folder), isolation=isolation)
        command = [python, "-c", code]
        result = subprocess.run(
            command, user=NOBODY, group=NOBODY, extra_groups=[], cwd="/", check=False, capture_output=True, text=True
        )
    finally:
        shutil.rmtree(folder)
    assert result.returncode == 0, result.stderr
    exit_code, namespace, owner, *lines = result.stdout.split()
    assert (exit_code, owner) == ("0", str(NOBODY))
    assert (lines[0], lines[-1]) == (str(NOBODY), str(NOBODY))
    if namespace == "True":
        assert isolation == "auto"
        assert set(lines[1:-2]) == {entry.name for entry in Path("/opt").iterdir()} | {"ml"}
        assert lines[-2] == "/opt/ml"
    else:
        assert lines[-2] == str(folder / "one" / "ml")


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def listening(pid: int) -> list[str]:
    """Addresses that a process listens on, of TCP."""
    mine = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):  # it has just been closed
            mine.add(str(entry.readlink()))
    fields = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [entry[1] for entry in fields if entry[3] == "0A" and f"socket:[{entry[9]}]" in mine]


@pytest.mark.slow
def test_nothing_is_left_after_a_hundred_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A temporary folder of its own, for the service too: in /tmp other tests' services come and go.
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    mounts = Path("/proc/self/mounts").read_text()
    opt = sorted(Path("/opt").iterdir())
    with LocalSageMaker(grace_seconds=0.5, checkpoint_seconds=0.5) as service:
        assert service.dir.parent == tmp_path
        jobs = Jobs(service)
        jobs.run("pass")
        before = descriptors(service.pid)
        ports = listening(service.pid)
        scripts = [
            "open('/opt/ml/model/x', 'w').write('x')",
            "import sys; sys.exit(1)",
            "import subprocess; subprocess.Popen(['sleep', '300'], start_new_session=True)",
            "import os, tempfile; tempfile.mkdtemp(); open(os.path.expanduser('~/x'), 'w')",
            COUNTER.replace("STEPS", "10"),
        ]
        codes = [jobs.request(script)["HyperParameters"] for script in scripts]

        def one(number: int) -> str:
            name = jobs.start(HyperParameters=codes[number % len(codes)])
            if number % 10 == 9:
                jobs.sagemaker.stop_training_job(TrainingJobName=name)
            return str(jobs.end(name)["TrainingJobStatus"])

        with ThreadPoolExecutor(6) as executor:
            ended = list(executor.map(one, range(100)))
        assert {status: ended.count(status) for status in ("Failed", "Stopped", "Completed")}["Failed"] == 20
        assert ended.count("Completed") >= 60
        started = {line["pid"] for line in jobs.events("process", action="started")}
        assert len(started) >= 90
        assert list((service.dir / "jobs" / "us-east-1").iterdir()) == []
        # HTTP connections of the clients come and go.
        until(lambda: descriptors(service.pid) <= before + 12, "descriptors are given back")
        assert listening(service.pid) == ports
        assert len(ports) == 1
        marker = str(service.dir)
        assert [pid for pid in job_processes(marker) if pid not in (service.pid, os.getpid())] == []
    assert Path("/proc/self/mounts").read_text() == mounts
    assert sorted(Path("/opt").iterdir()) == opt
    assert list(tmp_path.iterdir()) == []
