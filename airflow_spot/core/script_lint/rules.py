"""What the lint looks for: a table of rules, and what it returns."""

from __future__ import annotations

from dataclasses import dataclass

#: Unless CheckpointConfig says otherwise.
CHECKPOINTS = "/opt/ml/checkpoints"


@dataclass(frozen=True)
class Rule:
    """
    A fault that a script may have.

    :param what: what happens because of it.
    :param fix: what to do.
    """

    what: str
    fix: str


RULES = {
    "no-checkpoint-path": Rule(
        "it trains, and names no folder that SageMaker keeps: an interruption starts it from nothing",
        "write to checkpoint_local_path, /opt/ml/checkpoints unless you set it; for a script that keeps its own, "
        "use_checkpoints=False",
    ),
    "never-loads": Rule(
        "it writes checkpoints and never reads one: an interruption starts it from nothing",
        "load the newest checkpoint before the loop, and resume after its step",
    ),
    "never-saves": Rule(
        "nothing is written to the checkpoint folder while it trains: an interruption starts it from nothing",
        "save every so many steps inside the loop",
    ),
    "writes-in-place": Rule(
        "a checkpoint is written straight to its final name: an interruption in the middle leaves a torn newest file, "
        "and every later start fails on it",
        "write to a name of its own in the same folder, then os.replace() it to the final name",
    ),
    "newest-by-listing": Rule(
        "the newest checkpoint is chosen by the order of names or of a listing: 9 comes after 10, and a listing has "
        "no order at all",
        "compare the step as a number (key=), or pad it with zeros in the name",
    ),
    "newest-by-time": Rule(
        "the newest checkpoint is chosen by the file's time: after an interruption that is when it was downloaded",
        "write the step into the name, and compare it as a number",
    ),
    "one-digit": Rule(
        "one digit of the step is read: from 10 on the training goes back to its last digit",
        r"read all digits, such as re.search(r'(\d+)', name)",
    ),
    "unfiltered-listing": Rule(
        "every file counts as a checkpoint: SageMaker puts <file>.sagemaker-uploading and .sagemaker-uploaded beside "
        "each of them",
        "list by the ending of your files, such as glob('*.pt')",
    ),
    "load-unused": Rule(
        "what was loaded is not used: the training begins with new weights, at the step of the old ones",
        "train what was loaded",
    ),
    "whole-objects": Rule(
        "torch.load without weights_only refuses whole objects since PyTorch 2.6, and this script saves such: it fails "
        "at its first resume",
        "save state_dict()s, numbers and tensors only; or torch.load(..., weights_only=False) for files of your own",
    ),
}


@dataclass(frozen=True)
class Finding:
    """
    A fault at a place.

    :param rule: its name in :data:`RULES`.
    :param path: the file, as it was given.
    :param line: where, from 1.
    :param detail: what of the script it is about; may be empty.
    """

    rule: str
    path: str
    line: int
    detail: str = ""

    @property
    def message(self) -> str:
        """What happens because of it."""
        what = RULES[self.rule].what
        return f"{what} ({self.detail})" if self.detail else what

    @property
    def fix(self) -> str:
        """What to do."""
        return RULES[self.rule].fix

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.rule}: {self.message}"


@dataclass(frozen=True)
class Unreadable:
    """A file that could not be read, and why."""

    path: str
    why: str


@dataclass(frozen=True)
class Report:
    """
    What was found in a script and the modules beside it that it imports.

    :param findings: in the order of files and lines.
    :param unreadable: files that were not looked at.
    :param files: those that were.
    """

    findings: tuple[Finding, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()
    files: tuple[str, ...] = ()
