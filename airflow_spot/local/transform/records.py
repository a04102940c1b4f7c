"""Records of a batch transform: split from an object, filtered, sent in batches, joined with their predictions."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from airflow_spot.local.transform.jsonpath import ALL, JsonPath

CSV = "text/csv"
JSON_TYPES = ("application/json", "application/jsonlines")
FORMATS = (CSV, *JSON_TYPES)
MB = 1024 * 1024
TOO_LARGE = "Too much data for max payload size"


class BadRecord(Exception):
    """A record, or what the model made of it, cannot be used: the whole object fails."""


@dataclass(frozen=True)
class Batch:
    """One request.

    :param records: as they are in the object, without line ends.
    :param payload: the body of the request.
    """

    records: list[bytes]
    payload: bytes


@dataclass(frozen=True)
class Filters:
    """DataProcessing of a transform job.

    :param content_type: of the input, ``text/csv``, ``application/json`` or ``application/jsonlines``.
    :param accept: of the output, likewise.
    :param join: whether each record goes before its prediction.
    """

    content_type: str
    accept: str
    before: JsonPath = ALL
    after: JsonPath = ALL
    join: bool = False

    @classmethod
    def of(cls, request: dict[str, Any]) -> Filters:
        """Return those of a request.

        :raises ValueError: if a filter is not one that Local SageMaker reads.
        """
        processing = request.get("DataProcessing", {})
        return cls(
            request["TransformInput"].get("ContentType", ""),
            request["TransformOutput"].get("Accept", ""),
            JsonPath.parse(processing.get("InputFilter") or "$"),
            JsonPath.parse(processing.get("OutputFilter") or "$"),
            processing.get("JoinSource") == "Input",
        )

    @property
    def input(self) -> bool:
        """Whether records are changed before they are sent."""
        return bool(self.before.steps)

    @property
    def output(self) -> bool:
        """Whether predictions are looked into, record by record."""
        return self.join or bool(self.after.steps)

    def send(self, record: bytes) -> bytes:
        """Return what the model gets of a record.

        :raises BadRecord: if it cannot be read, or has not what the filter asks for.
        """
        if not self.input:
            return record
        return _write(self.content_type, _select(self.before, _read(self.content_type, record)))

    def keep(self, record: bytes, prediction: bytes) -> bytes:
        """Return what is written for a record; raises as :meth:`send` does."""
        value = _read(self.accept, prediction)
        if self.join:
            value = _join(_read(self.content_type, record), value, is_csv=self.content_type == CSV)
        return _write(self.accept, _select(self.after, value))


def _join(record: Any, prediction: Any, *, is_csv: bool) -> Any:
    if is_csv:
        return [*record, *prediction]
    known = record if isinstance(record, dict) else {"SageMakerInput": record}
    return {**known, "SageMakerOutput": prediction}


def _select(path: JsonPath, value: Any) -> Any:
    try:
        return path.select(value)
    except LookupError as error:
        raise BadRecord(f"the filter finds nothing: {error}") from error


def _read(kind: str, data: bytes) -> Any:
    try:
        text = data.decode("utf-8")
        if kind != CSV:
            return json.loads(text)
        rows = list(csv.reader(io.StringIO(text), strict=True))
    except (ValueError, RecursionError, csv.Error) as error:
        raise BadRecord(f"a record is not {kind}: {error}") from error
    if len(rows) != 1:
        raise BadRecord(f"a record has {len(rows)} rows of {kind}; it must have 1")
    return rows[0]


def _write(kind: str, value: Any) -> bytes:
    if kind != CSV:
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(value if isinstance(value, list) else [value])
    return text.getvalue().encode()


def split(file: BinaryIO, *, lines: bool) -> Iterator[bytes]:
    """Return the records of an object: its lines, empty ones left out [A], or all of it."""
    if not lines:
        yield file.read()
        return
    for line in file:
        record = line.rstrip(b"\r\n")
        if record:
            yield record


def batches(
    records: Iterable[bytes], filters: Filters, *, lines: bool, several: bool, limit_mb: int
) -> Iterator[Batch]:
    """Return requests for records, in order.

    :param lines: whether the records are lines, which get their end back.
    :param several: as many as fit into a request, rather than one.
    :param limit_mb: of a request, in MB; 0 for none [D].
    :raises BadRecord: for one that is larger by itself, or that a filter cannot be applied to.
    """
    limit = limit_mb * MB
    waiting: list[bytes] = []
    payload = bytearray()
    for record in records:
        sent = filters.send(record) + (b"\n" if lines else b"")
        if limit and len(sent) > limit:
            raise BadRecord(TOO_LARGE)
        if waiting and (not several or (limit and len(payload) + len(sent) > limit)):
            yield Batch(waiting, bytes(payload))
            waiting, payload = [], bytearray()
        waiting.append(record)
        payload += sent
    if waiting:
        yield Batch(waiting, bytes(payload))


def pieces(batch: Batch, answer: bytes, filters: Filters) -> list[bytes]:
    """Return what is written for a batch: the answer as it is, or its predictions joined and filtered.

    :raises BadRecord: if these are not as many as the records, or cannot be joined.
    """
    if not filters.output:
        return [answer]
    predictions = [answer] if len(batch.records) == 1 else answer.splitlines()
    if len(predictions) != len(batch.records):
        raise BadRecord(f"{len(batch.records)} records were sent, and {len(predictions)} predictions came back")
    return [filters.keep(*pair) for pair in zip(batch.records, predictions, strict=True)]
