"""
A training script of a user: counts to ``--steps``, 50 a second, and resumes from its checkpoint.

With ``--hold-at`` a start without a checkpoint trains so far, and then waits for whoever ends it.
"""

import argparse
import json
import os
import time
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, required=True)
parser.add_argument("--hold-at", type=int, default=0)
args = parser.parse_args()
checkpoint = Path("/opt/ml/checkpoints/step")
rows = sum(1 for path in Path(os.environ["SM_CHANNEL_TRAIN"]).iterdir() for _ in path.open())
step = begun = int(checkpoint.read_text()) if checkpoint.exists() else 0
print(f"training on {rows} rows from step {step}", flush=True)
while step < args.steps:
    time.sleep(0.02)
    step += 1
    part = checkpoint.with_name("new.sagemaker-ignore")
    part.write_text(str(step))
    part.replace(checkpoint)
    while step == args.hold_at and begun == 0:
        time.sleep(0.1)
Path(os.environ["SM_MODEL_DIR"], "model.json").write_text(json.dumps({"steps": step, "rows": rows}))
print(f"trained {step} steps", flush=True)
