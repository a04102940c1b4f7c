"""What a request's input channels say beyond where the data is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def writable_channel(request: Mapping[str, Any]) -> str:
    """
    Return in words which channel a job may write to, and so keep its checkpoints in; empty where there is none.

    Only file systems (FSx for Lustre, EFS) can be mounted so, with ``FileSystemAccessMode: rw``.
    """
    channels = request.get("InputDataConfig")
    for channel in channels if isinstance(channels, (list, tuple)) else ():
        source = channel.get("DataSource") if isinstance(channel, Mapping) else None
        system = source.get("FileSystemDataSource") if isinstance(source, Mapping) else None
        if isinstance(system, Mapping) and system.get("FileSystemAccessMode") == "rw":
            name, kind = channel.get("ChannelName"), system.get("FileSystemType") or "file system"
            return f"the script may write to channel {name} ({kind}), and keep them there"
    return ""
