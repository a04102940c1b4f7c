"""The audit log: what happened, in order. Tests judge by it."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

from airflow_spot.local.clock import Clock


class Audit:
    """An append-only file of JSON lines.

    Guarantee: a line is whole or absent, and lines are in the order of their ``time``, also over a SIGKILL and a
    restart in the same directory, because each is one write to a descriptor opened for appending.

    Every line has ``time`` (service time, seconds since the epoch) and ``event``:

    - ``call``: ``operation``, ``region``, ``resource`` (name or ARN), ``error`` (code or null), ``fault`` (the kind
      of fault that was applied, or null). InvokeEndpoint is one of them, and what is asked for prices, capacity,
      quotas and permissions, with its service: ``pricing:GetProducts``, ``iam:GetRole``. Never a value of a
      hyperparameter or of the environment, and no body.
    - ``fault``: ``operation``, ``kind``, ``key``: a call that was cut before it was carried out; or ``job``, ``kind``:
      a fault that ends a job.
    - ``state``: ``job``, ``kind``, ``status``, ``secondary``, ``message``.
    - ``capacity``: ``job``, ``action`` (``granted``, ``reclaimed``, ``none``), ``instance_type``, ``spot``,
      ``start`` (how often the job has been given instances, from 1).
    - ``process``: ``job``, ``kind``, ``action`` (``started``, ``exited``), ``host``, ``start``, ``pid``, and for
      ``exited`` the ``code`` (128 + the signal's number for one that a signal ended); for ``started``, where there is
      a process, ``asked``: the time just before it was made, so that nothing it did is earlier.
    - ``checkpoint``: ``job``, ``action`` (``restore``, ``upload``, ``delete``), ``start``, ``uri``, ``key``
      (relative to the prefix), ``size`` (bytes), ``etag``, ``mtime`` (of the file, seconds).
    - ``progress``, of the simulated engine: ``job``, ``action`` (``resumed`` from a checkpoint, ``saved`` in one),
      ``start``, ``uri``, ``seconds`` (of training that the checkpoint holds).
    - ``tuning``: ``job``, ``action`` (``launched``, ``waits`` for a quota, ``stopped-early``), ``training_job``.
    - ``ignored``: ``job`` (or the model or endpoint configuration), ``members`` of the request that have no effect
      here.
    - ``page``: ``action`` (``interrupt``, ``stop``, ``capacity-off``, ``capacity-on``), ``job`` (or null): a button of
      the web page.
    - ``service``: ``action`` (``started``, ``stopped``), ``pid``.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self.path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._fd = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY | os.O_CLOEXEC, 0o600)

    def write(self, event: str, **fields: Any) -> None:
        """Append one line.

        :param event: one of those above.
        :param fields: JSON values.
        """
        with self._lock:
            line = json.dumps({"time": round(self._clock.now(), 6), "event": event, **fields}, default=str)
            os.write(self._fd, line.encode() + b"\n")

    def close(self) -> None:
        """Close the file. Later writes raise OSError."""
        os.close(self._fd)


def read_audit(path: Path) -> list[dict[str, Any]]:
    """Return all whole lines of an audit file, oldest first; an empty list if it does not exist yet."""
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
