"""Service models, read once per process: by itself, botocore parses megabytes of JSON for each session."""

from __future__ import annotations

from functools import cache
from typing import Any

from botocore.loaders import create_loader


def share_models(session: Any) -> None:
    """
    Have a session take from other sessions' reading what it would read from botocore's files again.

    :param session: boto3's.
    """
    inner = getattr(session, "_session", None)  # boto3 does not give botocore's away; without it, nothing is shared
    if inner is not None:
        inner.register_component("data_loader", _loader(inner.get_config_variable("data_path")))


@cache
def _loader(data_path: str | None) -> Any:
    return create_loader(data_path)
