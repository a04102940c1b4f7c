"""The service as a process: it starts, says why if not, and takes everything with it when it ends."""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from airflow_spot.local import LocalSageMaker
from airflow_spot.local.training.schedulers import JOIN_SECONDS
from tests.local.jobs import DEADLINE_SECONDS, Jobs, alive, until

FOREVER = """
    import subprocess, sys, time
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"], start_new_session=True)
    print("ready", flush=True)
    time.sleep(3600)
"""


def job_processes(marker: str) -> list[int]:
    """Processes of this machine whose environment or command line has the marker."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                text = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if marker.encode() in text and alive(int(entry.name)):
                found.append(int(entry.name))
    return found


def start_forever(service: LocalSageMaker) -> str:
    jobs = Jobs(service)
    name = jobs.start(FOREVER)
    jobs.reach(name, "Training")
    until(lambda: jobs.output(name) == [["ready"]], "the script runs")
    assert len(job_processes(name)) >= 2
    return name


@pytest.mark.parametrize("isolation", ["auto", pytest.param("relocate", marks=pytest.mark.slow)])
def test_nothing_is_left_after_the_context(isolation: str) -> None:
    with LocalSageMaker(isolation=isolation) as service:
        jobs = Jobs(service)
        name = jobs.start(FOREVER.replace("/opt/ml", ""))
        until(lambda: jobs.events("process", job=name) and jobs.output(name) == [["ready"]], "the script runs")
        pid, folder = service.pid, service.dir
        began = time.monotonic()
    took = time.monotonic() - began
    assert not alive(pid)
    if took < JOIN_SECONDS:  # else the service may have given up a process that stood still, which ends all the same
        assert job_processes(name) == []
    until(lambda: job_processes(name) == [], "all processes of the job end")
    assert not folder.exists()


@pytest.mark.parametrize("isolation", ["auto", "relocate"])
def test_nothing_is_left_after_sigkill_of_the_service(isolation: str) -> None:
    with LocalSageMaker(isolation=isolation) as service:
        name = start_forever(service)
        service.kill()
        until(lambda: job_processes(name) == [], "all processes of the job end")


def test_nothing_is_left_after_sigkill_of_the_owner(tmp_path: Path) -> None:
    owner = tmp_path / "owner.py"
    owner.write_text(
        "import sys\n"
        "from airflow_spot.local import LocalSageMaker\n"
        "from tests.local.test_service import start_forever\n"
        "service = LocalSageMaker()\n"
        "service.start()\n"
        "print(service.pid, service.dir, start_forever(service), flush=True)\n"
        "sys.stdin.read()\n"
    )
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, str(owner)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert process.stdout is not None
    assert process.stdin is not None
    pid, folder, name = process.stdout.readline().split()
    assert alive(int(pid))
    process.kill()
    process.wait()
    until(lambda: not alive(int(pid)), "the service ends")
    until(lambda: job_processes(name) == [], "the job ends")
    assert not Path(folder).exists()
    process.stdout.close()
    process.stdin.close()


def test_a_forked_child_of_the_owner_does_not_keep_the_service_alive() -> None:
    code = (
        "import os, sys, time\n"
        "from airflow_spot.local import LocalSageMaker\n"
        "service = LocalSageMaker()\n"
        "service.start()\n"
        "if os.fork() == 0:\n"
        "    service.client('sagemaker').list_models()\n"
        "    print(service.pid, os.getpid(), flush=True)\n"
        "    time.sleep(3600)\n"
        "time.sleep(3600)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment) as owner:
        assert owner.stdout is not None
        service, child = map(int, owner.stdout.readline().split())
        try:
            owner.kill()
            owner.wait()
            until(lambda: not alive(service), "the service ends")
            assert alive(child)
        finally:
            os.kill(child, signal.SIGKILL)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="threads are told apart by the kernel of Linux")
def test_it_ends_also_where_the_kernel_gives_the_signal_to_another_thread(tmp_path: Path) -> None:
    """Any thread of a process may get its signal; Python acts on it in the first one, which that does not wake."""
    tgkill = {"x86_64": 234, "aarch64": 131}.get(platform.machine())
    if tgkill is None:
        pytest.skip("the number of tgkill is not known here")
    with LocalSageMaker(dir=tmp_path / "service") as service:
        pid, process = service.pid, service._process
        assert process is not None
        until(lambda: Path(f"/proc/{pid}/wchan").read_text().startswith("futex"), "its first thread waits for the end")
        others = [int(each.name) for each in Path(f"/proc/{pid}/task").iterdir() if int(each.name) != pid]
        ctypes.CDLL(None, use_errno=True).syscall(tgkill, pid, others[0], int(signal.SIGTERM))
        process.wait(DEADLINE_SECONDS)


def test_a_service_that_does_not_start_says_why() -> None:
    with LocalSageMaker() as service:
        port = int(service.endpoint_url.rpartition(":")[2])
        with pytest.raises(RuntimeError, match=r"did not start(.|\n)*in use"), LocalSageMaker(port=port):
            pass
    with pytest.raises(RuntimeError, match="sometimes"), LocalSageMaker(market="sometimes"):
        pass
    with pytest.raises(ValueError, match="reclaim"):
        LocalSageMaker(reclaim="gently")


def test_a_directory_that_was_given_stays(tmp_path: Path) -> None:
    with LocalSageMaker(dir=tmp_path / "service") as service:
        Jobs(service).run("pass")
    assert [line["event"] for line in service.audit][-1] == "service"
    assert not list((tmp_path / "service" / "jobs" / "us-east-1").iterdir())


def test_a_wrong_market_is_refused_and_changes_nothing(jobs: Jobs) -> None:
    with pytest.raises(RuntimeError, match="perhaps"):
        jobs.sm.set_market("never", on_demand_market="perhaps")
    assert jobs.run("pass")["TrainingJobStatus"] == "Completed"


def test_interrupt_needs_a_job_that_holds_instances(jobs: Jobs) -> None:
    with pytest.raises(RuntimeError, match="nobody"):
        jobs.sm.interrupt("nobody")
    name = jobs.run("pass")["TrainingJobName"]
    with pytest.raises(RuntimeError, match="holds no instances"):
        jobs.sm.interrupt(name)


def test_the_command_prints_what_to_set_and_ends_on_sigint() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "airflow_spot.local", "--port", "0"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(7)]
    assert lines[0].startswith("# Local SageMaker: http://127.0.0.1:")
    assert lines[1].startswith("export AWS_ENDPOINT_URL=http://127.0.0.1:")
    folder = Path(lines[0].partition("audit log: ")[2].rstrip(")\n")).parent
    assert folder.exists()
    process.send_signal(signal.SIGINT)
    assert process.wait(DEADLINE_SECONDS) == 0
    assert not folder.exists()
    process.stdout.close()


def test_env_prints_only_exports() -> None:
    command = [sys.executable, "-m", "airflow_spot.local", "--env", "--port", "6007"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert "export AWS_ENDPOINT_URL=http://127.0.0.1:6007" in lines
    assert all(line.startswith(("export AWS_", "export SAGEMAKER_")) for line in lines)


def test_another_host_prints_a_warning() -> None:
    command = [sys.executable, "-m", "airflow_spot.local", "--host", "0.0.0.0", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.terminate()
    _, errors = process.communicate(timeout=60)
    assert "run programs as you" in errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--market", "perhaps"], "perhaps"),
        (["--image", "x"], "PATTERN=COMMAND"),
        (["--grace", "-1"], "grace_seconds"),
    ],
)
def test_wrong_options_are_named(arguments: list[str], message: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "airflow_spot.local", "--port", "0", *arguments]
    result = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60, env={**os.environ, "TMPDIR": str(tmp_path)}
    )
    assert result.returncode != 0
    assert list(tmp_path.iterdir()) == []
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_a_proxy_leaves_a_service_on_all_addresses_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.invalid:3128")
    monkeypatch.setenv("NO_PROXY", "example.com")
    with LocalSageMaker(host="0.0.0.0", engine="simulated") as service:
        assert service.environ["NO_PROXY"] == "example.com,127.0.0.1"
