"""Trials by value: a script that trains an epoch a second, from time 0 on, and saves after each."""

from __future__ import annotations

from typing import Any

from airflow_spot.rehearsal.log_lines import Line
from airflow_spot.rehearsal.observations import Reading, Scenario, Start, Stored, Trial, Written

EPOCHS = 20
SIZE = 1000
READING = Reading("epoch")
MODEL = {"model.bin": ("digest", 10)}
OTHER_MODEL = {"model.bin": ("another", 10)}


def metric(epoch: int) -> float:
    """The accuracy of an epoch, uninterrupted: 5 % to 100 %."""
    return epoch / EPOCHS


def lines(first: int, last: int, at: float = 0.0, told: Any = metric) -> tuple[Line, ...]:
    """The log of some epochs, the first of which ends at a time."""
    return tuple(
        Line(at + i, f"epoch {epoch} accuracy={told(epoch):.4f}") for i, epoch in enumerate(range(first, last + 1))
    )


def name(epoch: int) -> str:
    return f"epoch-{epoch:04}.pt"


def writes(first: int, last: int, at: float = 0.0) -> tuple[Written, ...]:
    """A checkpoint a tenth of a second after each epoch."""
    return tuple(
        Written(name(epoch), at + i + 0.05, at + i + 0.1, SIZE) for i, epoch in enumerate(range(first, last + 1))
    )


def kept(*epochs: int, at: float = 0.0) -> tuple[Stored, ...]:
    """These checkpoints in S3, the first epoch of which had ended at a time."""
    return tuple(Stored(name(epoch), SIZE, at + epoch - 1 + 0.1) for epoch in epochs)


def baseline(**changes: Any) -> Trial:
    """Uninterrupted and sound."""
    values: dict[str, Any] = {
        "scenario": Scenario.UNINTERRUPTED,
        "status": "Completed",
        "secondary": "Completed",
        "starts": (Start(0.0, 20.0, 0, lines(1, EPOCHS)),),
        "writes": writes(1, EPOCHS),
        "left": kept(19, 20),
        "model": MODEL,
    }
    return Trial(**{**values, **changes})


def interrupted(
    at: int = 15,
    resumes_at: int = 16,
    scenario: Scenario = Scenario.KILLED,
    restored: tuple[Stored, ...] | None = None,
    told: Any = metric,
    **changes: Any,
) -> Trial:
    """A script that was interrupted after an epoch, and continued with another."""
    again = 30.0
    second = Start(
        again, again + 20, 0, lines(resumes_at, EPOCHS, again, told), kept(at - 1, at) if restored is None else restored
    )
    values: dict[str, Any] = {
        "scenario": scenario,
        "status": "Completed",
        "secondary": "Completed",
        "starts": (Start(0.0, at + 0.5, 137, lines(1, at)), second),
        "cuts": 1,
        "writes": (*writes(1, at), *writes(resumes_at, EPOCHS, again)),
        "left": kept(19, 20),
        "model": MODEL,
    }
    return Trial(**{**values, **changes})


def failed(code: int = 1, said: str = "ValueError: no", **changes: Any) -> Trial:
    """One whose second start fails."""
    trial = interrupted(**changes)
    first, second = trial.starts
    log = (Line(30.0, "Traceback (most recent call last):"), Line(30.0, said))
    last = Start(second.began, second.began + 1, code, log, second.restored)
    ended = {**vars(trial), "status": "Failed", "secondary": "Failed", "starts": (first, last), "model": None}
    return Trial(**ended)
