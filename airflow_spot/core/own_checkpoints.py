"""``use_checkpoints=False``: a script that keeps its own checkpoints, and a request without CheckpointConfig."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_spot.core.parameter_errors import InvalidParameterError
from airflow_spot.core.progress import MAX_STARTS
from airflow_spot.core.templates import is_template

#: What says where and how SageMaker keeps checkpoints, what becomes of them, or what is concluded from them; each with
#: its default, which says nothing.
_NEEDS_CHECKPOINTS = {
    "checkpoint_s3_uri": None,
    "checkpoint_local_path": None,
    "checkpoint_scope": "run",
    "resume_from": None,
    "checkpoint_retention": None,
    "checkpoint_warning_after": None,
    "max_starts_without_progress": MAX_STARTS,
}
_FIX = "has no effect with use_checkpoints=False, which has SageMaker keep no checkpoints: remove one of the two"


def check_own_checkpoints(read: Any, given: Any) -> None:
    """
    Check that nothing is said of checkpoints that SageMaker is not to keep. What is still a template is passed over.

    :param read: has the operator's parameters as attributes, each as its type, of which ``use_checkpoints`` is False.
    :param given: has them as they were given, to be shown.
    :raises InvalidParameterError: something is, as a parameter or as the config's ``CheckpointConfig``.
    """
    for name, default in _NEEDS_CHECKPOINTS.items():
        value = getattr(read, name)
        if value not in (None, default) and not is_template(value):
            raise InvalidParameterError(name, getattr(given, name), _FIX)
    config = read.config
    in_config = config.get("CheckpointConfig") if isinstance(config, Mapping) else None
    if in_config and not is_template(in_config):
        raise InvalidParameterError("CheckpointConfig", in_config, _FIX)
