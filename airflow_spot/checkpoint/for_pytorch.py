"""
PyTorch's state as a checkpoint: model, optimizer, scheduler, scaler, and the random generators.

    state = TorchState(model=model, optimizer=optimizer, scheduler=scheduler)
    found = checkpoints.load(state.read)
    ...
    checkpoints.save(step + 1, state.write)

With all of that a run that was interrupted ends with the weights of one that was not, where the operations used are
deterministic (https://docs.pytorch.org/docs/stable/notes/randomness.html). A ``DataLoader`` draws a number from
PyTorch's global generator whenever it begins, also in the middle of an epoch: give it a ``generator`` of its own.

For several processes see ``for_pytorch_hosts``.
"""

import pickle
import random
import re
import sys
from typing import Any, BinaryIO, Dict, Iterator, List, Optional, Union

import torch
from torch.utils.data import Sampler


class TorchState:
    """
    Everything that a training resumes from.

    :param objects: by name, what has ``state_dict`` and ``load_state_dict`` (modules, optimizers, schedulers, scalers),
        or ``get_state`` and ``set_state`` (``torch.Generator``). The names stand in the file: keep them.
    """

    def __init__(self, **objects: Any) -> None:
        for name, each in objects.items():
            if not (hasattr(each, "load_state_dict") or hasattr(each, "set_state")):
                raise TypeError("%s is a %s: it has no state to load" % (name, type(each).__name__))
        self._objects = objects
        self._can_be_read = False
        #: Of how many processes the checkpoint is that was read.
        self.processes = 1

    def write(self, path: str, ranks: Optional[List[Dict[str, Any]]] = None) -> None:
        """
        Write the state to a file.

        :param ranks: the :func:`random_state` of each process, where several train one model.
        :raises TypeError: :meth:`read` would not take it; said at the first save, and not after an interruption.
        """
        objects = {name: _plain(_state_of(each)) for name, each in self._objects.items()}
        state = {"objects": objects, "random": random_state()}
        torch.save(state if ranks is None else dict(state, ranks=ranks), path)
        if not self._can_be_read:
            try:
                torch.load(path, map_location="meta", weights_only=True)  # "meta": without the memory for it
            except pickle.UnpicklingError as error:
                kind = re.search(r"GLOBAL (\S+)", str(error))
                raise TypeError(
                    "no checkpoint can be read again that holds a %s: a state is tensors and plain values"
                    % (kind.group(1) if kind else error)
                ) from error
            self._can_be_read = True

    def read(self, path: Union[str, BinaryIO], rank: int = 0) -> "TorchState":
        """
        Load a file's state into the objects.

        :param path: a file's name, or an open file.
        :param rank: which process this is; one that was not there at the save keeps its random state.
        :raises KeyError: the file has no state of one of them: nothing would be loaded into it, without a word.
        """
        # Tensors and plain values are all there is, so no file can have code run here.
        found = torch.load(path, map_location="cpu", weights_only=True)
        missing = sorted(set(self._objects) - set(found["objects"]))
        if missing:
            raise KeyError("the checkpoint %s has no %s" % (path, ", ".join(missing)))
        for name, each in self._objects.items():
            if hasattr(each, "load_state_dict"):
                each.load_state_dict(found["objects"][name])
            else:
                each.set_state(found["objects"][name])
        ranks = found.get("ranks") or [found["random"]]
        self.processes = len(ranks)
        if rank < len(ranks):
            set_random_state(ranks[rank])
        return self


class SeededSampler(Sampler):
    """
    Shuffles again in each epoch, and resumes in the middle of one: what was trained on is not drawn again.

    The order follows from seed and epoch alone, so no position has to be stored: workers that load ahead would have
    moved it further than the training is.

    :param length: how many samples there are.
    :param seed: of the shuffle.
    :param rank: which of several processes this is; each draws every ``world``-th sample.
    :param world: how many there are. What does not go round is left out, so that all draw as many.
    """

    def __init__(self, length: int, seed: int = 0, rank: int = 0, world: int = 1) -> None:
        self._length, self._seed, self._rank, self._world = length, seed, rank, world
        self._epoch, self._done = 0, 0

    def go_to(self, epoch: int, samples_done: int = 0) -> None:
        """Start the next pass in this epoch, behind its first samples: those of all processes together."""
        self._epoch, self._done = epoch, samples_done

    def __iter__(self) -> Iterator[int]:
        drawn = torch.randperm(self._length, generator=torch.Generator().manual_seed(self._seed + self._epoch))
        return iter(drawn[self._done + self._rank :: self._world][: len(self)].tolist())

    def __len__(self) -> int:
        return (self._length - self._done) // self._world


def _state_of(each: Any) -> Any:
    return each.state_dict() if hasattr(each, "state_dict") else each.get_state()


def _plain(state: Any) -> Any:
    """Return a state with Python's numbers for NumPy's, such as a learning rate of ``np.logspace``."""
    if type(state) is dict:
        return {key: _plain(value) for key, value in state.items()}
    if type(state) in (list, tuple):
        return type(state)(map(_plain, state))
    is_number = type(state).__module__ == "numpy" and getattr(state, "shape", None) == ()
    return state.item() if is_number else state


def random_state() -> Dict[str, Any]:
    """Return the states of this process' random generators: PyTorch's, Python's, NumPy's where it is used."""
    version, numbers, gauss = random.getstate()
    found: Dict[str, Any] = {"torch": torch.get_rng_state(), "python": [version, list(numbers), gauss]}
    if torch.cuda.is_available():
        found["cuda"] = torch.cuda.get_rng_state_all()
    numpy = sys.modules.get("numpy")  # only a script that uses it has a state of it to keep
    if numpy is not None:
        kind, keys, *rest = numpy.random.get_state()
        found["numpy"] = [kind, keys.tolist(), *rest]
    return found


def set_random_state(found: Dict[str, Any]) -> None:
    """Set the random generators to a :func:`random_state`."""
    torch.set_rng_state(found["torch"])
    version, numbers, gauss = found["python"]
    random.setstate((version, tuple(numbers), gauss))
    if "cuda" in found and torch.cuda.is_available() and len(found["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(found["cuda"])
    numpy = sys.modules.get("numpy")
    if numpy is not None and "numpy" in found:
        kind, keys, *rest = found["numpy"]
        numpy.random.set_state((kind, numpy.asarray(keys, dtype="uint32"), *rest))
