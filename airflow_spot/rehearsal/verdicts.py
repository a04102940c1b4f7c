"""What can be said of a script, and what mends it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Kind(str, Enum):
    """What is wrong with a script, the worst first; then what is right."""

    FAILS_UNINTERRUPTED = "fails-uninterrupted"
    MARKER_FILES = "marker-files"
    FAILS_AT_RESUME = "fails-at-resume"
    TORN_FILE = "torn-file"
    STARTS_FROM_NOTHING = "starts-from-nothing"
    NO_CHECKPOINT = "no-checkpoint"
    RESULT_DIFFERS = "result-differs"
    LOADS_LESS = "loads-less"
    DOES_NOT_END = "does-not-end"
    REPEATS = "repeats"
    KEEPS_EVERYTHING = "keeps-everything"
    NOT_BIT_EQUAL = "not-bit-equal"
    RESUMES = "resumes"

    @property
    def is_fault(self) -> bool:
        """Whether a script with it is not sound."""
        return self not in (Kind.NOT_BIT_EQUAL, Kind.RESUMES)


#: What mends each.
FIXES = {
    Kind.FAILS_UNINTERRUPTED: "Make it run to its end uninterrupted: without that there is nothing to compare.",
    Kind.MARKER_FILES: (
        "SageMaker puts <file>.sagemaker-uploading and <file>.sagemaker-uploaded beside each checkpoint. Know your "
        "files by their whole names: a pattern such as ckpt-*.pt, and not everything in the folder."
    ),
    Kind.FAILS_AT_RESUME: (
        "Load a checkpoint once in a test, as the script does at its start. With torch.load: save state_dict()s and "
        "numbers, not whole objects, which it refuses from 2.6 on."
    ),
    Kind.TORN_FILE: (
        "Write to another name in the same folder and rename it (os.replace) when it is whole; at the start take the "
        "newest that can be read, not just the newest."
    ),
    Kind.STARTS_FROM_NOTHING: (
        "Look into /opt/ml/checkpoints at the start, load the newest checkpoint, and begin the loop behind its step."
    ),
    Kind.NO_CHECKPOINT: "Save in the loop, to /opt/ml/checkpoints, as often as you would mind to repeat.",
    Kind.RESULT_DIFFERS: (
        "Put back all that was saved, and save all that the training goes by: weights, optimizer, schedule, epoch, "
        "random states. What is loaded has to be what is trained, and not a variable beside it."
    ),
    Kind.LOADS_LESS: (
        "What is loaded has to be what is trained: the weights, then the optimizer's state and the schedule."
    ),
    Kind.DOES_NOT_END: "Look for a wait that a resume never ends, or raise --max-run.",
    Kind.REPEATS: (
        r"Choose the newest checkpoint by its whole number, int(re.search(r'\d+', name)[0]), and not by one digit, by "
        "the order of texts, or by time."
    ),
    Kind.KEEPS_EVERYTHING: (
        "Delete all but the newest two: what the script deletes, SageMaker deletes in S3. Most trainers can: "
        "save_total_limit=2, save_top_k."
    ),
    Kind.NOT_BIT_EQUAL: "",
    Kind.RESUMES: "",
}


@dataclass(frozen=True)
class Verdict:
    """
    One thing that can be said of a script.

    :param says: in words, such as "starts from nothing".
    :param evidence: what was seen, a sentence or a line of the log each.
    """

    kind: Kind
    says: str
    evidence: tuple[str, ...] = ()

    @property
    def fault(self) -> bool:
        """Whether a script of which this is said is not sound."""
        return self.kind.is_fault

    @property
    def fix(self) -> str:
        """What mends it."""
        return FIXES[self.kind]


def worst_first(verdicts: list[Verdict]) -> list[Verdict]:
    """Return verdicts in the order of their weight."""
    order = list(Kind)
    return sorted(verdicts, key=lambda verdict: order.index(verdict.kind))
