"""
A training script whose every step leaves a checkpoint that tells all steps before it.

    --steps 20 [--seconds 0.15]
"""

import argparse
import json
import os
import time
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=5)
parser.add_argument("--seconds", type=float, default=0.15)
args, _ = parser.parse_known_args()

checkpoints = Path(os.environ.get("SM_CHECKPOINT_DIR") or "/opt/ml/checkpoints")
checkpoints.mkdir(parents=True, exist_ok=True)
found = sorted(checkpoints.glob("step-*.json"))
chain = json.loads(found[-1].read_text()) if found else []
print(f"starting after step {len(chain)}", flush=True)
for step in range(len(chain) + 1, args.steps + 1):
    time.sleep(args.seconds)
    chain.append(step)
    new = checkpoints / ".new"
    new.write_text(json.dumps(chain))
    new.replace(checkpoints / f"step-{step:05d}.json")
    print(f"step {step}", flush=True)

model = Path(os.environ["SM_MODEL_DIR"])
model.mkdir(parents=True, exist_ok=True)
(model / "model.json").write_text(json.dumps({"chain": chain}))
