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

#: Runs a script that waits for a signal at a line.
HELD = Path(__file__).with_name("held.py")


class Unpacked:
    """
    A script in a folder, with checkpoint folders and a model beside it.

    :param script: a file, which is copied.
    :param python: what runs it.
    :param folder: a new one.
    """

    def __init__(self, script: Path, python: Path, folder: Path) -> None:
        self._python, self._folder = python, folder
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

    def command(self, values: Mapping[str, object], processes: int, program: Path) -> list[str]:
        """Return what runs it with these hyperparameters; in several processes, torchrun does."""
        torchrun = ["-m", "torch.distributed.run", f"--nproc-per-node={processes}", f"--master-port={free_port()}"]
        script = [*(torchrun if processes > 1 else ()), str(program)]
        return [str(self._python), *script, *(f"--{name}={value}" for name, value in values.items())]

    def environ(self, checkpoints: str = "checkpoints", model: str = "model") -> dict[str, str]:
        """Return the environment that it runs in."""
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("SM_")},
            "SM_CHECKPOINT_DIR": str(self._folder / checkpoints),
            "SM_MODEL_DIR": str(self._folder / model),
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
        }

    def start(
        self,
        values: Mapping[str, object],
        checkpoints: str = "checkpoints",
        model: str = "model",
        environ: Mapping[str, str] | None = None,
        processes: int = 1,
        held_at: str = "",
    ) -> subprocess.Popen[str]:
        """
        Start it with these hyperparameters; its output is to be read.

        :param held_at: it waits for a signal after the line that begins so; empty: at none.
        """
        script = HELD if held_at else self._script
        return subprocess.Popen(
            self.command(values, processes, script),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self._script.parent,
            env={
                **self.environ(checkpoints, model),
                **(environ or {}),
                "HELD": str(self._script),
                "HELD_AT": held_at,
            },
        )


def with_held(script: Path, folder: Path) -> Path:
    """Return a folder of jobs' code, made new: the script, and held.py as entry point."""
    folder.mkdir()
    shutil.copy(script, folder)
    shutil.copy(HELD, folder)
    return folder


def read_until(process: subprocess.Popen[str], start: str) -> str:
    """Read a process's output until a line that begins so; return it all."""
    said = ""
    assert process.stdout is not None
    for line in process.stdout:
        said += line
        if line.startswith(start):
            return said
    raise AssertionError(f"it ended with {process.wait()} before {start}:\n{said}")


def kill(process: subprocess.Popen[str]) -> None:
    """Kill a process and those that it has started, which torchrun's are in sessions of their own."""
    for pid in (process.pid, *process_tree(process.pid)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    end(process)


def end(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for a process's end; return its exit code, and what it has said until then."""
    said, _ = process.communicate(timeout=600)
    return process.returncode, said
