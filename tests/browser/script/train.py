"""
A training to be looked at: counts steps, checkpoints, says how far it is, and prints what nobody is to read.

    --steps 40 --seconds 0.4 --every 5 [--hold FILE] [--steps-a-start 25] [--fail-at 20] [--token TOKEN]

With ``--hold`` the last step waits for that file. With ``--steps-a-start`` a start that has done so many steps waits to
be interrupted: whoever does that may come late, and the next start has steps left all the same. ``--token`` and
``HUB_TOKEN`` of the environment are secrets.
"""

import argparse
import json
import os
import time
from pathlib import Path

from airflow_spot.checkpoint import Checkpointer

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=40)
parser.add_argument("--seconds", type=float, default=0.4)
parser.add_argument("--every", type=int, default=5)
parser.add_argument("--hold", type=Path)
parser.add_argument("--steps-a-start", type=int, default=0)
parser.add_argument("--fail-at", type=int, default=0)
parser.add_argument("--token", default="")
args, _ = parser.parse_known_args()

checkpoints = Checkpointer()
found = checkpoints.load(lambda path: json.loads(Path(path).read_text()))
begun = found.step if found else 0
print(f"begins after step {begun}, with {args.token} and {os.environ.get('HUB_TOKEN')}", flush=True)
for step in range(begun + 1, args.steps + 1):
    time.sleep(args.seconds)
    while args.steps_a_start and step > begun + args.steps_a_start:
        time.sleep(0.1)
    if step == args.fail_at:
        raise ValueError(f"loss is nan at step {step}: token={args.token} HUB_TOKEN={os.environ.get('HUB_TOKEN')}")
    while step == args.steps and args.hold is not None and not args.hold.exists():
        time.sleep(0.1)
    if checkpoints.due(step, every=args.every):
        checkpoints.save(step, lambda path, step=step: Path(path).write_text(json.dumps(step)))
    loss = round(2.0 / (1 + step), 4)
    checkpoints.progress(step, args.steps, {"loss": loss})
    print(f"step {step}, loss {loss}", flush=True)

model = Path(os.environ["SM_MODEL_DIR"])
model.mkdir(parents=True, exist_ok=True)
(model / "model.json").write_text(json.dumps({"steps": args.steps}))
