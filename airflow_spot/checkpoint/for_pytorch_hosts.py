"""
PyTorch on several hosts, or in several processes of one: all resume from the same step, and save after the same step.

    rank, world = join("nccl")                       # SageMaker's hosts; torchrun's processes, if it has started this
    checkpoints = Checkpointer(barrier=torch.distributed.barrier)
    found = load(checkpoints, state)
    ...
    if due(checkpoints, step + 1, every=100):
        save(checkpoints, step + 1, state)

One process writes, the first, as :class:`Checkpointer` has it. For what is whole in each process
(``DistributedDataParallel``); shards of a model (FSDP) take a checkpoint of another kind.
"""

import datetime
import io
import json
import os
from typing import Any, Dict, List, Mapping, Optional, Tuple

import torch
import torch.distributed as dist

from . import Checkpoint, Checkpointer, CheckpointError, natural
from .for_pytorch import TorchState, random_state


def join(backend: str = "gloo", timeout_seconds: float = 600.0) -> Tuple[int, int]:
    """
    Make this process one of the training's; return which it is, and of how many.

    One a host, in the order of SageMaker's ``SM_HOSTS``; several meet on the first, at ``MASTER_PORT`` or 29500. Where
    torchrun has started it, as torchrun says.

    :param backend: ``gloo``, or ``nccl``, for which each process takes a GPU of its own.
    :param timeout_seconds: how long one waits for the others, at the start and at each exchange.
    """
    timeout = datetime.timedelta(seconds=timeout_seconds)
    if backend == "nccl":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    if os.environ.get("RANK", "").isdigit():
        dist.init_process_group(backend, timeout=timeout)
    else:
        hosts = sorted(json.loads(os.environ.get("SM_HOSTS") or "[]") or ["localhost"], key=natural)
        if len(hosts) == 1:
            # No port: trainings beside each other on one machine have nothing to meet on.
            dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1, timeout=timeout)
        else:
            rank = hosts.index(os.environ.get("SM_CURRENT_HOST", hosts[0]))
            first = "tcp://%s:%s" % (hosts[0], os.environ.get("MASTER_PORT", "29500"))
            dist.init_process_group(backend, init_method=first, rank=rank, world_size=len(hosts), timeout=timeout)
    return dist.get_rank(), dist.get_world_size()


def load(checkpoints: Checkpointer, state: TorchState) -> Optional[Checkpoint]:
    """
    Load the newest checkpoint that is whole into the state of every process; None where the training begins.

    Each host has a copy of its own. Where one of them is damaged, the processes go by the first's, which sends it.

    :raises CheckpointError: the first has several and none is whole.
    """
    rank = dist.get_rank()
    try:
        found = checkpoints.load(lambda path: path)
    except CheckpointError:
        if rank == 0:
            raise
        found = None
    names: List[str] = [""] * dist.get_world_size()
    dist.all_gather_object(names, os.path.basename(found.path) if found else "")
    if len(set(names)) == 1:
        if found is None:
            return None
        return _read(checkpoints, found.step, found.path, found.metrics, state, found.path)
    sent: List[Any] = [None]
    if rank == 0 and found is not None:
        with open(found.path, "rb") as file:
            sent = [(found.step, found.path, found.metrics, file.read())]
    dist.broadcast_object_list(sent, src=0)
    if sent[0] is None:
        return None
    step, path, metrics, content = sent[0]
    return _read(checkpoints, step, path, metrics, state, io.BytesIO(content))


def _read(
    checkpoints: Checkpointer, step: int, path: str, metrics: Dict[str, Any], state: TorchState, file: Any
) -> Checkpoint:
    state.read(file, dist.get_rank())
    if state.processes != dist.get_world_size():
        # An instance type with more GPUs, perhaps.
        checkpoints._say(
            "the checkpoint of step %d is of %d processes, and here are %d: a step takes other samples than it did, so "
            "the place in the data and the learning rate's schedule are not what they were"
            % (step, state.processes, dist.get_world_size())
        )
    return Checkpoint(step, path, metrics, state)


def due(checkpoints: Checkpointer, step: int, every: Optional[int] = None, seconds: Optional[float] = None) -> bool:
    """
    Return whether to save now, the same in every process: SIGTERM and the clock come to each at another step.

    All call it after each step; it takes two small exchanges.
    """
    is_due = in_any_process(checkpoints.due(step, every, seconds))
    if in_any_process(checkpoints.stopping):  # and never False: SIGTERM may have come meanwhile
        checkpoints.stopping = True
    return is_due or checkpoints.stopping


def save(checkpoints: Checkpointer, step: int, state: TorchState, metrics: Optional[Mapping[str, Any]] = None) -> None:
    """Save the state, with the random states of all processes; all call it. Ends as :meth:`Checkpointer.save` does."""
    ranks = gathered(random_state())
    checkpoints.save(step, lambda path: state.write(path, ranks), metrics)


def is_together() -> bool:
    """Return whether several processes train."""
    return bool(dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1)


def wait_for_all() -> None:
    """Wait until each process is here; at once where there is one."""
    if is_together():
        dist.barrier()


def in_any_process(flag: bool) -> bool:
    """Return whether it is so in one of the processes."""
    if not is_together():
        return flag
    device = torch.device("cuda", torch.cuda.current_device()) if dist.get_backend() == "nccl" else "cpu"
    number = torch.tensor(int(flag), device=device)
    dist.all_reduce(number, dist.ReduceOp.MAX)
    return bool(number.item())


def gathered(mine: Dict[str, Any]) -> List[Dict[str, Any]]:
    """Return what each process has, in their order."""
    if not is_together():
        return [mine]
    found: List[Dict[str, Any]] = [{}] * dist.get_world_size()
    dist.all_gather_object(found, mine)
    return found
