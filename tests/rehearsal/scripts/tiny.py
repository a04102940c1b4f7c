"""A training that is small but real: which side of a line is a point on? Its first weights know it the wrong way."""

from __future__ import annotations

import json
import math
import os
import random
import time
from pathlib import Path

EPOCHS = int(os.environ.get("SM_HP_EPOCHS", "25"))
FOLDER = Path(os.environ.get("SM_CHECKPOINT_DIR", "/opt/ml/checkpoints"))
MODEL = Path(os.environ.get("SM_MODEL_DIR", "/opt/ml/model"))
BEGIN = [-1.0, -1.0, 0.0]

_random = random.Random(7)
POINTS = [(_random.uniform(-1, 1), _random.uniform(-1, 1)) for _ in range(200)]
LABELS = [1.0 if x + y + 0.05 * _random.gauss(0, 1) > 0 else 0.0 for x, y in POINTS]


def epoch(weights: list[float], order: list[int] | None = None) -> list[float]:
    """Return the weights after one more epoch: by the whole gradient, or in this order, a step a point."""
    time.sleep(0.03)
    rows = [(*point, 1.0) for point in POINTS]
    if order is None:
        errors = [_sigmoid(weights, row) - label for row, label in zip(rows, LABELS, strict=True)]
        sums = [sum(e * row[i] for e, row in zip(errors, rows, strict=True)) for i in range(3)]
        return [w - 0.4 * s / len(rows) for w, s in zip(weights, sums, strict=True)]
    for i in order:
        error = _sigmoid(weights, rows[i]) - LABELS[i]
        weights = [w - 0.003 * error * x for w, x in zip(weights, rows[i], strict=True)]
    return weights


def _sigmoid(weights: list[float], row: tuple[float, ...]) -> float:
    return 1 / (1 + math.exp(-sum(w * x for w, x in zip(weights, row, strict=True))))


def accuracy(weights: list[float]) -> float:
    """Return the share of points that the weights get right."""
    right = sum((_sigmoid(weights, (*p, 1.0)) > 0.5) == (y > 0.5) for p, y in zip(POINTS, LABELS, strict=True))
    return right / len(POINTS)


def tell(done: int, weights: list[float]) -> None:
    """Print what a script prints after an epoch."""
    print(f"epoch {done}/{EPOCHS} accuracy={accuracy(weights):.4f}", flush=True)


def finish(weights: list[float]) -> None:
    """Write the model."""
    (MODEL / "weights.json").write_text(json.dumps(weights))
