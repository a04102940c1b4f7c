"""The server inside an endpoint's container: /ping and /invocations around a model's inference script.

What AWS's framework containers do with ``code/inference.py``, as the SageMaker inference toolkit documents it:
``model_fn`` once, then ``input_fn``, ``predict_fn`` and ``output_fn`` per request, or ``transform_fn`` for the three.
Runs as a script in the interpreter of the image, where airflow_spot need not be installed: standard library only.
"""

from __future__ import annotations

import argparse
import importlib.util
import inspect
import io
import json
import os
import sys
import traceback
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

JSON = "application/json"
CSV = "text/csv"
NPY = "application/x-npy"
# The toolkit hands these to input_fn as text, anything else as bytes.
TEXT_TYPES = (JSON, CSV)


class UnsupportedType(Exception):
    """A content type or accept that no default handles.

    :param status: 415 or 406.
    """

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


def default_model_fn(model_dir: str) -> Any:
    """Raise: there is no default, since only the script knows how its model is loaded."""
    raise NotImplementedError("the inference script has no model_fn(model_dir)")


def default_input_fn(body: str | bytes, content_type: str) -> Any:
    """Decode JSON, CSV or npy into a NumPy array."""
    import numpy as np

    if content_type == JSON:
        return np.array(json.loads(body))
    if content_type == CSV:
        text = body if isinstance(body, str) else body.decode()
        return np.genfromtxt(io.StringIO(text), delimiter=",")
    if content_type == NPY:
        raw = body.encode() if isinstance(body, str) else body
        return np.load(io.BytesIO(raw), allow_pickle=False)
    raise UnsupportedType(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"content type {content_type!r} needs an input_fn")


def default_predict_fn(data: Any, model: Any) -> Any:
    """Return ``model.predict(data)``, else ``model(data)``."""
    return model.predict(data) if hasattr(model, "predict") else model(data)


def default_output_fn(prediction: Any, accept: str) -> str | bytes:
    """Encode an array or a plain value as JSON, CSV or npy."""
    import numpy as np

    if accept == JSON:
        return json.dumps(prediction.tolist() if hasattr(prediction, "tolist") else prediction)
    if accept == CSV:
        text = io.StringIO()
        np.savetxt(text, np.atleast_1d(prediction), delimiter=",", fmt="%s")
        return text.getvalue()
    if accept == NPY:
        raw = io.BytesIO()
        np.save(raw, np.asarray(prediction))
        return raw.getvalue()
    raise UnsupportedType(HTTPStatus.NOT_ACCEPTABLE, f"accept {accept!r} needs an output_fn")


class Model:
    """A loaded model with the functions of its inference script.

    :param script: the module; what it does not define has the toolkit's default.
    :param model_dir: where model.tar.gz was unpacked.
    """

    def __init__(self, script: ModuleType, model_dir: str) -> None:
        self._input: Callable[..., Any] = getattr(script, "input_fn", default_input_fn)
        self._predict: Callable[..., Any] = getattr(script, "predict_fn", default_predict_fn)
        self._output: Callable[..., Any] = getattr(script, "output_fn", default_output_fn)
        self._transform: Callable[..., Any] | None = getattr(script, "transform_fn", None)
        self._model = _call(getattr(script, "model_fn", default_model_fn), model_dir)

    def answer(self, body: bytes, content_type: str, accept: str) -> tuple[bytes, str]:
        """Return the answer to one request and its content type; raises whatever the script raises."""
        data = body.decode() if content_type in TEXT_TYPES else body
        if self._transform is not None:
            result = _call(self._transform, self._model, data, content_type, accept)
        else:
            prediction = _call(self._predict, _call(self._input, data, content_type), self._model)
            result = _call(self._output, prediction, accept)
        if isinstance(result, tuple):
            result, accept = result
        return (result if isinstance(result, bytes) else str(result).encode()), accept


def _call(function: Callable[..., Any], *args: Any) -> Any:
    # Scripts for newer toolkits take one argument more, a context, which holds no more than the environment does.
    parameters = inspect.signature(function).parameters.values()
    required = [p for p in parameters if p.kind <= p.POSITIONAL_OR_KEYWORD and p.default is p.empty]
    return function(*args, None) if len(required) == len(args) + 1 else function(*args)


class Handler(BaseHTTPRequestHandler):
    """GET /ping and POST /invocations."""

    protocol_version = "HTTP/1.1"
    model: Model

    def do_GET(self) -> None:
        """Answer the health check: the model is loaded before the server listens."""
        self._send(HTTPStatus.OK if self.path == "/ping" else HTTPStatus.NOT_FOUND, b"", JSON)

    def do_POST(self) -> None:
        """Answer an invocation; an error of the script is a 500 with its text, and its traceback in the log."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path != "/invocations":
            self._send(HTTPStatus.NOT_FOUND, b"", JSON)
            return
        content_type = self.headers.get("Content-Type") or JSON
        accept = self.headers.get("Accept") or "*/*"
        if accept == "*/*":
            accept = os.environ.get("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", JSON)
        try:
            answer, answer_type = self.model.answer(body, content_type, accept)
        except UnsupportedType as error:
            self._send(error.status, str(error).encode(), "text/plain")
        except Exception as error:
            traceback.print_exc()
            text = f"{type(error).__name__}: {error}"
            self._send(HTTPStatus.INTERNAL_SERVER_ERROR, text.encode(), "text/plain")
        else:
            self._send(HTTPStatus.OK, answer, answer_type)

    def log_message(self, format: str, *args: Any) -> None:
        """Log invocations, but not the health checks."""
        if self.path != "/ping":
            super().log_message(format, *args)

    def _send(self, status: HTTPStatus, body: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def load_script(path: Path) -> ModuleType:
    """Import an inference script, with its folder importable as in AWS's containers."""
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def main() -> None:
    """Load the model, then listen; ends with a traceback if it cannot be loaded."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--script", type=Path, required=True)
    parser.add_argument("--model-dir", required=True)
    args = parser.parse_args()
    # Python put this file's folder first, whose modules would hide the script's own of the same name.
    sys.path.pop(0)
    Handler.model = Model(load_script(args.script), args.model_dir)
    port = int(os.environ["SAGEMAKER_BIND_TO_PORT"])
    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    main()
