"""Training: a round at a time, each with its line in the log and its checkpoint.

Paths come from ``SM_*``, so that it also runs where ``/opt/ml`` is relocated. What goes wrong is left in
``/opt/ml/output/failure`` with the container's heading [T], and ends in exit code 1: SageMaker makes an AlgorithmError
of it.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from . import checkpoints, data, metrics, parameters
from .errors import UserError, needs

try:
    import xgboost
except ImportError as missing:
    xgboost = None
    _missing = missing

MODEL = "xgboost-model"
_PICKLED_UP_TO = (1, 2)
_CHANNELS = ("train", "validation")

# Failures of XGBoost that the container counts among the user's [S].
_USERS = (
    "label must be in",
    "Target is multiclass but average='binary'",
    "feature_names mismatch",
    "base_score must be in",
    "label must be nonnegative",
    "the dataset only contains pos or neg samples",
)


def main(release: tuple[int, int]) -> None:
    """Train as the environment defines, and exit."""
    try:
        _train(release)
    except Exception as error:
        kind = "UserError" if isinstance(error, UserError) else f"AlgorithmError: {type(error).__name__}"
        # XGBoost's own messages bring the addresses of their stack along, which would be all that fits.
        text = f"framework error: \n{kind}: {str(error).partition('Stack trace:')[0].strip()}"
        if not isinstance(error, UserError):
            traceback.print_exc()
        print(text, file=sys.stderr)  # noqa: T201 - it is what the log of a job shows
        Path(os.environ["SM_OUTPUT_DIR"], "failure").write_text(text, encoding="utf-8")
        sys.exit(1)


def _train(release: tuple[int, int]) -> None:
    if xgboost is None:
        raise needs("xgboost", _missing)
    config = Path(os.environ["SM_INPUT_CONFIG_DIR"])
    given = json.loads((config / "hyperparameters.json").read_text(encoding="utf-8"))
    wanted = parameters.parse(given, release)
    if len(json.loads(os.environ["SM_HOSTS"])) > 1:
        raise UserError("Local SageMaker's built-in XGBoost trains on one instance")
    matrices = _matrices(json.loads((config / "inputdataconfig.json").read_text(encoding="utf-8")), wanted)
    _say(f"Train matrix has {matrices['train'].num_row()} rows and {matrices['train'].num_col()} columns")
    if "validation" in matrices:
        _say(f"Validation matrix has {matrices['validation'].num_row()} rows")
    checkpoints = config / "checkpointconfig.json"
    folder = Path(json.loads(checkpoints.read_text(encoding="utf-8"))["LocalPath"]) if checkpoints.exists() else None
    model_folder = Path(os.environ["SM_MODEL_DIR"])
    try:
        booster = _boost(wanted, matrices, folder, model_folder, release)
    except (xgboost.core.XGBoostError, ValueError) as error:
        if any(text in str(error) for text in _USERS):
            raise UserError(str(error)) from error
        raise
    _save(booster, model_folder, release)


def _matrices(channels: dict[str, dict[str, str]], wanted: parameters.Parameters) -> dict[str, Any]:
    """Return the data by channel."""
    if "train" not in channels:
        raise UserError("Missing required channel: train")
    if extraneous := sorted(channels.keys() - {*_CHANNELS, "code"}):
        raise UserError(f"Extraneous channel found: {extraneous[0]}")
    kind = data.content_type(channels["train"].get("ContentType"))
    found = {}
    for name in _CHANNELS:
        if name not in channels:
            continue
        folder = Path(os.environ[f"SM_CHANNEL_{name.upper()}"])
        rows = data.read_channel(folder, kind, csv_weights=wanted.csv_weights)
        if rows is None:
            raise UserError(f"No data in {'training' if name == 'train' else name} channel path {folder}")
        found[name] = xgboost.DMatrix(rows.features, label=rows.labels, weight=rows.weights)
    return found


def _boost(
    wanted: parameters.Parameters,
    matrices: dict[str, Any],
    checkpoint_folder: Path | None,
    model_folder: Path,
    release: tuple[int, int],
) -> Any:
    """Train the rounds that are left."""
    start, state = 0, None
    if checkpoint_folder is not None:
        state, start = checkpoints.newest(checkpoint_folder)
    if state is not None:
        _say(f"Checkpoint loaded from {checkpoint_folder}")
        _say(f"Resuming from iteration {start}")
    custom = metrics.more(wanted.metrics, wanted.booster.get("objective", ""))
    settings = {**wanted.booster}
    if own := [name for name in wanted.metrics if name not in metrics.MORE]:
        settings["eval_metric"] = own
    callbacks: list[Any] = [_Round(start, checkpoint_folder, model_folder if wanted.keep_model else None, release)]
    if wanted.early_stopping and "validation" in matrices:
        last = wanted.metrics[-1] if wanted.metrics else None
        callbacks.append(
            xgboost.callback.EarlyStopping(
                rounds=wanted.early_stopping,
                data_name="validation",
                metric_name=last,
                maximize=None if last is None else last.partition("@")[0] in parameters.MAXIMIZED,
                # A linear model cannot be cut back to its best round.
                save_best=settings.get("booster") != "gblinear",
            )
        )
    if wanted.keep_model:
        # The model of the last whole round is there: the job may end as if it were done.
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    return xgboost.train(
        settings,
        matrices["train"],
        num_boost_round=max(0, wanted.rounds - start),
        evals=[(matrix, name) for name, matrix in matrices.items()],
        custom_metric=custom,
        callbacks=callbacks,
        xgb_model=state,
        verbose_eval=False,
    )


# mypy skips xgboost, and takes no conditional base.
class _Round(xgboost.callback.TrainingCallback if xgboost else object):  # type: ignore[misc]
    """After each round: its line, its checkpoint, and where it is wanted its model.

    Rounds are counted over all starts, as the container does up to 1.2 [S]; later ones begin with 0 again.
    """

    def __init__(
        self, start: int, checkpoint_folder: Path | None, model_folder: Path | None, release: tuple[int, int]
    ) -> None:
        self._start = start
        self._checkpoint_folder = checkpoint_folder
        self._model_folder = model_folder
        self._release = release

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        number = self._start + epoch
        _say(metrics.line(number, evals_log))
        if self._checkpoint_folder is not None:
            checkpoints.save(self._checkpoint_folder, model, number)
        if self._model_folder is not None:
            _save(model, self._model_folder, self._release)
        return False


def _save(booster: Any, folder: Path, release: tuple[int, int]) -> None:
    """Save the model as the release does: pickled up to 1.2, then in XGBoost's own format [D]."""
    content = pickle.dumps(booster, protocol=4) if release <= _PICKLED_UP_TO else booster.save_raw("ubj")
    part = folder.parent / f".{MODEL}.part"
    part.write_bytes(content)
    part.replace(folder / MODEL)


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - it is what the log of a job shows
