"""Serving a model that the algorithm has trained: ``/ping``, ``/invocations`` and ``/execution-parameters``.

Content types, answers and status codes are the container's [S]: text/csv by default, a prediction a line (up to 1.2 a
comma between them), or application/json and application/jsonlines.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
import traceback
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from typing import Any

from . import data
from .errors import UserError, needs

CSV, JSON, JSON_LINES = "text/csv", "application/json", "application/jsonlines"
_COMMAS_UP_TO = (1, 2)
_MAX_PAYLOAD = 6291456


class Unacceptable(Exception):
    """No answer can be given in the type that the request asks for."""


class Model:
    """A loaded model. Thread-safe.

    :param folder: with one file in it, of whatever name [S].
    :raises UserError: if there is none, or it cannot be loaded.
    """

    def __init__(self, folder: Path, release: tuple[int, int]) -> None:
        files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
        if not files:
            raise UserError(f"there is no model in {folder}")
        self._booster = _load(files[0])
        self._release = release
        # Predictions of one Booster from several threads are not promised to be safe.
        self._lock = Lock()

    def predict(self, rows: data.Rows) -> list[Any]:
        """Return a number a row, or a list of them a row with multi:softprob.

        :raises UserError: if the rows do not fit the model.
        """
        import xgboost

        matrix = xgboost.DMatrix(data.fitted(rows, self._booster.num_features()))
        with self._lock:
            found = self._booster.predict(matrix, validate_features=False)
        predictions: list[Any] = found.tolist()
        return predictions

    def encode(self, predictions: list[Any], accept: str) -> bytes:
        """Return predictions as an answer of a type.

        :raises Unacceptable: if there is no such type.
        """
        scores = [{"score": prediction} for prediction in predictions]
        if accept == JSON:
            return json.dumps({"predictions": scores}).encode()
        if accept == JSON_LINES:
            return "".join(f"{json.dumps(score)}\n" for score in scores).encode()
        if accept != CSV:
            raise Unacceptable(
                f"Accept type {accept} is not supported. Please use supported accept types: {[JSON, JSON_LINES, CSV]}."
            )
        if os.environ.get("SAGEMAKER_BATCH"):
            return "".join(f"{prediction}\n" for prediction in predictions).encode()
        if self._release <= _COMMAS_UP_TO:
            return ",".join(map(str, predictions)).encode()
        rows = (prediction if isinstance(prediction, list) else [prediction] for prediction in predictions)
        return "".join(",".join(map(str, row)) + "\n" for row in rows).encode()


def _load(path: Path) -> Any:
    import xgboost

    content = path.read_bytes()
    try:
        # The service runs what it is sent, and a model from 1.2 or before is a pickle.
        return pickle.loads(content)  # noqa: S301 - see above
    except Exception as not_pickled:
        booster = xgboost.Booster()
        try:
            booster.load_model(bytearray(content))
        except xgboost.core.XGBoostError as error:
            raise UserError(f"Model {path} cannot be loaded: {not_pickled}; {error}") from error
        return booster


class Handler(BaseHTTPRequestHandler):
    """The container's three addresses."""

    protocol_version = "HTTP/1.1"
    model: Model

    def do_GET(self) -> None:
        """Answer the health check, and what batch transform asks for."""
        if self.path == "/ping":
            self._send(HTTPStatus.OK, b"", JSON)
        elif self.path == "/execution-parameters":
            answer = {
                "MaxConcurrentTransforms": os.cpu_count() or 1,
                "BatchStrategy": "MULTI_RECORD",
                "MaxPayloadInMB": _MAX_PAYLOAD // 2**20,
            }
            self._send(HTTPStatus.OK, json.dumps(answer).encode(), JSON)
        else:
            self._send(HTTPStatus.NOT_FOUND, b"", JSON)

    def do_POST(self) -> None:
        """Answer an invocation."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path != "/invocations":
            self._send(HTTPStatus.NOT_FOUND, b"", JSON)
        elif not body:
            self._send(HTTPStatus.NO_CONTENT, b"", CSV)
        else:
            self._invoke(body)

    def _invoke(self, body: bytes) -> None:
        try:
            rows = data.read_body(body, data.content_type(self.headers.get("Content-Type")))
        except UserError as error:
            self._send(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, str(error).encode(), "text/plain")
            return
        accept = (self.headers.get("Accept") or "").partition(";")[0].strip().lower()
        if accept in ("", "*/*"):
            accept = os.environ.get("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", CSV)
        try:
            self._send(HTTPStatus.OK, self.model.encode(self.model.predict(rows), accept), accept)
        except Unacceptable as error:
            self._send(HTTPStatus.NOT_ACCEPTABLE, str(error).encode(), "text/plain")
        except Exception as error:
            if not isinstance(error, UserError):
                traceback.print_exc()
            text = f"Unable to evaluate payload provided: {error}"
            self._send(HTTPStatus.BAD_REQUEST, text.encode(), "text/plain")

    def log_message(self, format: str, *args: Any) -> None:
        """Log invocations, but not the health checks."""
        if self.path != "/ping":
            super().log_message(format, *args)

    def _send(self, status: HTTPStatus, body: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        if status != HTTPStatus.NO_CONTENT:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main(release: tuple[int, int]) -> None:
    """Load the model, then listen; ends with a message if it cannot be loaded."""
    try:
        try:
            Handler.model = Model(Path(os.environ["SM_MODEL_DIR"]), release)
        except ImportError as error:
            raise needs("xgboost", error) from error
    except UserError as error:
        print(error, file=sys.stderr)  # noqa: T201 - it is what the log of an endpoint shows
        sys.exit(1)
    port = int(os.environ["SAGEMAKER_BIND_TO_PORT"])
    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
