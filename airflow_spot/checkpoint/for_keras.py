"""
Keras' model and optimizer as a checkpoint, and a ``fit`` that continues where the one before was interrupted.

    def data(epoch):
        return tf.data.Dataset.from_tensor_slices((x, y)).shuffle(len(x), seed=epoch).batch(32)

    history = fit(Checkpointer(), model, data, epochs=20, every=100)

Also in the middle of an epoch: what was trained on is passed over, since the order of an epoch's data follows from its
number alone. Keras 3 on TensorFlow, and Keras 2.15. After ``keras.utils.set_random_seed`` and
``tf.config.experimental.enable_op_determinism`` the weights are those of a training that was not interrupted; Keras 2's
dropout draws other numbers after a resume.
"""

from typing import Any, Callable, Dict, List, Optional

import keras
import numpy

from airflow_spot.checkpoint import Checkpointer

#: Keras 2 has it by another name.
_Batches: Any = getattr(keras.utils, "PyDataset", None) or keras.utils.Sequence


class KerasState:
    """
    Everything that a training resumes from.

    :param model: compiled, with its weights made.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        #: Epochs that are done, batches that are done of the next, and batches in all.
        self.epoch = self.batch = self.step = 0

    def write(self, path: str) -> None:
        """Write the state to a file."""
        values = {"variable-%d" % number: _plain(each.numpy()) for number, each in enumerate(self._variables())}
        with open(path, "wb") as file:  # numpy adds an ending to a name, but not to a file
            numpy.savez(file, position=[self.epoch, self.batch, self.step], **values)

    def read(self, path: str) -> "KerasState":
        """
        Load a file's state into the model and its optimizer.

        :raises ValueError: it is that of another model or optimizer.
        """
        variables = self._variables()
        with numpy.load(path) as found:
            values = [found["variable-%d" % number] for number in range(len(found.files) - 1)]
            position = found["position"].tolist()
        shapes, there = [tuple(each.shape) for each in values], [tuple(each.shape) for each in variables]
        if shapes != there:
            raise ValueError(
                "the checkpoint %s is of another model or optimizer: its variables have the shapes %s, and here %s"
                % (path, shapes, there)
            )
        for variable, value in zip(variables, values):
            variable.assign(value)
        self.epoch, self.batch, self.step = position
        return self

    def _variables(self) -> List[Any]:
        """Return the weights, the states of random generators (Keras 3), and what the optimizer has."""
        optimizer = self._model.optimizer
        if not getattr(optimizer, "built", False):
            optimizer.build(self._model.trainable_variables)
        metrics = {id(each) for each in getattr(self._model, "metrics_variables", ())}
        return [*(each for each in self._model.variables if id(each) not in metrics), *optimizer.variables]


def _plain(values: Any) -> Any:
    """Return an array of a type that numpy can read again: bfloat16 and the like are within float32."""
    return values.astype("float32") if values.dtype.kind == "V" else values


class Saving(keras.callbacks.Callback):
    """
    Saves checkpoints while ``fit`` runs, and counts epochs and batches.

    :param checkpoints: where.
    :param state: of the model that is trained.
    :param total: batches in all; None where that is not known.
    :param every: batches between two checkpoints; None: as often as loses least.
    """

    def __init__(
        self, checkpoints: Checkpointer, state: KerasState, total: Optional[int] = None, every: Optional[int] = None
    ) -> None:
        super().__init__()
        self._checkpoints, self._state, self._total, self._every = checkpoints, state, total, every
        self._saved = state.step
        self._passed_over = state.batch
        self._metrics: Dict[str, Any] = {}

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Note how many of its batches are not trained on again; called by Keras."""
        self._passed_over = self._state.batch

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Save what the batches before have made, where that is due; called by Keras."""
        self._save()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Count; called by Keras."""
        done = self._passed_over + batch + 1
        self._state.step += done - self._state.batch
        self._state.batch = done
        self._metrics = dict(logs or {})
        self._checkpoints.progress(self._state.step, self._total, self._metrics)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Save, where that is due; called by Keras."""
        # A checkpoint behind the last batch is one of the next epoch: of this one nothing is left to train.
        self._state.epoch, self._state.batch = epoch + 1, 0
        self._metrics = dict(logs or {})
        self._save()

    def _save(self) -> None:
        step = self._state.step
        if step > self._saved and self._checkpoints.due(step, self._every):
            self._saved = step
            self._checkpoints.save(step, self._state.write, self._metrics)


def fit(
    checkpoints: Checkpointer,
    model: Any,
    data: Callable[[int], Any],
    epochs: int,
    every: Optional[int] = None,
    **more: Any,
) -> Any:
    """
    Train what is missing of so many epochs, from the newest checkpoint on; return the History of that.

    :param model: compiled, with its weights made: give it an ``Input``, or call it once.
    :param data: returns an epoch's batches by its number, from 0 on: a ``tf.data.Dataset``, or a ``PyDataset``.
    :param epochs: in all.
    :param every: batches between two checkpoints; None: as often as loses least.
    :param more: of ``model.fit``. Keras itself shuffles nothing: the order is that of ``data``.
    :raises ValueError: the model has no weights yet, or the checkpoint is that of another one.
    """
    if not (model.built and model.variables):
        raise ValueError("the model has no weights yet to load into: give it an Input, or call it once, before fit()")
    state, history = KerasState(model), keras.callbacks.History()
    checkpoints.load(state.read)
    if state.epoch >= epochs:
        return history
    batches = data(state.epoch)
    steps = more.pop("steps_per_epoch", None)
    in_epoch = steps or _length(batches)
    saving = Saving(checkpoints, state, in_epoch and in_epoch * epochs, every)
    verbose = more.pop("verbose", 2)  # a progress bar makes a log unreadable
    more["shuffle"] = False
    given = [*more.pop("callbacks", ()), saving, history]
    told = {"verbose": verbose, "epochs": epochs, "steps": in_epoch}
    callbacks = _Once(given, add_progbar=bool(verbose), model=model, **told)
    callbacks.begin()
    while True:
        rest = _rest(batches, state.batch)
        first = state.epoch
        if steps:
            more["steps_per_epoch"] = steps - state.batch
        model.fit(rest, initial_epoch=first, epochs=first + 1, callbacks=callbacks, verbose=verbose, **more)
        if model.stop_training or state.epoch >= epochs:
            break
        batches = data(state.epoch)
    callbacks.end()
    return history


class _Once(keras.callbacks.CallbackList):
    """Callbacks that see one training where ``fit`` is called once an epoch, with that epoch's data."""

    def on_train_begin(self, logs: Any = None) -> None:
        pass

    def on_train_end(self, logs: Any = None) -> None:
        pass

    def begin(self) -> None:
        super().on_train_begin()

    def end(self) -> None:
        super().on_train_end()


class _Rest(_Batches):
    """The batches of an epoch behind the first ones."""

    def __init__(self, batches: Any, done: int) -> None:
        super().__init__()
        self._batches, self._done = batches, done

    def __len__(self) -> int:
        return len(self._batches) - self._done

    def __getitem__(self, index: int) -> Any:
        return self._batches[index + self._done]


def _rest(batches: Any, done: int) -> Any:
    if not done:
        return batches
    return batches.skip(done) if hasattr(batches, "skip") else _Rest(batches, done)


def _length(batches: Any) -> Optional[int]:
    try:
        return len(batches)
    except TypeError:  # of a tf.data.Dataset that nobody can know before
        return None
