"""The fault: it deletes nothing, and all that it ever saved is downloaded at each start."""

import json

import tiny


def newest():
    for path in sorted(tiny.FOLDER.glob("epoch-*.json"), reverse=True):
        try:
            return json.loads(path.read_text())
        except ValueError:
            continue
    return {"epoch": 0, "weights": tiny.BEGIN}


state = newest()
weights = state["weights"]
for done in range(state["epoch"] + 1, tiny.EPOCHS + 1):
    weights = tiny.epoch(weights)
    tiny.tell(done, weights)
    part = tiny.FOLDER / "writing.part"
    part.write_text(json.dumps({"epoch": done, "weights": weights, "more": "0" * 100_000}))
    part.replace(tiny.FOLDER / f"epoch-{done:04}.json")
tiny.finish(weights)
