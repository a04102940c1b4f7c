"""What is known where SageMaker ends in internal errors again and again: large checkpoints are one reason."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_spot.core.sizes import human_bytes

#: Since recordings of it, and without a limit that AWS names: 369 GB could not be restored, 92 GB could; saves of
#: several GB at once ended every job. Source: FACTS from public reports, cases D16 and D17 in tests/recorded.
KNOWN = (
    "Known causes: restoring some hundred GB of checkpoints before a start, or saving many GB at once. "
    "docs/checkpoints.md says how to keep them small"
)


@dataclass(frozen=True)
class SeenFolder:
    """
    How large a checkpoint folder is, as far as one look shows it.

    :param uri: an S3 URI; empty where SageMaker keeps no checkpoints.
    :param objects: how many objects are in it; None where that could not be seen.
    :param bytes: what they come to.
    :param more: there are more than were counted.
    :param problem: why it could not be seen.
    """

    uri: str
    objects: int | None = None
    bytes: int = 0
    more: bool = False
    problem: str = ""

    def __str__(self) -> str:
        if not self.uri:
            return "SageMaker keeps no checkpoints of it"
        if self.objects is None:
            return f"the size of its checkpoint folder {self.uri} is unknown ({self.problem})"
        if not self.objects:
            return f"its checkpoint folder {self.uri} is empty"
        more = "more than " if self.more else ""
        files = f"{more}{self.objects:,} file{'' if self.objects == 1 else 's'}"
        return f"its checkpoint folder {self.uri} has {files}, {more}{human_bytes(self.bytes)}"


def explain(folder: SeenFolder) -> str:
    """Return in a sentence or two how large the folder is, and what that may have to do with the errors."""
    text = str(folder)
    return f"{text[0].upper()}{text[1:]}" + (f". {KNOWN}" if folder.uri else "")
