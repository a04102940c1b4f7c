"""SageMaker training script (script mode): XGBoost that resumes from its newest checkpoint after an interruption.

The model after any number of interruptions is the model without them, tree by tree: no rows or columns are sampled,
since XGBoost does not save the state of its random generator.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import xgboost as xgb

from airflow_spot.checkpoint import Checkpointer
from airflow_spot.checkpoint.for_xgboost import train


def parse_args() -> argparse.Namespace:
    """Read the hyperparameters, which script mode passes as arguments, and the places SageMaker names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200, help="boosting rounds in all")
    parser.add_argument("--checkpoint_every", type=int, default=10, help="rounds between checkpoints")
    parser.add_argument("--max_depth", type=int, default=6)
    parser.add_argument("--eta", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0, help="of the data that is made up where there is no channel")
    parser.add_argument("--model_dir", type=Path, default=os.environ.get("SM_MODEL_DIR", "/opt/ml/model"))
    parser.add_argument("--train", type=Path, default=os.environ.get("SM_CHANNEL_TRAIN"))
    parser.add_argument("--validation", type=Path, default=os.environ.get("SM_CHANNEL_VALIDATION"))
    return parser.parse_args()


def load_channel(folder: Path | None, seed: int) -> xgb.DMatrix:
    """Read every CSV file of a channel, no header and the label first; without a channel, make data up."""
    if folder is not None:
        rows = np.concatenate([np.loadtxt(path, delimiter=",", ndmin=2) for path in sorted(folder.glob("*.csv"))])
        return xgb.DMatrix(rows[:, 1:], label=rows[:, 0])
    features = np.random.default_rng(seed).normal(size=(4000, 20))
    return xgb.DMatrix(features, label=features[:, 0] * features[:, 1] + features[:, 2] > 0)


class Log(xgb.callback.TrainingCallback):
    """Prints a line a round; XGBoost's own lines begin with 0 again at each start."""

    def after_iteration(self, model: xgb.Booster, epoch: int, evals_log: dict) -> bool:
        """Print the last scores; called by XGBoost."""
        scores = [f"{data}-{name}={each[-1]:.6f}" for data, found in evals_log.items() for name, each in found.items()]
        print(f"round={model.num_boosted_rounds()}", *scores, flush=True)
        return False


def main() -> None:
    """Train what is missing, save the model."""
    args = parse_args()
    params = {
        "objective": "binary:logistic",
        "tree_method": "hist",
        "max_depth": args.max_depth,
        "eta": args.eta,
        # One thread adds up in one order: a sum of floats depends on it, and so would the trees.
        "nthread": 1,
    }
    data, validation = load_channel(args.train, args.seed), load_channel(args.validation, args.seed + 1)
    checkpoints = Checkpointer()
    checkpoints.on_sigterm()
    found = checkpoints.latest()
    # The log shows where each start resumes from.
    print(f"FROM {found.step if found else 0}", flush=True)
    booster = train(
        checkpoints,
        params,
        data,
        rounds=args.rounds,
        every=args.checkpoint_every,
        evals=[(validation, "validation")],
        verbose_eval=False,
        callbacks=[Log()],
    )
    args.model_dir.mkdir(parents=True, exist_ok=True)
    booster.save_model(args.model_dir / "model.ubj")
    print(f"trained {booster.num_boosted_rounds()} rounds", flush=True)


if __name__ == "__main__":
    main()
