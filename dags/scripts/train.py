"""SageMaker training script (script mode): XGBoost on digits, safe to interrupt at any moment.

A checkpoint is written every few rounds; a restart resumes from the newest one that is whole. The model
after any number of interruptions is the model without them, tree by tree: no rows or columns are sampled,
because the state of XGBoost's random generator is not part of what it saves.

Nothing here is particular to Airflow, and nothing needs a warning: a spot instance may go without SIGTERM.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import signal
import sys
import threading
from pathlib import Path

import numpy as np
import xgboost as xgb

MODEL_FILE = "model.ubj"
# The digest in the name tells a whole checkpoint from one that was cut or damaged on its way to S3 and back.
CHECKPOINT_NAME = re.compile(r"^round-(?P<round>\d{6})-(?P<digest>[0-9a-f]{16})\.ubj$")


class Checkpoints:
    """The newest few states of a training in one folder, which SageMaker copies to S3 and back.

    :param folder: where they are; made if it is not there.
    :param keep: how many of the newest stay, at least 1.
    """

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder = folder
        self.keep = max(keep, 1)
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob(".*.tmp"):
            leftover.unlink()

    def save(self, booster: xgb.Booster) -> None:
        """Write the booster so that a reader sees all of it or nothing, then drop the oldest."""
        state = bytes(booster.save_raw("ubj"))
        done = booster.num_boosted_rounds()
        name = f"round-{done:06d}-{hashlib.sha256(state).hexdigest()[:16]}.ubj"
        temporary = self.folder / f".{name}.tmp"
        with temporary.open("wb") as file:
            file.write(state)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.folder / name)
        print(f"checkpoint_round={done} file={name}", flush=True)
        for old in self._newest_first()[self.keep :]:
            old.unlink()

    def load_newest(self, params: dict[str, object]) -> xgb.Booster | None:
        """Return the newest booster that is whole, or None if there is none."""
        for path in self._newest_first():
            state = path.read_bytes()
            if hashlib.sha256(state).hexdigest()[:16] == path.stem.rsplit("-", 1)[1]:
                return xgb.Booster(params=params, model_file=bytearray(state))
            print(f"skipped checkpoint {path.name}: its content is not what was written", flush=True)
        return None

    def _newest_first(self) -> list[Path]:
        # The round is zero-padded, so that names sort by age.
        return sorted((p for p in self.folder.iterdir() if CHECKPOINT_NAME.match(p.name)), reverse=True)


def parse_args() -> argparse.Namespace:
    """Read the hyperparameters, which script mode passes as arguments, and the places SageMaker names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60, help="boosting rounds in all")
    parser.add_argument("--checkpoint_every", type=int, default=5, help="rounds between checkpoints")
    parser.add_argument("--keep_checkpoints", type=int, default=2)
    parser.add_argument(
        "--folder_per_job",
        type=int,
        default=0,
        help="1: checkpoints in a folder of the job's name; for SageMaker's tuner, whose jobs train different models",
    )
    parser.add_argument("--max_depth", type=int, default=4)
    parser.add_argument("--eta", type=float, default=0.3)
    parser.add_argument("--seconds_per_round", type=float, default=0.0, help="slows a demo down to be watched")
    parser.add_argument("--model_dir", type=Path, default=os.environ.get("SM_MODEL_DIR", "/opt/ml/model"))
    parser.add_argument("--train", type=Path, default=os.environ.get("SM_CHANNEL_TRAIN"))
    parser.add_argument("--validation", type=Path, default=os.environ.get("SM_CHANNEL_VALIDATION"))
    parser.add_argument(
        "--checkpoint_dir", type=Path, default=os.environ.get("SM_CHECKPOINT_DIR", "/opt/ml/checkpoints")
    )
    return parser.parse_args()


def load_channel(folder: Path) -> xgb.DMatrix:
    """Read every CSV file of a channel: no header, the label first."""
    rows = np.concatenate([np.loadtxt(path, delimiter=",", ndmin=2) for path in sorted(folder.glob("*.csv"))])
    return xgb.DMatrix(rows[:, 1:], label=rows[:, 0])


def train(args: argparse.Namespace, checkpoints: Checkpoints, stop: threading.Event) -> xgb.Booster:
    """Boost up to ``args.rounds`` rounds, from the newest checkpoint on; exits if asked to stop."""
    params: dict[str, object] = {
        "objective": "multi:softprob",
        "num_class": 10,
        "eval_metric": "mlogloss",
        "tree_method": "hist",
        "max_depth": args.max_depth,
        "eta": args.eta,
        # One thread adds up in one order: a sum of floats depends on it, and so would the trees.
        "nthread": 1,
    }
    data = load_channel(args.train)
    watched = [(load_channel(args.validation), "validation")] if args.validation else []
    booster = checkpoints.load_newest(params) or xgb.Booster(params, [data])
    start = booster.num_boosted_rounds()
    print(f"resume_from_round={start}", flush=True)

    for index in range(start, args.rounds):
        booster.update(data, iteration=index)
        done = index + 1
        scores = booster.eval_set(watched, iteration=index).split("\t")[1:]
        print(f"round={done}", *scores, flush=True)
        if done % args.checkpoint_every == 0 or done == args.rounds:
            checkpoints.save(booster)
        if stop.wait(args.seconds_per_round) and done < args.rounds:
            if done % args.checkpoint_every:
                checkpoints.save(booster)
            print(f"stopped_at_round={done}", flush=True)
            sys.exit(128 + signal.SIGTERM)
    if watched:
        # A start that finds all rounds trained prints no other score, and a sweep compares the last.
        print("final", *booster.eval_set(watched, iteration=args.rounds - 1).split("\t")[1:], flush=True)
    return booster


def save_model(booster: xgb.Booster, model_dir: Path) -> None:
    """Write what SageMaker packs as model.tar.gz: the model, and the code that serves it."""
    model_dir.mkdir(parents=True, exist_ok=True)
    booster.save_model(model_dir / MODEL_FILE)
    serving = Path(__file__).resolve().with_name("inference.py")
    if serving.exists():
        (model_dir / "code").mkdir(exist_ok=True)
        shutil.copy(serving, model_dir / "code" / serving.name)


def main() -> None:
    """Train, checkpoint, save."""
    args = parse_args()
    stop = threading.Event()
    # A courtesy only: with a warning the last rounds are kept too, without one they are trained again.
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    folder = args.checkpoint_dir / os.environ["TRAINING_JOB_NAME"] if args.folder_per_job else args.checkpoint_dir
    booster = train(args, Checkpoints(folder, args.keep_checkpoints), stop)
    save_model(booster, args.model_dir)
    print(f"trained_rounds={booster.num_boosted_rounds()}", flush=True)


if __name__ == "__main__":
    main()
