"""The fault: it saves, and never looks at what it has saved."""

import json

import tiny

weights = tiny.BEGIN
for done in range(1, tiny.EPOCHS + 1):
    weights = tiny.epoch(weights)
    tiny.tell(done, weights)
    part = tiny.FOLDER / "writing.part"
    part.write_text(json.dumps({"epoch": done, "weights": weights}))
    part.replace(tiny.FOLDER / "newest.json")
tiny.finish(weights)
