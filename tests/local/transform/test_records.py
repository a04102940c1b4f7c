"""Records of a batch transform: split, batched, filtered and joined."""

from __future__ import annotations

import io

import pytest

from airflow_spot.local.transform.jsonpath import JsonPath
from airflow_spot.local.transform.records import ALL, CSV, MB, BadRecord, Batch, Filters, batches, pieces, split

PLAIN = Filters("", "")


def filters(kind: str, before: str = "$", after: str = "$", *, join: bool = False) -> Filters:
    return Filters(kind, kind, JsonPath.parse(before), JsonPath.parse(after), join)


def payloads(records: list[bytes], limit_mb: int, *, several: bool = True) -> list[bytes]:
    made = batches(records, PLAIN, lines=True, several=several, limit_mb=limit_mb)
    return [batch.payload for batch in made]


def test_lines_and_whole_objects() -> None:
    data = b"1,2\r\n\n3,4\n5,6"
    assert list(split(io.BytesIO(data), lines=True)) == [b"1,2", b"3,4", b"5,6"]
    assert list(split(io.BytesIO(data), lines=False)) == [data]


def test_as_many_records_as_fit_go_into_a_request() -> None:
    record = b"x" * (MB // 2 - 1)
    assert payloads([record] * 5, 1) == [(record + b"\n") * 2, (record + b"\n") * 2, record + b"\n"]
    assert payloads([record] * 5, 0) == [(record + b"\n") * 5]
    assert payloads([b"1", b"2"], 1, several=False) == [b"1\n", b"2\n"]
    with pytest.raises(BadRecord, match="max payload"):
        payloads([b"1", b"x" * MB], 1)


def test_a_csv_row_is_an_array_and_its_prediction_goes_behind_it() -> None:
    chosen = filters(CSV, "$[1:]", "$[0,-1]", join=True)
    (batch,) = batches([b"id7,1,2", b'"id,8",3,4'], chosen, lines=True, several=True, limit_mb=6)
    assert batch.payload == b"1,2\n3,4\n"
    assert pieces(batch, b"0.5\n0.75\n", chosen) == [b"id7,0.5", b'"id,8",0.75']


def test_a_prediction_joins_an_object_under_its_own_key() -> None:
    chosen = filters("application/jsonlines", "$.features", "$['id','SageMakerOutput']", join=True)
    record = b'{"id": 1, "features": [1, 2]}'
    assert chosen.send(record) == b"[1,2]"
    assert chosen.keep(record, b'{"label": 1}') == b'{"id":1,"SageMakerOutput":{"label":1}}'
    both = filters("application/json", join=True)
    assert both.keep(b"[1, 2]", b"3") == b'{"SageMakerInput":[1,2],"SageMakerOutput":3}'


def test_an_output_filter_alone_looks_into_the_prediction() -> None:
    assert filters(CSV, after="$[1]").keep(b"1,2", b"9,8") == b"8"


@pytest.mark.parametrize(
    ("chosen", "record", "answer"),
    [
        (filters(CSV, join=True), b"1", b"1\n2\n3"),
        (filters("application/json", join=True), b"{}", b"not json"),
        (filters(CSV, after="$[5]"), b"1", b"1,2"),
    ],
)
def test_predictions_that_do_not_fit_are_an_error(chosen: Filters, record: bytes, answer: bytes) -> None:
    with pytest.raises(BadRecord):
        pieces(Batch([record], record), answer, chosen)


def test_as_many_predictions_as_records_or_none() -> None:
    with pytest.raises(BadRecord, match="2 records were sent, and 3 predictions"):
        pieces(Batch([b"1", b"2"], b"1\n2\n"), b"1\n2\n3\n", filters(CSV, join=True))
    assert pieces(Batch([b"1", b"2"], b"1\n2\n"), b"1,2,3", PLAIN) == [b"1,2,3"]
    assert not PLAIN.input and not PLAIN.output and PLAIN.after is ALL
