"""A training script of a user: counts to ``--steps``, 20 a second, and resumes from its checkpoint."""

import argparse
import json
import os
import time
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, required=True)
steps = parser.parse_args().steps
checkpoint = Path("/opt/ml/checkpoints/step")
rows = sum(1 for path in Path(os.environ["SM_CHANNEL_TRAIN"]).iterdir() for _ in path.open())
step = int(checkpoint.read_text()) if checkpoint.exists() else 0
print(f"training on {rows} rows from step {step}", flush=True)
while step < steps:
    time.sleep(0.05)
    step += 1
    part = checkpoint.with_name(".step")
    part.write_text(str(step))
    part.replace(checkpoint)
Path(os.environ["SM_MODEL_DIR"], "model.json").write_text(json.dumps({"steps": step, "rows": rows}))
print(f"trained {step} steps", flush=True)
