"""The fault: the newest file of the folder is its checkpoint, whatever its name."""

import json
import time

import tiny


def newest():
    files = [path for path in tiny.FOLDER.iterdir() if path.name != "writing.part"]
    return max(files, key=lambda path: path.stat().st_mtime_ns) if files else None


path = newest()
state = json.loads(path.read_text()) if path else {"epoch": 0, "weights": tiny.BEGIN}
weights = state["weights"]
for done in range(state["epoch"] + 1, tiny.EPOCHS + 1):
    weights = tiny.epoch(weights)
    tiny.tell(done, weights)
    part = tiny.FOLDER / "writing.part"
    part.write_text(json.dumps({"epoch": done, "weights": weights}))
    part.replace(tiny.FOLDER / f"epoch-{done:04}.json")
    for old in sorted(tiny.FOLDER.glob("epoch-*.json"))[:-2]:
        old.unlink()
# As early stopping does, which puts back what was best, after a last evaluation.
time.sleep(0.6)
weights = json.loads(newest().read_text())["weights"]
tiny.finish(weights)
