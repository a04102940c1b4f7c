"""Processes with an /opt/ml of their own, in namespaces and without."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from airflow_spot.local import LocalSageMaker
from airflow_spot.local.container.container import Containers, Spec
from airflow_spot.local.errors import JobError
from airflow_spot.local.settings import Settings
from tests.local.jobs import Jobs, alive, until
from tests.local.test_service import job_processes

PYTHON = sys.executable


@pytest.fixture(params=["namespace", "relocate"], scope="module")
def containers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Containers:
    try:
        return Containers(Settings(directory=str(tmp_path_factory.mktemp(request.param)), isolation=request.param))
    except OSError as error:
        pytest.skip(str(error))


def run(containers: Containers, scratch: Path, *command: str) -> tuple[int | None, list[str], Path]:
    opt_ml = containers.opt_ml(scratch)
    lines: list[str] = []
    spec = Spec(
        opt_ml, command, containers.base_environment(opt_ml), opt_ml.see("/opt/ml"), "algo-1", {"algo-1": "127.0.0.1"}
    )
    container = containers.start(spec, lines.append)
    return container.wait(120), lines, opt_ml.host


def test_output_and_exit_code(containers: Containers, tmp_path: Path) -> None:
    code, lines, _ = run(containers, tmp_path / "a", "sh", "-c", "echo out; echo err >&2; printf 'no end'; exit 5")
    assert code == 5
    assert lines == ["out", "err", "no end"]


def test_a_program_that_does_not_exist(containers: Containers, tmp_path: Path) -> None:
    code, lines, _ = run(containers, tmp_path / "a", "no-such-program")
    assert code == 127
    assert lines == ["no-such-program: No such file or directory"]


def test_the_working_directory_is_its_own(containers: Containers, tmp_path: Path) -> None:
    for name in ("a", "b"):
        code, _, host = run(containers, tmp_path / name, "sh", "-c", f"echo {name} > file; ls | wc -l")
        assert code == 0
        assert (host / "file").read_text().strip() == name
    if not containers.namespace:
        return
    before = Path("/opt/ml").exists()
    code, _, host = run(containers, tmp_path / "c", "sh", "-c", "echo c > /opt/ml/inside")
    assert (code, (host / "inside").read_text()) == (0, "c\n")
    assert Path("/opt/ml").exists() == before


def test_a_namespace_hides_nothing_else(containers: Containers, tmp_path: Path) -> None:
    if not containers.namespace:
        pytest.skip("nothing is mounted")
    code, lines, _ = run(containers, tmp_path / "a", PYTHON, "-c", "import os; print(sorted(os.listdir('/opt')))")
    assert code == 0
    assert set(eval(lines[0])) == {entry.name for entry in Path("/opt").iterdir()} | {"ml"}
    _, lines, _ = run(
        containers, tmp_path / "b", PYTHON, "-c", "import os, socket; print(os.getuid(), socket.gethostname())"
    )
    assert lines == [f"{os.getuid()} algo-1"]
    code, lines, _ = run(
        containers, tmp_path / "c", PYTHON, "-c", "import socket; print(socket.gethostbyname('algo-1'))"
    )
    assert lines == ["127.0.0.1"]


def test_no_mount_shows_outside(containers: Containers, tmp_path: Path) -> None:
    before = Path("/proc/self/mounts").read_text()
    opt_ml = containers.opt_ml(tmp_path / "a")
    lines: list[str] = []
    container = containers.start(
        Spec(opt_ml, ["sh", "-c", "echo up; sleep 60"], containers.base_environment(opt_ml), "/"), lines.append
    )
    until(lambda: lines == ["up"], "it runs")
    assert Path("/proc/self/mounts").read_text() == before
    container.kill()
    assert container.wait(120) == 137


def test_terminate_reaches_the_group_and_kill_reaches_all(containers: Containers, tmp_path: Path) -> None:
    opt_ml = containers.opt_ml(tmp_path / "a")
    lines: list[str] = []
    script = "trap 'echo term' TERM; setsid sleep 300 & sleep 300 & echo up; while :; do wait; sleep 0.05; done"
    container = containers.start(
        Spec(opt_ml, ["sh", "-c", script], containers.base_environment(opt_ml), "/"), lines.append
    )
    until(lambda: "up" in lines, "it runs")
    container.terminate()
    until(lambda: "term" in lines, "it gets SIGTERM")
    assert container.poll() is None
    assert alive(container.pid)
    container.kill()
    assert container.wait(120) == 137
    assert not alive(container.pid)
    # No reader of its output is left either, or wait would not have come back.
    container.terminate()
    container.kill()


@pytest.mark.parametrize(("by", "code"), [("terminate", 143), ("kill", 137), ("itself", 0)])
def test_when_the_signal_was_sent_that_ended_it(containers: Containers, tmp_path: Path, by: str, code: int) -> None:
    opt_ml = containers.opt_ml(tmp_path / "a")
    lines: list[str] = []
    # Without a trap SIGTERM ends it; with one it ends by itself, as a script that saves first.
    trap = "trap 'exit 0' TERM; " if by == "itself" else ""
    command = ["sh", "-c", f"{trap}echo up; while :; do sleep 0.05; done"]
    container = containers.start(Spec(opt_ml, command, containers.base_environment(opt_ml), "/"), lines.append)
    until(lambda: "up" in lines, "it runs")
    before = time.time()
    container.kill() if by == "kill" else container.terminate()
    assert container.wait(60) == code
    if by == "itself":
        assert container.signalled is None
    else:
        assert before <= (container.signalled or 0) <= time.time()


def test_descendants_end_with_the_main_process(containers: Containers, tmp_path: Path) -> None:
    marker = tmp_path / "up"
    script = f"(setsid sh -c 'touch {marker}; sleep 600; : {marker}' &); until [ -e {marker} ]; do sleep 0.02; done"
    code, _, _ = run(containers, tmp_path / "a", "sh", "-c", script)
    assert code == 0
    until(lambda: not job_processes(str(marker)), "nothing of it is left")


def test_paths(tmp_path: Path) -> None:
    opt_ml = Containers(Settings(directory=str(tmp_path), isolation="relocate")).opt_ml(tmp_path / "a")
    assert opt_ml.path("/opt/ml/model/x") == opt_ml.host / "model" / "x"
    assert opt_ml.see("/opt/ml/model") == str(opt_ml.host / "model")
    for outside in ("/etc/passwd", "/opt/ml/../x", "model"):
        with pytest.raises(JobError, match="outside"):
            opt_ml.path(outside)


def test_relocation_refuses_code_that_hard_codes_the_path(tmp_path: Path) -> None:
    containers = Containers(Settings(directory=str(tmp_path), isolation="relocate"))
    good, bad = tmp_path / "good.py", tmp_path / "bad.py"
    good.write_text('# /opt/ml\nmodel = os.environ.get("SM_MODEL_DIR", "/opt/ml/model")\n')
    bad.write_text('\nmodel = "/opt/ml/model"\n')
    containers.refuse_hard_coded([good], ["python", "good.py"])
    with pytest.raises(JobError, match=r"ClientError: bad\.py, line 2, .*SM_MODEL_DIR"):
        containers.refuse_hard_coded([good, bad], ["python", "bad.py"])
    with pytest.raises(JobError, match="hard-codes /opt/ml"):
        containers.refuse_hard_coded([], ["/bin/sh", "/opt/ml/input/data/sm_train.sh"])


@pytest.mark.local_sagemaker(isolation="relocate")
def test_relocated_jobs_find_their_paths_in_the_environment(local_sagemaker: LocalSageMaker) -> None:
    jobs = Jobs(local_sagemaker)
    job = jobs.run(
        """
        import os, json
        assert json.load(open(os.environ["SM_INPUT_CONFIG_DIR"] + "/hyperparameters.json"))
        open(os.environ["SM_CHECKPOINT_DIR"] + "/c", "w").write("c")
        open(os.environ["SM_MODEL_DIR"] + "/m", "w").write("m")
        """
    )
    assert job["TrainingJobStatus"] == "Completed"
    assert jobs.model(job["TrainingJobName"]) == {"m": b"m"}
    assert jobs.keys(f"checkpoints/{job['TrainingJobName']}")
    job = jobs.run('open("/opt/ml/model/m", "w")')
    assert "train.py, line 1, hard-codes /opt/ml" in job["FailureReason"]
