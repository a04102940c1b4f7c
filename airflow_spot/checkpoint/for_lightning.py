"""
Checkpoints of Lightning's ``Trainer``.

    saving = Saving(Checkpointer(), every=100)
    trainer = Trainer(callbacks=[saving], enable_checkpointing=False, ...)
    found = saving.load()
    trainer.fit(model, ResumableLoader(data, batch_size=32, shuffle=True), ckpt_path=found.path if found else None)

Lightning keeps model, optimizers, schedules, precision's scale and loops. It keeps no random state, and in the middle
of an epoch it begins the data again; :class:`Saving` and :class:`ResumableLoader` do that.
"""

import os
import sys
from typing import Any, Dict, Iterator, List, Optional

from torch.utils.data import DataLoader

from . import Checkpoint, Checkpointer
from .for_pytorch import random_state, set_random_state
from .for_pytorch_hosts import gathered, in_any_process, wait_for_all

if "pytorch_lightning" in sys.modules and "lightning.pytorch" not in sys.modules:
    from pytorch_lightning import Callback  # the same under the name that it had first
else:
    from lightning.pytorch import Callback

_KEY = "airflow_spot"


class ResumableLoader(DataLoader):
    """
    A ``DataLoader`` that resumes in the middle of an epoch, with whatever sampler.

    It draws the same order again and passes over what was trained on, which it loads for that.
    """

    _begun: Optional[Dict[str, Any]] = None
    _drawn = 0
    _resume: Optional[Dict[str, Any]] = None

    def position(self) -> Dict[str, Any]:
        """Return where the pass is that is under way: the random state at its begin, and how many batches it gave."""
        return {"begun": self._begun, "drawn": self._drawn}

    def go_to(self, position: Optional[Dict[str, Any]], random: Dict[str, Any]) -> None:
        """
        Have the next pass resume from there.

        :param position: None: it is a new one.
        :param random: the random state to continue with.
        """
        self._resume = {"position": position, "random": random}

    def state_dict(self) -> Dict[str, Any]:
        """Return nothing: Lightning asks by this whether the loader can continue, and knows not where an epoch ends."""
        return {}

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Do nothing; :meth:`go_to` does it."""

    def __iter__(self) -> Iterator[Any]:
        resume, self._resume = self._resume, None
        position = resume["position"] if resume else None
        if resume:
            set_random_state(position["begun"] if position else resume["random"])
        self._begun, self._drawn = random_state(), 0
        batches = super().__iter__()
        if resume and position:
            for _ in range(position["drawn"]):
                next(batches)
            self._drawn = position["drawn"]
            set_random_state(resume["random"])
        for batch in batches:
            self._drawn += 1
            yield batch


class Saving(Callback):
    """
    Saves checkpoints while ``Trainer.fit`` runs, and after SIGTERM.

    Not while gradients are added up, nor before a validation or the end of an epoch is through: a little later then.

    :param checkpoints: where.
    :param every: optimizer's steps between two checkpoints; None: as often as loses least.
    """

    def __init__(self, checkpoints: Checkpointer, every: Optional[int] = None) -> None:
        self._checkpoints, self._every = checkpoints, every
        self._checkpoints.barrier = checkpoints.barrier or wait_for_all
        self._step = 0
        self._middle = self._is_due = False
        self._restored: Optional[Dict[str, Any]] = None

    def load(self) -> Optional[Checkpoint]:
        """
        Return the newest checkpoint that is whole, None where the training begins.

        Its ``path`` is for ``Trainer.fit(ckpt_path=...)``.
        """
        return self._checkpoints.load(lambda path: path)

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: Dict[str, Any]) -> None:
        """Add what Lightning leaves out; called by Lightning in every process."""
        loader = trainer.train_dataloader
        position = loader.position() if self._middle and isinstance(loader, ResumableLoader) else None
        mine = {"random": random_state(), "position": position, "middle": self._middle}
        checkpoint[_KEY] = gathered(mine)

    def on_load_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: Dict[str, Any]) -> None:
        """Keep what :meth:`on_save_checkpoint` has added; called by Lightning in every process."""
        ranks: List[Dict[str, Any]] = checkpoint.get(_KEY) or []
        if trainer.global_rank < len(ranks):
            self._restored = ranks[trainer.global_rank]

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Put it back; called by Lightning."""
        self._checkpoints.on_sigterm()
        # Processes that Lightning has forked have the environment of the one that made the Checkpointer.
        self._checkpoints._writes = self._checkpoints._writes and trainer.is_global_zero
        self._checkpoints._cleans = self._checkpoints._cleans and trainer.local_rank == 0
        self._step = trainer.global_step
        loader, restored = trainer.train_dataloader, self._restored
        if isinstance(loader, ResumableLoader) and restored:
            loader.go_to(restored["position"], restored["random"])
            self._restored = None
        elif restored and restored["middle"]:
            print("airflow_spot.checkpoint: the data begin again in the middle of an epoch: use a ResumableLoader")

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Put back the random state where the loader is not ours; called by Lightning."""
        if self._restored:
            set_random_state(self._restored["random"])
            self._restored = None

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Save where it is due, but between two steps of the optimizer; called by Lightning."""
        if trainer.global_step == self._step:
            return  # gradients are being added up, and are in no checkpoint
        before, self._step = self._step, trainer.global_step
        # As long as it is "restarting", which is to the end of the epoch, Lightning tells no ReduceLROnPlateau of it.
        trainer.fit_loop._restarting = False
        total = trainer.estimated_stepping_batches
        self._checkpoints.progress(self._step, int(total) if total < float("inf") else None, trainer.callback_metrics)
        # Several optimizers make several steps a batch, and would seldom end on a multiple.
        passed = self._every and self._step // self._every * self._every
        is_due = self._checkpoints.due(passed if passed and passed > before else self._step, self._every)
        self._is_due = in_any_process(is_due) or self._is_due
        if in_any_process(self._checkpoints.stopping):
            self._checkpoints.stopping = True
        # Lightning validates before the next batch, and after a resume it would not: what that draws would be missing.
        waits = _validates_after(trainer, batch_idx) and not self._checkpoints.stopping
        if self._is_due and not trainer.is_last_batch and not waits:
            self._save(trainer, middle=True)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Save where it was due with the last batch: not before its epoch is done; called by Lightning."""
        # Lightning tells a ReduceLROnPlateau of the epoch after this, and after a resume it would not.
        if self._is_due and not any(each.reduce_on_plateau for each in trainer.lr_scheduler_configs):
            self._save(trainer, middle=False)

    def _save(self, trainer: Any, middle: bool) -> None:
        self._middle, self._is_due = middle, False
        # All processes have their part in it, and one writes.
        aside = os.path.join(self._checkpoints.path, "lightning.ckpt.sagemaker-ignore")
        trainer.save_checkpoint(aside, weights_only=False)
        self._checkpoints.save(self._step, lambda path: os.replace(aside, path))


def _validates_after(trainer: Any, batch_idx: int) -> bool:
    """Return whether a validation may follow this batch, within an epoch."""
    every = trainer.val_check_batch
    if not every or every == float("inf") or every <= 1:
        return False
    done = trainer.fit_loop.total_batch_idx if trainer.check_val_every_n_epoch is None else batch_idx
    return bool((done + 1) % every == 0)
