"""
A training script for the tests: counts steps, each of which takes a while, and checkpoints after every one.

    --steps 20 --seconds 0.1 [--fail-at 7] [--exit-code 3] [--fail-once-at 7] [--hold-at 6] [--at-a-time 5]
        [--release FILE]

With ``--fail-once-at`` a start without a checkpoint fails there. With ``--hold-at`` one trains so far, and then waits
for whoever ends it. With ``--at-a-time`` each start trains so many steps, and then waits for whoever ends it, but for
the one that comes to the last step. With ``--release`` the last step is followed by a wait for that file. With
``--forget 1`` nothing is written as a checkpoint, and with ``--blind 1`` none is read.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=5)
parser.add_argument("--seconds", type=float, default=0.05)
parser.add_argument("--fail-at", type=int, default=0)
parser.add_argument("--exit-code", type=int, default=1)
parser.add_argument("--fail-once-at", type=int, default=0)
parser.add_argument("--hold-at", type=int, default=0)
parser.add_argument("--release", type=Path)
parser.add_argument("--at-a-time", type=int, default=0)
parser.add_argument("--forget", type=int, default=0)
parser.add_argument("--blind", type=int, default=0)
args, _ = parser.parse_known_args()

checkpoints = Path(os.environ.get("SM_CHECKPOINT_DIR") or "/opt/ml/checkpoints")
state = checkpoints / "step.json"
done = json.loads(state.read_text())["step"] if state.exists() and not args.blind else 0
print(f"starting after step {done}", flush=True)
for step in range(done + 1, args.steps + 1):
    time.sleep(args.seconds)
    if step == args.fail_at or (step == args.fail_once_at and done == 0):
        print("something is about to go wrong", flush=True)
        sys.exit(args.exit_code)
    if not args.forget:
        checkpoints.mkdir(parents=True, exist_ok=True)
        new = checkpoints / "new.sagemaker-ignore"  # half of a checkpoint is none: it does not go to S3
        new.write_text(json.dumps({"step": step}))
        new.replace(state)
    print(f"step {step}", flush=True)
    while (step == args.hold_at and done == 0) or (step == done + args.at_a_time and step < args.steps):
        time.sleep(1)

while args.release is not None and not args.release.exists():
    time.sleep(0.2)

model = Path(os.environ["SM_MODEL_DIR"])
model.mkdir(parents=True, exist_ok=True)
(model / "model.json").write_text(json.dumps({"steps": args.steps}))
print("trained", flush=True)
