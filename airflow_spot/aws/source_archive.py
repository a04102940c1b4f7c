"""Script mode: a folder becomes one archive in S3 per content, however often it is sent."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from airflow_spot.core.parameter_errors import InvalidParameterError, MissingFileError

ARCHIVE_NAME = "sourcedir.tar.gz"
#: The library for scripts.
LIBRARY = "airflow_spot.checkpoint"
_IGNORED = {"__pycache__", ".git", ".ipynb_checkpoints", ".DS_Store"}


@dataclass(frozen=True)
class SourceArchive:
    """
    The training script and what lies beside it.

    The archive is the same, byte for byte, whenever the files are: no times, no owners, sorted names.

    :param entry_point: the script, relative to the folder.
    :param folder: what is packed; None packs the script alone.
    :param made: content by name of what is put beside it and is no file here, such as a script that is made.
    :raises MissingFileError: the script or the folder does not exist.
    :raises InvalidParameterError: the script would not be in the archive.
    """

    entry_point: str
    folder: Path | None = None
    base: Path = Path()
    made: Mapping[str, bytes] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if self.folder is not None and not self._root.is_dir():
            raise MissingFileError("source_dir", str(self.folder), f"there is no folder {self._root}")
        if self.entry_point not in self.made and not (self._root / self.entry_point).is_file():
            raise MissingFileError("entry_point", self.entry_point, f"there is no file {self._root / self.entry_point}")
        if Path(self.program).as_posix() not in {file.name for file in self._files}:
            raise InvalidParameterError("entry_point", self.entry_point, "name a file in source_dir, relative to it")

    @property
    def _root(self) -> Path:
        return self.base if self.folder is None else self.base / self.folder

    @property
    def program(self) -> str:
        """The script's place in the archive."""
        as_named = self.folder is not None or self.entry_point in self.made
        return self.entry_point if as_named else Path(self.entry_point).name

    @cached_property
    def content(self) -> bytes:
        """The archive, a gzipped tar."""
        buffer = io.BytesIO()
        with (
            gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0, filename="") as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
        ):
            for file in self._files:
                member = tarfile.TarInfo(file.name)
                data = file.read()
                member.size = len(data)
                member.mode = 0o755 if file.mode else 0o644
                archive.addfile(member, io.BytesIO(data))
        return buffer.getvalue()

    @cached_property
    def digest(self) -> str:
        """A hash of the files' names, modes and content; zlib's version, which changes the archive, is not in it."""
        whole = hashlib.sha256()
        for file in self._files:
            whole.update(f"{file.name}\0{file.mode}\0{hashlib.sha256(file.read()).hexdigest()}\n".encode())
        return whole.hexdigest()[:16]

    def uri(self, location: str) -> str:
        """Return where the archive lies below an S3 URI."""
        return f"{location.rstrip('/')}/{self.digest}/{ARCHIVE_NAME}"

    @property
    def has_library(self) -> bool:
        """Whether ``airflow_spot.checkpoint`` is in the archive, put there by the user or by us."""
        return any(LIBRARY.replace(".", "/") in file.name for file in self._files)

    @property
    def sources(self) -> Mapping[str, bytes]:
        """The user's files by their places in the archive, each read when it is asked for; not our library's."""
        return SourceFiles({file.name: file for file in self._own_files})

    @cached_property
    def _files(self) -> list[PackedFile]:
        names = {file.name for file in self._own_files}
        library = (file for file in _library(self._own_files, Path(self.program).parent) if file.name not in names)
        return sorted([*self._own_files, *library], key=lambda file: file.name)

    @cached_property
    def _own_files(self) -> list[PackedFile]:
        made = [PackedFile(name, content) for name, content in self.made.items()]
        if self.folder is None:
            return made or [PackedFile(self.program, self._root / self.entry_point)]
        found = (path for path in self._root.rglob("*") if path.is_file())
        named = ((path, path.relative_to(self._root)) for path in found)
        files = [PackedFile(name.as_posix(), path) for path, name in named if not _IGNORED.intersection(name.parts)]
        for file in files:
            if file.name in self.made:
                fix = f"it has a {file.name}, which is made by airflow_spot: give that file another name"
                raise InvalidParameterError("source_dir", str(self.folder), fix)
        return [*files, *made]


@dataclass(frozen=True)
class PackedFile:
    """
    One file of an archive.

    :param source: where it is, or its content.
    """

    name: str
    source: Path | bytes

    def read(self) -> bytes:
        """Return its content."""
        return self.source if isinstance(self.source, bytes) else self.source.read_bytes()

    @property
    def mode(self) -> int:
        """The bit that makes it executable, or 0."""
        return 0 if isinstance(self.source, bytes) else self.source.stat().st_mode & 0o100


def _library(files: Iterable[PackedFile], beside: Path) -> list[PackedFile]:
    """
    Return the files of ``airflow_spot.checkpoint`` where one of a script's files names it: containers have it not.

    ``airflow_spot`` has no ``__init__.py`` there, so a package of that name that is installed in the image goes first.

    :param beside: the script's folder, which Python imports from.
    """
    if not any(file.name.endswith(".py") and LIBRARY.encode() in file.read() for file in files):
        return []
    folder = Path(__file__).parents[1] / "checkpoint"
    place = beside / LIBRARY.replace(".", "/")
    return [PackedFile((place / path.name).as_posix(), path) for path in sorted(folder.glob("*.py"))]


class SourceFiles(Mapping[str, bytes]):
    """Files by name, each read when it is asked for."""

    def __init__(self, files: Mapping[str, PackedFile]) -> None:
        self._files = files

    def __getitem__(self, name: str) -> bytes:
        return self._files[name].read()

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


class FolderFiles(Mapping[str, bytes]):
    """The files below a folder by relative path, looked up when they are asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (self._folder / name).is_file()

    def __getitem__(self, name: str) -> bytes:
        return (self._folder / name).read_bytes()

    def __iter__(self) -> Iterator[str]:
        return (path.relative_to(self._folder).as_posix() for path in self._folder.rglob("*") if path.is_file())

    def __len__(self) -> int:
        return sum(1 for _ in self)


def script_mode_hyperparameters(program: str, archive_uri: str, region: str | None) -> dict[str, str]:
    """Make the hyperparameters that tell a framework container what to run, JSON-encoded as SageMaker's SDK does."""
    values = {"sagemaker_program": program, "sagemaker_submit_directory": archive_uri, "sagemaker_region": region}
    return {name: json.dumps(value) for name, value in values.items() if value is not None}
