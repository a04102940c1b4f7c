"""The objects of a transform job, each sent through the model's process, record by record or as a whole."""

from __future__ import annotations

import http.client
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_spot.local.aws.logs import LogStream
from airflow_spot.local.aws.s3 import S3_ERRORS, download
from airflow_spot.local.container.channels import gunzip
from airflow_spot.local.errors import JobError, JobStopped
from airflow_spot.local.serving.model_server import ModelServer
from airflow_spot.local.transform.records import BadRecord, Batch, Filters, batches, pieces, split

SEE_LOGS = "See job logs for more information"
NO_ANSWER = "Unable to get response from algorithm"
DEFAULT_PAYLOAD_MB, DEFAULT_TIMEOUT, DEFAULT_RETRIES = 6, 600, 3
RETRIED = (429, 503)  # what is tried again [A]; with any other status the model has answered
LOGGED_CHARACTERS = 2000


class ObjectFailed(Exception):
    """An object has no results.

    :param kind: ``ClientError`` or ``AlgorithmError``, as the job's FailureReason begins.
    :param lines: for the log, the first of which is what happened.
    """

    def __init__(self, kind: str, *lines: str) -> None:
        super().__init__(lines[0])
        self.kind = kind
        self.lines = lines


@dataclass(frozen=True)
class Item:
    """One object of the input.

    :param output: the key of its results below S3OutputPath.
    """

    bucket: str
    key: str
    output: str

    def __str__(self) -> str:
        return f"{self.bucket}/{self.key}"


@dataclass(frozen=True)
class Limits:
    """What a job may send at a time: its request's members, else what the model asks for, else AWS's defaults [D].

    :param requests: at once.
    :param payload_mb: of one; 0 for any.
    :param several: as many records as fit into a request, rather than one.
    """

    requests: int
    payload_mb: int
    several: bool

    @classmethod
    def of(cls, request: dict[str, Any], asked: dict[str, Any]) -> Limits:
        """Return those of a request.

        :param asked: the model's answer to GET /execution-parameters.
        :raises JobError: AlgorithmError, if that has no numbers where they belong.
        """
        given = {"SingleRecord": "SINGLE_RECORD", "MultiRecord": "MULTI_RECORD"}.get(request.get("BatchStrategy", ""))
        try:
            return cls(
                max(1, int(request.get("MaxConcurrentTransforms") or asked.get("MaxConcurrentTransforms") or 1)),
                int(request.get("MaxPayloadInMB", asked.get("MaxPayloadInMB", DEFAULT_PAYLOAD_MB))),
                (given or asked.get("BatchStrategy")) != "SINGLE_RECORD",
            )
        except (TypeError, ValueError) as error:
            raise JobError(f"AlgorithmError: the model's /execution-parameters cannot be read: {error}") from error

    def __str__(self) -> str:
        strategy = "MULTI_RECORD" if self.several else "SINGLE_RECORD"
        return f"MaxConcurrentTransforms={self.requests}, MaxPayloadInMB={self.payload_mb}, BatchStrategy={strategy}"


class Transform:
    """Sends objects through a model.

    :param request: the body of CreateTransformJob.
    :param server: the model's process, which answers.
    :param notes: gets what happened to each object that failed [T for the words].
    :param folder: for what is on its way.
    :param stopping: set when it is to end.
    """

    def __init__(
        self,
        request: dict[str, Any],
        server: ModelServer,
        limits: Limits,
        notes: LogStream,
        folder: Path,
        stopping: threading.Event,
    ) -> None:
        self._server = server
        self._limits = limits
        self._notes = notes
        self._folder = folder
        self._stopping = stopping
        self._filters = Filters.of(request)
        self._gzip = request["TransformInput"].get("CompressionType") == "Gzip"
        self._lines = request["TransformInput"].get("SplitType") == "Line"
        self._assemble = request["TransformOutput"].get("AssembleWith") == "Line"
        client = request.get("ModelClientConfig", {})
        self._timeout = float(client.get("InvocationsTimeoutInSeconds", DEFAULT_TIMEOUT))
        self._retries = int(client.get("InvocationsMaxRetries", DEFAULT_RETRIES))
        headers = {
            "Content-Type": request["TransformInput"].get("ContentType"),
            "Accept": request["TransformOutput"].get("Accept"),
        }
        self._headers = {name: value for name, value in headers.items() if value}

    def all(self, s3: Any, items: list[Item]) -> tuple[list[tuple[Item, Path]], JobError | None]:
        """Send all objects, as many requests at once as the limits allow.

        :returns: the files of those that succeeded, and why the job fails if others did not.
        :raises JobStopped: if it is to end.
        """
        self._folder.mkdir(parents=True)
        files: list[tuple[Item, Path]] = []
        failed: list[tuple[Item, ObjectFailed]] = []
        with ThreadPoolExecutor(self._limits.requests) as asking, ThreadPoolExecutor(self._limits.requests) as reading:
            waiting = [(item, reading.submit(self._one, s3, item, n, asking)) for n, item in enumerate(items)]
            for item, future in waiting:
                try:
                    files.append((item, future.result()))
                except ObjectFailed as error:
                    failed.append((item, error))
        if self._stopping.is_set():
            raise JobStopped
        for item, failure in failed:
            for line in failure.lines:
                self._notes.write(f"{item}: {line}")
        if not failed:
            return files, None
        item, first = failed[0]
        detail = f"{len(failed)} of {len(items)} objects failed, the first with: {item}: {first}"
        return files, JobError(f"{first.kind}: {SEE_LOGS} ({detail})")

    def _one(self, s3: Any, item: Item, number: int, asking: ThreadPoolExecutor) -> Path:
        """Send one object; return the file of its results."""
        source, target = self._folder / f"{number}.in", self._folder / f"{number}.out"
        try:
            if self._stopping.is_set():
                raise ObjectFailed("ClientError", "the job is stopped")
            download(s3, item.bucket, item.key, source)
            if self._gzip:
                gunzip(source)
            with source.open("rb") as file, target.open("wb") as out:
                requests = batches(
                    split(file, lines=self._lines),
                    self._filters,
                    lines=self._lines,
                    several=self._limits.several,
                    limit_mb=self._limits.payload_mb,
                )
                for batch, answer in self._answers(requests, asking):
                    for piece in pieces(batch, answer, self._filters):
                        out.write(_ended(piece) if self._assemble else piece)
        except (BadRecord, JobError) as error:
            raise ObjectFailed("ClientError", str(error)) from error
        except S3_ERRORS as error:
            raise ObjectFailed("ClientError", f"Data download failed: {error}") from error
        finally:
            source.unlink(missing_ok=True)
        return target

    def _answers(self, requests: Iterator[Batch], asking: ThreadPoolExecutor) -> Iterator[tuple[Batch, bytes]]:
        """Ask for each batch; yield the answers in the order of the batches, holding no more than is under way."""
        waiting: deque[tuple[Batch, Future[bytes]]] = deque()
        try:
            for batch in requests:
                waiting.append((batch, asking.submit(self._ask, batch.payload)))
                if len(waiting) > self._limits.requests:
                    first, future = waiting.popleft()
                    yield first, future.result()
            while waiting:
                first, future = waiting.popleft()
                yield first, future.result()
        finally:
            for _, future in waiting:
                future.cancel()

    def _ask(self, payload: bytes) -> bytes:
        """Send one request, again while its failure is transient.

        :raises ObjectFailed: if there is no answer, or one that is an error.
        """
        failure = ObjectFailed("AlgorithmError", NO_ANSWER)
        for attempt in range(self._retries + 1):
            if self._stopping.is_set() or self._server.poll() is not None:
                break
            if attempt:
                self._stopping.wait(min(0.2 * 2**attempt, 2.0))
            try:
                answer = self._server.ask(payload, self._headers, self._timeout)
            except (OSError, http.client.HTTPException):
                failure = ObjectFailed("AlgorithmError", NO_ANSWER)
                continue
            if answer.status < 400:
                return answer.body
            failure = _refused(answer.status, answer.body)
            if answer.status not in RETRIED:
                break
        raise failure


def _refused(status: int, body: bytes) -> ObjectFailed:
    text = body.decode("utf-8", "replace")[:LOGGED_CHARACTERS]
    message = ("", "Message:", *text.splitlines()) if text else ()
    if status < 500:
        return ObjectFailed("ClientError", f"ClientError: {status}", *message)
    return ObjectFailed("AlgorithmError", f"Bad HTTP status received from algorithm: {status}", *message)


def _ended(piece: bytes) -> bytes:
    # A model may end its answer with a newline itself; a record has one.
    return piece if piece.endswith(b"\n") else piece + b"\n"
