"""Managed spot or on-demand: what the operator's parameter and ``EnableManagedSpotTraining`` say together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from airflow_spot.core.templates import gives_nothing, is_template

_WORDS = {"true": True, "false": False}


def spot_of(config: Mapping[str, Any], parameter: Any) -> Any:
    """
    Return whether a training is on managed spot: the parameter's word, else the config's, else True.

    :param config: the operator's.
    :param parameter: its ``use_spot_instances``; None where that is not given.
    :return: true or false; a template as it is, and so what can be neither, which the check of types refuses.
    """
    said = config.get("EnableManagedSpotTraining") if parameter is None else parameter
    if gives_nothing(said):
        return True
    return _WORDS.get(said.strip().lower(), said) if isinstance(said, str) and not is_template(said) else said


def explain(config: Mapping[str, Any], parameter: Any, max_wait: Any, ladder: Any) -> Iterator[str]:
    """
    Yield what the log of a try says of the two, and of what does not apply.

    :param config: rendered, as are the others.
    :param max_wait: the operator's; None where it is not given.
    :param ladder: the operator's; with one each rung says for itself.
    """
    spot, theirs = spot_of(config, parameter), config.get("EnableManagedSpotTraining")
    if not gives_nothing(theirs) and (read := spot_of(config, None)) != spot:
        yield f"use_spot_instances={spot} overrides EnableManagedSpotTraining={read} of the config"
    if spot is not False:
        return
    if parameter is None and ladder is not None:
        yield "EnableManagedSpotTraining=False in the config: rungs of the ladder that do not say are on-demand"
    if ladder is not None:
        return
    if parameter is None:
        yield "EnableManagedSpotTraining=False in the config: trains on-demand. use_spot_instances=True is for spot"
    stopping = config.get("StoppingCondition")
    in_config = stopping.get("MaxWaitTimeInSeconds") if isinstance(stopping, Mapping) else None
    for name, value in (("max_wait", max_wait), ("MaxWaitTimeInSeconds", in_config)):
        if not gives_nothing(value):
            yield f"{name} is left out: it is for spot only, and this training is on-demand"
            return
