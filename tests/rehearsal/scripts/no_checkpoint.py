"""The fault: it saves nothing while it trains."""

import tiny

weights = tiny.BEGIN
for done in range(1, tiny.EPOCHS + 1):
    weights = tiny.epoch(weights)
    tiny.tell(done, weights)
tiny.finish(weights)
