"""
XGBoost's booster as a checkpoint.

    booster = train(Checkpointer(), params, data, rounds=200, every=10, evals=[(validation, "validation")])

trains what is missing of the rounds, and saves as it goes. Without sampling (``subsample`` and ``colsample_*`` at 1)
the model is that of an uninterrupted training, tree by tree: XGBoost does not save its random generator's state. A
``LearningRateScheduler`` continues; other callbacks, early stopping among them, are told of rounds from 0 on again.
"""

from typing import Any, Dict, Mapping, Optional

import xgboost

from airflow_spot.checkpoint import Checkpointer

_Scheduler = xgboost.callback.LearningRateScheduler


def write(booster: Any, path: str) -> None:
    """Write a booster to a file of whatever name."""
    with open(path, "wb") as file:
        file.write(bytes(booster.save_raw("ubj")))


def read(path: str, params: Optional[Mapping[str, Any]] = None) -> Any:
    """Read a booster that :func:`write` wrote."""
    with open(path, "rb") as file:
        return xgboost.Booster(params=dict(params or {}), model_file=bytearray(file.read()))


class Saving(xgboost.callback.TrainingCallback):
    """
    Saves checkpoints while ``xgboost.train`` runs.

    :param checkpoints: where.
    :param total: rounds in all.
    :param every: rounds between two checkpoints; None: as often as loses least.
    """

    def __init__(self, checkpoints: Checkpointer, total: int, every: Optional[int] = None) -> None:
        super().__init__()
        self._checkpoints, self._total, self._every = checkpoints, total, every

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        """Save where it is due; called by XGBoost."""
        done = model.num_boosted_rounds()
        self._checkpoints.progress(done, self._total, _last(evals_log))
        if self._checkpoints.due(done, self._every):
            self._checkpoints.save(done, lambda path: write(model, path))
        return False


class _GoesOn(xgboost.callback.TrainingCallback):
    """A schedule of the learning rate behind the rounds that are done: XGBoost counts them from 0 in each call."""

    def __init__(self, schedule: Any, done: int) -> None:
        super().__init__()
        self._rate_after, self._done = schedule.learning_rates, done

    def before_training(self, model: Any) -> Any:
        """Set what the last round has left; called by XGBoost."""
        model.set_param("learning_rate", self._rate_after(self._done - 1))
        return model

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        """Set the next one; called by XGBoost."""
        model.set_param("learning_rate", self._rate_after(self._done + epoch))
        return False


def train(
    checkpoints: Checkpointer,
    params: Mapping[str, Any],
    data: Any,
    rounds: int,
    every: Optional[int] = None,
    **more: Any,
) -> Any:
    """
    Train what is missing of so many rounds, from the newest checkpoint on; return the booster.

    :param params: of ``xgboost.train``, as ``data`` and ``more`` are.
    :param rounds: in all.
    :param every: rounds between two checkpoints; None: as often as loses least.
    """
    found = checkpoints.load(lambda path: read(path, params))
    booster = None if found is None else found.state
    missing = rounds - (0 if found is None else found.step)
    if booster is not None and missing <= 0:
        return booster
    given = more.pop("callbacks", None) or ()
    if found is not None:
        given = [_GoesOn(each, found.step) if type(each) is _Scheduler else each for each in given]
    callbacks = [*given, Saving(checkpoints, rounds, every)]
    return xgboost.train(dict(params), data, missing, xgb_model=booster, callbacks=callbacks, **more)


def _last(evals_log: Mapping[str, Mapping[str, Any]]) -> Dict[str, Any]:
    return {"%s-%s" % (data, name): values[-1] for data, each in evals_log.items() for name, values in each.items()}
