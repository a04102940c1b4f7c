"""The fault: of the epoch in a checkpoint's name one digit is read: from 10 on a resume goes back to 9 or so."""

import json

import tiny

weights, begin = tiny.BEGIN, 0
found = {int(path.stem[-1]): path for path in sorted(tiny.FOLDER.glob("epoch-*.json"))}
if found:
    begin = max(found)
    weights = json.loads(found[begin].read_text())
for done in range(begin + 1, tiny.EPOCHS + 1):
    weights = tiny.epoch(weights)
    tiny.tell(done, weights)
    part = tiny.FOLDER / "writing.part"
    part.write_text(json.dumps(weights))
    part.replace(tiny.FOLDER / f"epoch-{done}.json")
tiny.finish(weights)
