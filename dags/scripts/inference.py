"""SageMaker inference script: serves the digits classifier that ``train.py`` saved.

Takes ``text/csv`` (one image of 64 scaled pixels a line) or ``application/json`` (``[[...], ...]`` or
``{"instances": [[...], ...]}``). Answers the digit per line as CSV, or the digits and their probabilities
as JSON.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import xgboost as xgb

MODEL_FILE = "model.ubj"


def model_fn(model_dir: str) -> xgb.Booster:
    """Load the model once, when the endpoint starts."""
    return xgb.Booster(model_file=str(Path(model_dir) / MODEL_FILE))


def input_fn(body: bytes | str, content_type: str) -> xgb.DMatrix:
    """Parse a request into rows of pixels; raises ValueError for another content type."""
    text = body.decode() if isinstance(body, (bytes, bytearray)) else body
    if content_type.startswith("text/csv"):
        return xgb.DMatrix(np.loadtxt(io.StringIO(text), delimiter=",", ndmin=2))
    if content_type.startswith("application/json"):
        document = json.loads(text)
        rows = document["instances"] if isinstance(document, dict) else document
        return xgb.DMatrix(np.asarray(rows, dtype=float))
    raise ValueError(f"content type {content_type!r} is not supported: use text/csv or application/json")


def predict_fn(data: xgb.DMatrix, model: xgb.Booster) -> np.ndarray:
    """Return one row of class probabilities per image."""
    return model.predict(data)


def output_fn(probabilities: np.ndarray, accept: str) -> str:
    """Format the answer as the client accepts it; raises ValueError for another type."""
    digits = probabilities.argmax(axis=1)
    if accept.startswith("text/csv"):
        return "\n".join(str(digit) for digit in digits)
    if accept.startswith(("application/json", "*/*")):
        return json.dumps({"predictions": digits.tolist(), "probabilities": probabilities.tolist()})
    raise ValueError(f"accept {accept!r} is not supported: use text/csv or application/json")
