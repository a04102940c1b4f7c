"""A script with our library beside it, as the operator packs them, run by another Python on this machine."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path

from airflow_spot.aws.source_archive import SourceArchive
from airflow_spot.local.serving.ports import free_port
from airflow_spot.rehearsal.processes import process_tree
from tests.frameworks.imported import Forked, Imported

Process = subprocess.Popen[str] | Forked
#: Runs a script that waits for a signal at a line.
HELD = Path(__file__).with_name("held.py")


class Unpacked:
    """
    A script in a folder, with checkpoint folders and a model beside it.

    :param script: a file, which is copied.
    :param python: what runs it.
    :param folder: a new one.
    :param imported: starts it instead, but for several processes.
    """

    def __init__(self, script: Path, python: Path, folder: Path, imported: Imported | None = None) -> None:
        self._python, self._folder, self._imported = python, folder, imported
        archive = SourceArchive(script.name, None, script.parent)
        with tarfile.open(fileobj=io.BytesIO(archive.content)) as packed:
            packed.extractall(folder / "code", filter="data")
        self._script = folder / "code" / archive.program

    def checkpoints(self, name: str = "checkpoints") -> Path:
        """Return a checkpoint folder."""
        return self._folder / name

    def model(self, name: str = "model") -> bytes:
        """Return the weights that were left."""
        (path,) = [path for path in (self._folder / name).rglob("*") if path.suffix in (".pt", ".safetensors")]
        return path.read_bytes()

    def start(
        self,
        values: Mapping[str, object],
        checkpoints: str = "checkpoints",
        model: str = "model",
        environ: Mapping[str, str] | None = None,
        processes: int = 1,
        held_at: str = "",
    ) -> Process:
        """
        Start it with these hyperparameters; its output is to be read.

        :param processes: of several, torchrun starts them.
        :param held_at: it waits for a signal after the line that begins so; empty: at none.
        """
        given = [f"--{name}={value}" for name, value in values.items()]
        arguments = [str(HELD if held_at else self._script), *given]
        whole = {
            **environment(),
            "SM_CHECKPOINT_DIR": str(self._folder / checkpoints),
            "SM_MODEL_DIR": str(self._folder / model),
            "HELD": str(self._script),
            "HELD_AT": held_at,
            **(environ or {}),
        }
        folder = self._script.parent
        if self._imported is not None and processes == 1:
            return self._imported.start(arguments, folder, whole)
        torchrun = ["-m", "torch.distributed.run", f"--nproc-per-node={processes}", f"--master-port={free_port()}"]
        command = [str(self._python), *(torchrun if processes > 1 else ()), *arguments]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder, env=whole
        )

    def start_each(
        self, values: Mapping[str, object], checkpoints: str = "checkpoints", model: str = "model"
    ) -> list[Process]:
        """Start two processes as torchrun does, but for torchrun."""
        port, started = free_port(), []
        for rank in ("0", "1"):
            whole = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0"}
            whole |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": str(port)}
            started.append(self.start(values, checkpoints, model, whole))
        return started


def environment() -> dict[str, str]:
    """Return what the environment of each script begins with."""
    whole = {name: value for name, value in os.environ.items() if not name.startswith("SM_")}
    return {**whole, "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}


def with_held(script: Path, folder: Path) -> Path:
    """Return a folder of jobs' code, made new: the script, and held.py as entry point."""
    folder.mkdir()
    shutil.copy(script, folder)
    shutil.copy(HELD, folder)
    return folder


def read_until(process: Process, start: str) -> str:
    """Read a process's output until a line that begins so; return it all."""
    said = ""
    assert process.stdout is not None
    for line in process.stdout:
        said += line
        if line.startswith(start):
            return said
    raise AssertionError(f"it ended with {process.wait()} before {start}:\n{said}")


def kill(process: Process) -> None:
    """Kill a process and those that it has started, which torchrun's are in sessions of their own."""
    for pid in (process.pid, *process_tree(process.pid)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    end(process)


def end(process: Process) -> tuple[int, str]:
    """Wait for a process's end; return its exit code, and what it has said until then."""
    assert process.stdout is not None
    said = process.stdout.read()
    return process.wait(), said
