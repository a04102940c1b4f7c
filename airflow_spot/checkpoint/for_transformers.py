"""
Checkpoints of Hugging Face's ``Trainer``, for whichever training it does.

    saving = Saving(Checkpointer())
    trainer = Trainer(model, TrainingArguments("/tmp/trainer", save_steps=100), callbacks=[saving], ...)
    found = saving.load()
    trainer.train(resume_from_checkpoint=found.path if found else None)

``Trainer`` writes ``checkpoint-<step>`` folders with model, optimizer, schedule and random states, in place and file by
file. Each goes into the :class:`Checkpointer` when it is written, so that what a training resumes from is whole.
"""

import json
import os
import shutil
from typing import Any, Dict, Optional

from transformers import TrainerCallback

from . import Checkpoint, Checkpointer
from .for_pytorch_hosts import in_any_process, wait_for_all

_BEST = "best"
#: What only a training resumes from, and no model needs.
_NOT_OF_A_MODEL = shutil.ignore_patterns("optimizer*", "scheduler*", "scaler*", "rng_state*", _BEST)


class Saving(TrainerCallback):
    """
    Has what ``Trainer`` saves put into a :class:`Checkpointer`, and has it save after SIGTERM.

    It saves when ``TrainingArguments`` say so (``save_strategy``, ``save_steps``); with ``save_strategy="no"``, as
    often as loses least. ``output_dir`` has to be elsewhere than the checkpoints, or all would be uploaded twice.

    :param checkpoints: where.
    """

    def __init__(self, checkpoints: Checkpointer) -> None:
        self._checkpoints = checkpoints
        self._checkpoints.barrier = checkpoints.barrier or wait_for_all
        self._metrics: Dict[str, Any] = {}

    def load(self) -> Optional[Checkpoint]:
        """
        Return the newest checkpoint that is whole, None where the training begins; put back the best model so far.

        Its ``path`` is for ``Trainer.train(resume_from_checkpoint=...)``, which forgets a best one that is not there.
        """
        found = self._checkpoints.load(lambda path: path)
        if found is not None:
            _put_back_best(found)
        return found

    def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Look at the arguments; called by Trainer, after it has loaded."""
        output, ours = os.path.realpath(args.output_dir), os.path.realpath(self._checkpoints.path)
        if os.path.commonpath([output, ours]) == ours:
            raise ValueError(
                "output_dir is %s, within the checkpoint folder %s: give a folder that is not uploaded, such as "
                "/tmp/trainer; Saving puts into the other what is whole" % (args.output_dir, self._checkpoints.path)
            )
        if getattr(args, "save_only_model", False):
            raise ValueError("save_only_model is set: without the optimizer's state no training resumes from there")
        self._checkpoints.on_sigterm()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **more: Any) -> None:
        """Keep the newest numbers; called by Trainer."""
        self._metrics.update(logs or {})

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Report progress, and request a save where one is due; called by Trainer."""
        self._checkpoints.progress(state.global_step, state.max_steps, self._metrics)
        by_itself = str(getattr(args.save_strategy, "value", args.save_strategy)) == "no"
        if in_any_process(self._checkpoints.stopping):
            self._checkpoints.stopping = True
        if self._checkpoints.stopping or (by_itself and in_any_process(self._checkpoints.due(state.global_step))):
            control.should_save = True

    def on_save(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Take what Trainer has saved; called by Trainer. Ends the process with 143 where SIGTERM has come."""
        written = os.path.join(args.output_dir, "checkpoint-%d" % state.global_step)
        wait_for_all()  # each process has written its random state there
        keeps_best = args.load_best_model_at_end
        best = state.best_model_checkpoint if keeps_best else None

        def write(path: str) -> None:
            if keeps_best:
                shutil.copytree(written, path)
            else:
                shutil.move(written, path)  # nobody needs it there any more
            if best and os.path.realpath(best) != os.path.realpath(written):
                shutil.copytree(best, os.path.join(path, _BEST), ignore=_NOT_OF_A_MODEL)

        self._checkpoints.save(state.global_step, write)


def _put_back_best(found: Checkpoint) -> None:
    """Copy the best model so far to where Trainer had it: another instance, or another folder, has it no more."""
    try:
        with open(os.path.join(found.path, "trainer_state.json")) as file:
            best = json.load(file).get("best_model_checkpoint")
    except FileNotFoundError:
        return
    kept = os.path.join(found.path, _BEST)
    if best and os.path.basename(best) == "checkpoint-%d" % found.step:
        kept = found.path  # the newest is the best
    if not best or not os.path.isdir(kept) or os.path.exists(best):
        return
    aside = "%s-%d" % (best, os.getpid())
    shutil.copytree(kept, aside, ignore=_NOT_OF_A_MODEL)
    try:
        os.rename(aside, best)
    except OSError:  # another process of this host was first
        shutil.rmtree(aside)
