"""What was seen of a script that was run on Local SageMaker. Values; no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from airflow_spot.rehearsal.log_lines import Line


class Scenario(str, Enum):
    """How a script is run."""

    UNINTERRUPTED = "uninterrupted"
    KILLED = "killed without a warning"
    TORN = "killed in the middle of a checkpoint's write"
    TERMINATED = "interrupted with SIGTERM"
    AT_ONCE = "interrupted again straight after a start"
    NEW_JOB = "continued in a new job"
    AGAIN = "uninterrupted, a second time"


INTERRUPTED = (Scenario.KILLED, Scenario.TORN, Scenario.TERMINATED, Scenario.AT_ONCE, Scenario.NEW_JOB)


@dataclass(frozen=True)
class Stored:
    """
    A file of the checkpoint folder, as S3 has it.

    :param written: when the script had written to it last, seconds since the epoch; None if that is not known.
    """

    key: str
    size: int
    written: float | None = None


@dataclass(frozen=True)
class Written:
    """
    A write of a file of the checkpoint folder.

    :param ended: when it was whole, under its name; None if never.
    :param pieces: how many system calls wrote it; 0 where nobody told.
    :param aside: it was written under another name, and renamed.
    """

    key: str
    began: float
    ended: float | None
    size: int
    pieces: int = 1
    aside: bool = False


@dataclass(frozen=True)
class Start:
    """
    A start of the script.

    :param code: its exit code, 128 + the signal's number where one ended it; None if that is not known.
    :param restored: the checkpoints that were there before it began.
    :param signalled: when the signal that ended it was sent; None where none did, or that is not known.
    """

    began: float
    ended: float
    code: int | None
    lines: tuple[Line, ...] = ()
    restored: tuple[Stored, ...] = ()
    signalled: float | None = None


@dataclass(frozen=True)
class Trial:
    """
    One run of the script in one scenario, with all its starts.

    :param status: of its last job: Completed, Failed, Stopped.
    :param secondary: likewise.
    :param cuts: how many interruptions there were.
    :param torn: the file in whose write the script was killed, and how much of it there was.
    :param missed: why the scenario, or a part of it, did not come about; None if it did.
    :param writes: of the script, oldest first.
    :param deleted: names of the files that the script deleted.
    :param left: the checkpoints at its end.
    :param model: of each file of the model: a digest and its size; None if there is no model.
    :param answers: what the command that compares said of the model; None if it was not asked, or failed.
    :param complaint: why the command did not say anything.
    :param reason: why SageMaker never came to start the script; None if it did.
    :param markers: whether SageMaker's files were beside the checkpoints.
    """

    scenario: Scenario
    status: str
    secondary: str
    starts: tuple[Start, ...]
    cuts: int = 0
    torn: Stored | None = None
    missed: str | None = None
    writes: tuple[Written, ...] = ()
    deleted: tuple[str, ...] = ()
    left: tuple[Stored, ...] = ()
    model: Mapping[str, tuple[str, int]] | None = None
    answers: str | None = None
    complaint: str | None = None
    reason: str | None = None
    markers: bool = True

    @property
    def completed(self) -> bool:
        return self.status == "Completed"

    @property
    def seconds(self) -> float:
        """How long the script ran, all starts together."""
        return sum(start.ended - start.began for start in self.starts)

    @property
    def left_bytes(self) -> int:
        return sum(each.size for each in self.left)


@dataclass(frozen=True)
class Reading:
    """
    How a log is read.

    :param counter: what tells the progress, see :func:`~airflow_spot.rehearsal.log_lines.choose_counter`.
    :param step: instead, a regular expression.
    :param metrics: names and regular expressions; without any, what has the usual names is read.
    """

    counter: str | None = None
    step: str | None = None
    metrics: Mapping[str, str] = field(default_factory=dict)

    @property
    def tells(self) -> bool:
        """Whether the progress can be read."""
        return self.counter is not None or self.step is not None
