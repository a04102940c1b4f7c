"""A TCP port for a process that is about to listen on it."""

from __future__ import annotations

import contextlib
import random
import socket

#: Below the ports that Linux (from 32768) and macOS (from 49152) give to outgoing connections: one of these may take a
#: port of theirs before the process listens on it.
_FIRST, _LAST = 10240, 32767


def free_port() -> int:
    """
    Return a port on 127.0.0.1 that nobody listens on; drawn, so that two who ask at once hardly get the same.

    :raises OSError: none was found.
    """
    for port in random.SystemRandom().sample(range(_FIRST, _LAST + 1), 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError(f"Of 100 ports between {_FIRST} and {_LAST} on 127.0.0.1 none was free")
