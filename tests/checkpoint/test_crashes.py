"""The library under SIGKILL, SIGTERM and damage: what was saved is there, and is what it was."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_spot import checkpoint as library
from airflow_spot.checkpoint import CheckpointError
from tests.checkpoint.killing import killed_often
from tests.checkpoint.test_checkpointer import SOURCE, Script, steps
from tests.support.extent import seeds

# ---- kills

TRAINER = """
import sys, time
from pathlib import Path
from checkpoint import Checkpointer

folder, total = sys.argv[1], int(sys.argv[2])
checkpoints = Checkpointer(folder)

def write(path):
    with open(path, "w") as file:
        for part in range(40):  # a write takes a while, as one of gigabytes does
            file.write("%d\\n" % value)
            file.flush()
            time.sleep(0.0002)

found = checkpoints.load(lambda path: Path(path).read_text().split())
if found:
    assert len(found.state) == 40 and len(set(found.state)) == 1, found
value, first = (int(found.state[0]), found.step) if found else (0, 0)
print("FROM", first, flush=True)
checkpoints.on_sigterm()
for step in range(first, total):
    value = (value * 31 + step) % 1000003
    print("STEP", step, flush=True)
    if checkpoints.due(step + 1, every=3):
        checkpoints.save(step + 1, write)
print("END", value, flush=True)
"""


def expected(total: int) -> int:
    value = 0
    for step in range(total):
        value = (value * 31 + step) % 1000003
    return value


@pytest.fixture
def trainer(tmp_path: Path) -> Path:
    shutil.copy(SOURCE, tmp_path / "checkpoint.py")
    (tmp_path / "train.py").write_text(TRAINER)
    return tmp_path / "train.py"


def started(trainer: Path, total: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(trainer), str(trainer.parent / "c"), str(total)], stdout=subprocess.PIPE, text=True
    )


def lives(trainer: Path, kills: int, total: int, seed: int) -> list[int]:
    command = [sys.executable, str(trainer), str(trainer.parent / "c"), str(total)]
    found = killed_often(command, kills, seed, within=0.08)
    assert f"END {expected(total)}" in found.output
    return found.begun


def test_kills_at_any_moment_lose_nothing_that_was_saved(trainer: Path) -> None:
    begun = lives(trainer, 8, 400, 1)
    assert begun == sorted(begun)


@pytest.mark.slow
@pytest.mark.parametrize("seed", seeds(10))
def test_two_hundred_kills(trainer: Path, seed: int) -> None:
    begun = lives(trainer, 20, 600, seed)
    assert begun == sorted(begun)
    assert len(set(begun)) > 1 or len(begun) <= 20  # it ended before the kills did


def test_sigterm_saves_once_and_ends_with_143(trainer: Path) -> None:
    process = started(trainer, 10**6)
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if line.startswith("STEP 10"):
            break
    process.send_signal(signal.SIGTERM)
    said += process.stdout.read()
    assert process.wait() == 143
    last = int(said.rstrip().rsplit("STEP ", 1)[1].split()[0])
    assert f"saved step {last + 1} after SIGTERM, ending with exit code 143" in said
    again = started(trainer, last + 1)
    out, _ = again.communicate()
    assert (again.returncode, f"FROM {last + 1}" in out) == (0, True)


# ---- any damage


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_damage_is_taken_for_a_state(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("c")
    script = Script(folder)
    for step in (1, 2):
        script.save(step, f"state {step} " * 5)
    for path in sorted(folder.iterdir()):
        what = data.draw(st.sampled_from(["nothing", "nothing", "cut", "gone", "flip", "noise"]), label=path.name[16:])
        content = path.read_bytes()
        if what == "cut":
            path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
        elif what == "gone":
            path.unlink()
        elif what == "flip" and path.suffix == ".data":
            at = data.draw(st.integers(0, len(content) - 1))
            path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        elif what == "noise":
            path.write_bytes(data.draw(st.binary(max_size=80)))
    try:
        found = Script(folder).load()
    except CheckpointError:
        return
    assert found in (None, (1, "state 1 " * 5), (2, "state 2 " * 5))


FORKS = """
import multiprocessing, sys, time
from airflow_spot.checkpoint import Checkpointer
Checkpointer(sys.argv[1]).on_sigterm()
worker = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,), daemon=True)
worker.start()
time.sleep(0.1)
worker.terminate()
worker.join(60)
print(worker.exitcode)
worker.kill()
"""


def test_sigterm_ends_a_forked_worker(tmp_path: Path) -> None:
    """Pool.terminate() sends it, and waits."""
    command = [sys.executable, "-c", FORKS, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.split() == [str(-signal.SIGTERM)], done.stderr


def test_what_was_just_saved_stays_below_later_steps(tmp_path: Path) -> None:
    """A training that began again in a folder that was not empty."""
    before = Script(tmp_path)
    before.save(90)
    before.save(100)
    script = Script(tmp_path)
    script.save(5)
    script.save(6)
    assert 6 in steps(tmp_path)
    assert sum("checkpoints of later steps are here" in line for line in script.told) == 1


@pytest.mark.parametrize("later", [1000.0, 500.0])
def test_a_step_saved_again_is_the_newer_whatever_the_clock_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, later: float
) -> None:
    script = Script(tmp_path, keep=1)
    monkeypatch.setattr(library.time, "time", lambda: 1000.0)
    script.save(1, "old")
    monkeypatch.setattr(library.time, "time", lambda: later)
    script.save(1, "new")
    assert Script(tmp_path).load() == (1, "new")


def test_a_folder_saved_twice_in_a_millisecond(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library.time, "time", lambda: 1000.0)
    script = Script(tmp_path)

    def write(path: str) -> None:
        Path(path).mkdir()
        (Path(path) / "weights").write_text("w")

    script.checkpoints.save(1, write)
    script.checkpoints.save(1, write)
    assert steps(tmp_path) == [1, 1]
