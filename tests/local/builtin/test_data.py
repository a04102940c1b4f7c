"""Channels and requests in each content type."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from airflow_spot.local.builtin.xgb import data
from airflow_spot.local.builtin.xgb.errors import UserError


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (None, data.LIBSVM),
        ("text/x-libsvm", data.LIBSVM),
        ("libsvm", data.LIBSVM),
        ("text/csv; label_size=1; charset=utf8", data.CSV),
        ("CSV", data.CSV),
        ("application/x-parquet", data.PARQUET),
    ],
)
def test_content_types(text: str | None, kind: str) -> None:
    assert data.content_type(text) == kind


@pytest.mark.parametrize("text", ["text/csv;label_size=2", "application/json", "text/plain"])
def test_other_content_types_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="is not an accepted"):
        data.content_type(text)


def test_csv_of_several_files(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text("3,30,300\n")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "c.csv").write_text("4;40;400\n")
    (tmp_path / "a.csv").write_text("\ufeff1,10,100\n\n2,20,\n", encoding="utf-8")
    (tmp_path / "_SUCCESS").write_text("")
    rows = data.read_channel(tmp_path, data.CSV)
    assert rows is not None and rows.weights is None
    assert rows.labels.tolist() == [1, 2, 3, 4]
    assert rows.features.shape == (4, 2) and math.isnan(rows.features[1][1])
    weighted = data.read_channel(tmp_path, data.CSV, csv_weights=True)
    assert weighted is not None
    assert weighted.weights.tolist() == [10, 20, 30, 40] and weighted.features.shape == (4, 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("label,x\n1,2\n", "part.csv, line 1: .*no header"),
        ("1,2\n3\n", "part.csv, line 2, has 1 columns"),
        ("1\n2\n", "no features"),
    ],
)
def test_csv_that_is_none(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "part.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        data.read_channel(tmp_path, data.CSV)


def test_files_of_different_width_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1,2\n")
    (tmp_path / "b.csv").write_text("1,2,3\n")
    with pytest.raises(UserError, match="files differ in columns"):
        data.read_channel(tmp_path, data.CSV)


def test_libsvm(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1 0:0.5 3:2\n0:0.25 1:7 # a remark\n\n")
    rows = data.read_channel(tmp_path, data.LIBSVM)
    assert rows is not None
    assert rows.labels.tolist() == [1, 0] and rows.weights.tolist() == [1, 0.25]
    assert rows.features.toarray().tolist() == [[0.5, 0, 0, 2], [0, 7, 0, 0]]


@pytest.mark.parametrize("text", ["1,2,3\n", "1 a:2\n", "1 0:x\n", "1 qid:1 0:2\n", "1 -1:2\n"])
def test_libsvm_that_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "a").write_text(text)
    with pytest.raises(UserError, match="is not 'LIBSVM' format"):
        data.read_channel(tmp_path, data.LIBSVM)


def test_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pyarrow.table({"label": [1, 0], "x": [0.5, None], "y": [3, 4]})
    parquet.write_table(table, tmp_path / "part.parquet")
    rows = data.read_channel(tmp_path, data.PARQUET)
    assert rows is not None
    assert rows.labels.tolist() == [1, 0] and rows.features[:, 1].tolist() == [3, 4] and np.isnan(rows.features[1][0])
    (tmp_path / "part.parquet").write_text("no parquet")
    with pytest.raises(UserError, match="Failed to load parquet data"):
        data.read_channel(tmp_path, data.PARQUET)


def test_no_data_and_hidden_files(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").touch()
    assert data.read_channel(tmp_path, data.CSV) is None
    (tmp_path / ".part").write_text("1,2")
    with pytest.raises(UserError, match="Hidden file"):
        data.read_channel(tmp_path, data.CSV)


def test_requests_are_fitted_to_the_model() -> None:
    assert data.fitted(data.read_body(b"1,2\n3,4\n", data.CSV), 2).tolist() == [[1, 2], [3, 4]]
    assert data.fitted(data.read_body(b"9,1,2", data.CSV), 2).tolist() == [[1, 2]]
    assert data.fitted(data.read_body(b"0:1\n1:2", data.LIBSVM), 3).toarray().tolist() == [[1, 0, 0], [0, 2, 0]]
    assert data.fitted(data.read_body(b"7 2:1", data.LIBSVM), 3).toarray().tolist() == [[0, 0, 1]]
    with pytest.raises(UserError, match="is larger"):
        data.fitted(data.read_body(b"3:1", data.LIBSVM), 3)
    with pytest.raises(UserError, match="is not consistent"):
        data.fitted(data.read_body(b"1,2,3,4", data.CSV), 2)
    for body, kind in ((b"a,b", data.CSV), (b"\xff,1", data.CSV), (b"1", data.PARQUET)):
        with pytest.raises(UserError):
            data.read_body(body, kind)
