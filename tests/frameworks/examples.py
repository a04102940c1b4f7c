"""The example scripts, and what each is run with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.frameworks.folders import Read, of_library, of_older_style
from tests.matrix.environment import ROOT

SCRIPTS = ROOT / "dags" / "frameworks"


@dataclass(frozen=True)
class Example:
    """
    A script of ``dags/frameworks``.

    It prints ``FROM <step>`` once it knows what it resumes from, then a line that begins with ``step=<n>``,
    ``round=<n>`` or ``epoch=<n>`` for what is done, counted as in its checkpoints, and leaves files in ``SM_MODEL_DIR``
    that are the same, byte for byte, whenever the model is.

    :param name: the script is ``train_<name>.py``.
    :param framework: its environment.
    :param hyperparameters: such that some ten checkpoints are written.
    :param kills: how often it is killed, in all.
    :param hosts: how many machines train; a rehearsal has one.
    :param read: reads its checkpoint folder, by other code than its own.
    :param hard_coded: it knows its places by heart, and runs where ``/opt/ml`` can be its own alone.
    """

    name: str
    framework: str
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    kills: int = 30
    hosts: int = 1
    read: Read = of_library
    hard_coded: bool = False

    @property
    def script(self) -> Path:
        return SCRIPTS / f"train_{self.name}.py"


#: PyTorch's first step takes longer than all others, and a kill has to come among those.
_SLOWED = {"log_every": 1, "seconds_per_step": 0.05}

EXAMPLES = {
    example.name: example
    for example in (
        Example("xgboost", "xgboost", {"rounds": 120, "checkpoint_every": 10}, kills=200),
        Example("pytorch", "torch", {**_SLOWED, "epochs": 3, "checkpoint_every": 5}, kills=200),
        Example("pytorch_two_hosts", "torch", {**_SLOWED, "epochs": 2, "checkpoint_every": 5}, hosts=2),
        Example("huggingface", "torch", {**_SLOWED, "epochs": 2, "batch_size": 32, "checkpoint_every": 2}),
        Example("lightning", "torch", {**_SLOWED, "epochs": 3, "checkpoint_every": 5}),
        Example("keras", "keras", {"epochs": 3, "checkpoint_every": 25}),
        Example("mxnet", "mxnet", {"epochs": 12}),
        Example("tracked", "mlflow", {"steps": 40, "checkpoint_every": 4, "step_seconds": 0.02}),
        Example("older_style", "plain", {"epochs": 40}, read=of_older_style, hard_coded=True),
    )
}
