"""Data: a channel's files, or the body of a request, as matrices that XGBoost takes.

Content types and their default, text/libsvm for training, are the developer guide's "Input/Output Interface for the
XGBoost Algorithm" [D]; their short forms and ``label_size`` are the container's [S].
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import UserError, needs

CSV, LIBSVM, PARQUET = "csv", "libsvm", "parquet"
_TYPES = {
    "csv": CSV,
    "text/csv": CSV,
    "libsvm": LIBSVM,
    "text/libsvm": LIBSVM,
    "text/x-libsvm": LIBSVM,
    "parquet": PARQUET,
    "application/x-parquet": PARQUET,
}
_DELIMITERS = ",;\t| "
_DEPTH = 3
"""Folders below a channel's own whose files are read [S]."""


@dataclass
class Rows:
    """Rows of features, dense or sparse, with what may stand beside them.

    :param features: a numpy array, or a scipy CSR matrix where a missing column is a missing value.
    """

    features: Any
    labels: Any = None
    weights: Any = None


def content_type(text: str | None) -> str:
    """Return CSV, LIBSVM or PARQUET.

    :param text: a channel's ContentType, or a request's; None is libsvm.
    :raises UserError: for any other.
    """
    if text is None:
        return LIBSVM
    name, *parameters = (part.strip() for part in text.lower().split(";"))
    if name not in _TYPES:
        raise UserError(f"{text} is not an accepted ContentType: {', '.join(_TYPES)}.")
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "label_size" and value.strip() != "1":
            raise UserError(
                f"{text} is not an accepted csv ContentType. Optional parameter label_size must be equal to 1"
            )
    return _TYPES[name]


def read_channel(folder: Path, kind: str, *, csv_weights: bool = False) -> Rows | None:
    """Return all of a channel's files, in the order of their names; None if there is no data.

    :param kind: from :func:`content_type`.
    :param csv_weights: in CSV, the column after the label is the rows' weight.
    :raises UserError: if a file is not of that type, or hidden.
    """
    files = _files(folder)
    if not any(file.stat().st_size for file in files):
        return None
    if kind == PARQUET:
        return _split(_parquet(files), weights=False)
    if kind == CSV:
        return _split(_joined([_csv(file.read_text(encoding="utf-8-sig"), file.name) for file in files]), csv_weights)
    lines = ((file.name, line) for file in files for line in file.read_text(encoding="utf-8-sig").splitlines())
    return _libsvm(lines, labelled=True)


def read_body(body: bytes, kind: str) -> Rows:
    """Return the rows of a request, which have no label in CSV and may have one in libsvm [D].

    :param kind: from :func:`content_type`.
    :raises UserError: if they are not of that kind.
    """
    try:
        text = body.decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise UserError(f"Loading {kind} data failed with Exception: {error}") from error
    if kind == CSV:
        return Rows(_array(_csv(text, "the request")))
    if kind == LIBSVM:
        return _libsvm((("the request", line) for line in text.splitlines()), labelled=False)
    raise UserError(f"Content-type {kind} is not supported.")


def fitted(rows: Rows, features: int) -> Any:
    """Return the features of a request's rows, as many as a model has.

    :raises UserError: if there are too many, or in dense rows too few.
    """
    import numpy as np
    from scipy.sparse import csr_matrix

    matrix, width = rows.features, rows.features.shape[1]
    if isinstance(matrix, np.ndarray):
        if width == features + 1:
            # [S]: rows with a column too many are taken to begin with the label.
            return matrix[:, 1:]
        if width != features:
            raise UserError(
                f"Feature size of csv inference data {width} is not consistent with feature size of trained model "
                f"{features}."
            )
        return matrix
    if width > features:
        raise UserError(
            f"Feature size of libsvm inference data {width} is larger than feature size of trained model {features}."
        )
    # Rows whose last features are missing do not name them.
    return csr_matrix((matrix.data, matrix.indices, matrix.indptr), shape=(matrix.shape[0], features))


def _files(folder: Path) -> list[Path]:
    found = []
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        if path.name.startswith("."):
            raise UserError("Hidden file found in the data path! Remove that before training.")
        # Markers such as Spark's _SUCCESS hold no data.
        if not path.name.startswith("_") and len(path.relative_to(folder).parts) <= _DEPTH:
            found.append(path)
    return found


def _csv(text: str, name: str) -> list[list[float]]:
    first = text.partition("\n")[0]
    try:
        delimiter = csv.Sniffer().sniff(first, _DELIMITERS).delimiter
    except csv.Error:
        # A lone column has none. [S]: that is an error for training data, which has a label and features.
        delimiter = ","
    rows = []
    for number, cells in enumerate(csv.reader(io.StringIO(text), delimiter=delimiter), 1):
        if not cells:
            continue
        try:
            rows.append([float(cell) if cell.strip() else math.nan for cell in cells])
        except ValueError as error:
            raise UserError(
                f"Failed to load csv data with exception:\n{name}, line {number}: {error}. CSV data has numbers alone, "
                "and no header"
            ) from error
        if len(rows[-1]) != len(rows[0]):
            raise UserError(
                f"Failed to load csv data with exception:\n{name}, line {number}, has {len(rows[-1])} columns, and the "
                f"first {len(rows[0])}"
            )
    if not rows:
        raise UserError(f"Failed to load csv data with exception:\n{name} has no rows")
    return rows


def _joined(tables: Iterable[list[list[float]]]) -> Any:
    rows = [row for table in tables for row in table]
    widths = {len(row) for row in rows}
    if len(widths) > 1:
        raise UserError(f"Failed to load csv data with exception:\nfiles differ in columns: {sorted(widths)}")
    return _array(rows)


def _array(rows: list[list[float]]) -> Any:
    import numpy as np

    return np.array(rows, dtype=np.float32)


def _split(table: Any, weights: bool) -> Rows:
    used = 2 if weights else 1
    if table.shape[1] <= used:
        raise UserError(f"Got {table.shape[1]} columns: the label, and no features. Please check the input data set.")
    return Rows(table[:, used:], table[:, 0], table[:, 1] if weights else None)


def _parquet(files: list[Path]) -> Any:
    import numpy as np

    try:
        from pyarrow import parquet
    except ImportError as error:
        raise needs("pyarrow for application/x-parquet", error) from error
    tables = []
    try:
        for file in files:
            columns = parquet.ParquetFile(file).read().columns
            tables.append(np.column_stack([column.to_numpy().astype(np.float32) for column in columns]))
        return np.concatenate(tables)
    except (ValueError, OSError) as error:  # pyarrow's own errors are of these
        raise UserError(f"Failed to load parquet data with exception:\n{error}") from error


def _libsvm(lines: Iterable[tuple[str, str]], *, labelled: bool) -> Rows:
    import numpy as np
    from scipy.sparse import csr_matrix

    labels, weights, values = [], [], []
    columns: list[int] = []
    starts = [0]
    for name, line in lines:
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            if labelled or ":" not in words[0]:
                label, _, weight = words.pop(0).partition(":")
                labels.append(float(label))
                weights.append(float(weight or 1))
            for column, value in _pairs(words):
                columns.append(column)
                values.append(value)
        except ValueError as error:
            raise UserError(
                f"First line '{line[:50]}...' of file '{name}' is not 'LIBSVM' format. Please ensure the file is in "
                f"'LIBSVM' format. ({error})"
            ) from error
        starts.append(len(values))
    width = max(columns, default=-1) + 1
    matrix = csr_matrix(
        (np.array(values, dtype=np.float32), np.array(columns, dtype=np.int64), starts), shape=(len(starts) - 1, width)
    )
    weighted = any(weight != 1 for weight in weights)
    return Rows(matrix, np.array(labels, dtype=np.float32), np.array(weights) if weighted else None)


def _pairs(words: Iterable[str]) -> Iterator[tuple[int, float]]:
    for word in words:
        column, _, value = word.partition(":")
        if int(column) < 0:
            raise ValueError(f"{column} is below 0")
        yield int(column), float(value)
