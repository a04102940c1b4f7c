"""What is rehearsed: a script, or a CreateTrainingJob request with its code and data on this machine."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from airflow_spot.aws.source_archive import SourceArchive
from airflow_spot.core.parameter_errors import InvalidParameterError

DEFAULT_IMAGE = "rehearsal"
_PROGRAM, _SUBMIT = "sagemaker_program", "sagemaker_submit_directory"


class RehearsalError(Exception):
    """Nothing can be rehearsed; the message says what to change."""


@dataclass(frozen=True)
class Subject:
    """
    What is rehearsed.

    :param name: of the script, for people.
    :param request: of CreateTrainingJob what matters to a script: AlgorithmSpecification, HyperParameters,
        Environment, InputDataConfig, CheckpointConfig.
    :param program: in script mode, the script, relative to ``source_dir`` or to ``base``.
    :param source_dir: its folder; None for the script alone.
    :param base: what those are relative to.
    :param requirements: a file to be sent as requirements.txt.
    :param channels: the folder of each channel.
    :param notes: what differs from what would run on AWS, for people.
    :param made: content by name of what is sent with it and is no file, as of a function its script.
    """

    name: str
    request: Mapping[str, Any]
    program: str | None = None
    source_dir: Path | None = None
    base: Path = field(default_factory=Path.cwd)
    requirements: Path | None = None
    channels: Mapping[str, Path] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    made: Mapping[str, bytes] = field(default_factory=dict)

    def check(self) -> None:
        """
        Fail before anything is started.

        :raises RehearsalError: something is not there.
        """
        for name in [channel["ChannelName"] for channel in self.request.get("InputDataConfig", ())]:
            if name not in self.channels:
                raise RehearsalError(f"channel {name!r} is not on this machine: give --channel {name}=DIR")
        for name, folder in self.channels.items():
            if not folder.is_dir() or not any(path.is_file() for path in folder.rglob("*")):
                raise RehearsalError(f"--channel {name}={folder}: there is no folder with files in it")
        if self.requirements is not None and not self.requirements.is_file():
            raise RehearsalError(f"--requirements {self.requirements}: there is no such file")
        with self.archive() as archive:
            if archive is None:
                algorithm = self.request.get("AlgorithmSpecification", {})
                if "ContainerEntrypoint" not in algorithm and "TrainingImage" not in algorithm:
                    raise RehearsalError("it names neither a script nor a ContainerEntrypoint nor an image")

    @contextmanager
    def archive(self) -> Iterator[SourceArchive | None]:
        """
        Give the code as it is sent; None where there is none to send.

        :raises RehearsalError: the script is not there.
        """
        if self.program is None:
            yield None
            return
        try:
            if self.requirements is None or self.made:
                more = {} if self.requirements is None else {"requirements.txt": self.requirements.read_bytes()}
                yield SourceArchive(self.program, self.source_dir, self.base, {**self.made, **more})
                return
            with tempfile.TemporaryDirectory(prefix="airflow-spot-rehearsal-") as scratch:
                code = Path(scratch) / "code"
                if self.source_dir is not None:
                    shutil.copytree(self.base / self.source_dir, code, ignore=shutil.ignore_patterns(".git"))
                else:
                    code.mkdir()
                    shutil.copy(self.base / self.program, code)
                shutil.copy(self.requirements, code / "requirements.txt")
                program = self.program if self.source_dir is not None else Path(self.program).name
                yield SourceArchive(program, code)
        except (InvalidParameterError, OSError) as error:
            raise RehearsalError(str(error)) from error

    @property
    def metric_definitions(self) -> dict[str, str]:
        """Return the request's own metrics, by name."""
        given = self.request.get("AlgorithmSpecification", {}).get("MetricDefinitions", ())
        return {each["Name"]: each["Regex"] for each in given}


def from_script(
    script: str | Path,
    *,
    source_dir: str | Path | None = None,
    requirements: str | Path | None = None,
    channels: Mapping[str, str | Path] | None = None,
    hyperparameters: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    image: str = DEFAULT_IMAGE,
) -> Subject:
    """Return a script, alone or in its folder, as SageMaker's script mode runs it."""
    folders = {name: Path(folder).absolute() for name, folder in (channels or {}).items()}
    base = Path.cwd()
    program, folder = str(script), None if source_dir is None else Path(source_dir)
    in_folder = folder is not None and not Path(program).is_absolute() and (base / folder / program).is_file()
    if folder is not None and not in_folder and Path(program).is_file():
        # Named as one sees it from here, and not from its folder.
        try:
            program = Path(program).resolve().relative_to((base / folder).resolve()).as_posix()
        except ValueError:
            raise RehearsalError(f"{script} is not in --source-dir {source_dir}") from None
    return Subject(
        name=Path(program).name,
        request={
            "AlgorithmSpecification": {"TrainingImage": image, "TrainingInputMode": "File"},
            "HyperParameters": encoded(hyperparameters or {}),
            "Environment": dict(environment or {}),
            "InputDataConfig": [_channel(name) for name in folders],
        },
        program=program,
        source_dir=folder,
        base=base,
        requirements=None if requirements is None else Path(requirements).absolute(),
        channels=folders,
    )


def from_request(
    request: Mapping[str, Any],
    name: str,
    *,
    source_dir: str | Path | None = None,
    requirements: str | Path | None = None,
    channels: Mapping[str, str | Path] | None = None,
    hyperparameters: Mapping[str, Any] | None = None,
    program: str | None = None,
    base: Path | None = None,
) -> Subject:
    """
    Return a CreateTrainingJob request, as far as it matters to its script.

    :param source_dir: where the code is that its ``sagemaker_submit_directory`` names in S3.
    :param hyperparameters: these go before the request's own.
    :param program: the script, where the request does not name it itself.
    :raises RehearsalError: its code is not known.
    """
    given = dict(request.get("HyperParameters") or {})
    algorithm = dict(request.get("AlgorithmSpecification") or {})
    entrypoint = "ContainerEntrypoint" in algorithm
    named = None if entrypoint else program or _decoded(given.get(_PROGRAM))
    for known in (_PROGRAM, _SUBMIT):
        given.pop(known, None)
    if named is not None and source_dir is None and program is None:
        raise RehearsalError(f"its script {named} is in S3: give --source-dir DIR, where its code is on this machine")
    notes = []
    count = (request.get("ResourceConfig") or {}).get("InstanceCount", 1)
    if str(count) != "1":
        notes.append(f"one instance stands for {count}")
    folders = {name: Path(folder).absolute() for name, folder in (channels or {}).items()}
    inputs = [dict(each) for each in request.get("InputDataConfig") or ()]
    known_names = {each["ChannelName"] for each in inputs}
    inputs += [_channel(name) for name in folders if name not in known_names]
    kept = {key: request[key] for key in ("Environment", "CheckpointConfig") if request.get(key)}
    return Subject(
        name=named or name,
        request={
            **kept,
            "AlgorithmSpecification": algorithm,
            "HyperParameters": {**given, **encoded(hyperparameters or {})},
            "InputDataConfig": inputs,
        },
        program=named,
        source_dir=None if source_dir is None else Path(source_dir),
        base=base or Path.cwd(),
        requirements=None if requirements is None else Path(requirements).absolute(),
        channels=folders,
        notes=tuple(notes),
    )


def encoded(values: Mapping[str, Any]) -> dict[str, str]:
    """Return hyperparameters as the texts that CreateTrainingJob takes."""
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}


def _decoded(text: Any) -> str | None:
    if text is None:
        return None
    try:
        value = json.loads(text)
    except ValueError:
        return str(text)
    return str(value)


def _channel(name: str) -> dict[str, Any]:
    return {"ChannelName": name, "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://-"}}}
