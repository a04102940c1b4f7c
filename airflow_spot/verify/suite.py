"""All experiments, in the order in which their setups begin: what costs nothing first."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_spot.verify.experiment import Experiment
from airflow_spot.verify.setups import checkpoints, identity, refusals, spot, stopping, training

EXPERIMENTS: tuple[Experiment, ...] = (
    *identity.EXPERIMENTS,
    *refusals.EXPERIMENTS,
    *stopping.EXPERIMENTS,
    *spot.EXPERIMENTS,
    *checkpoints.EXPERIMENTS,
    *training.EXPERIMENTS,
)


def chosen(ids: Sequence[str]) -> list[Experiment]:
    """
    Return the experiments of these ids, or all if there are none.

    :raises ValueError: an id is unknown.
    """
    known = {each.id: each for each in EXPERIMENTS}
    unknown = [each for each in ids if each not in known]
    if unknown:
        raise ValueError(f"no experiment {', '.join(unknown)}; there are {', '.join(known)}")
    return [each for each in EXPERIMENTS if not ids or each.id in ids]
