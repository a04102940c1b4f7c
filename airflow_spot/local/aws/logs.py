"""CloudWatch Logs: where a job's output goes."""

from __future__ import annotations

import logging
import threading
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from airflow_spot.local.aws.moto import Aws
from airflow_spot.local.clock import Clock

log = logging.getLogger(__name__)

FLUSH_SECONDS = 0.3
BATCH_EVENTS = 5_000
BATCH_BYTES = 900_000


class LogStream:
    """One stream. ``write`` is cheap and may be called on any thread; the lines arrive within a second, in order."""

    def __init__(self, client: Any, clock: Clock, group: str, stream: str) -> None:
        self._client = client
        self._clock = clock
        self._where = {"logGroupName": group, "logStreamName": stream}
        self._lines: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        self._sending = threading.Lock()

    def write(self, line: str) -> None:
        """Add a line. An empty one becomes a blank, since CloudWatch takes no empty message."""
        event = {"timestamp": int(self._clock.now() * 1000), "message": line or " "}
        with self._lock:
            self._lines.append(event)

    def flush(self) -> None:
        """Send what there is."""
        with self._sending:
            with self._lock:
                lines, self._lines = self._lines, []
            while lines:
                size, count = 0, 0
                while count < min(len(lines), BATCH_EVENTS) and size < BATCH_BYTES:
                    size += len(lines[count]["message"]) * 2 + 26
                    count += 1
                batch, lines = lines[:count], lines[count:]
                try:
                    self._client.put_log_events(**self._where, logEvents=batch)
                except (ClientError, BotoCoreError) as error:
                    log.warning("%d lines of %s were lost: %s", count, self._where["logStreamName"], error)


class Logs:
    """Makes log streams and sends their lines, from one thread for all."""

    def __init__(self, aws: Aws, clock: Clock) -> None:
        self._aws = aws
        self._clock = clock
        self._open: set[LogStream] = set()
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="logs", daemon=True)
        self._thread.start()

    def open(self, region: str, group: str, stream: str) -> LogStream:
        """Make a stream, and its group if need be.

        :param group: e.g. ``/aws/sagemaker/TrainingJobs``.
        """
        client = self._aws.client("logs", region)
        for create, names in (
            (client.create_log_group, {"logGroupName": group}),
            (client.create_log_stream, {"logGroupName": group, "logStreamName": stream}),
        ):
            try:
                create(**names)
            except client.exceptions.ResourceAlreadyExistsException:
                continue
        made = LogStream(client, self._clock, group, stream)
        with self._lock:
            self._open.add(made)
        return made

    def close_stream(self, stream: LogStream) -> None:
        """Send the rest of a stream's lines."""
        with self._lock:
            self._open.discard(stream)
        stream.flush()

    def close(self) -> None:
        """Stop sending. Called once."""
        self._closing.set()
        self._thread.join(5)

    def _run(self) -> None:
        while not self._closing.wait(FLUSH_SECONDS):
            with self._lock:
                streams = list(self._open)
            for stream in streams:
                stream.flush()
