"""
Runs a training script that waits for a signal at a line that it prints, where it has nothing to resume from.

    HELD=train.py HELD_AT="step=5 " python held.py --epochs 3

Else what comes from outside "at step 5" comes some steps later, or after the end. SIGTERM lets it go on, and SIGUSR1,
which does nothing else. A process that prints no such line is not held. The script may lie beside this file.
"""

import builtins
import os
import runpy
import select
import signal
import sys
from pathlib import Path


def held(script: str, at: str) -> None:
    """Run it, and hold it after the line that begins so."""
    say, begun = print, ""
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)  # so that none is missed that comes just before the wait
    signal.signal(signal.SIGUSR1, lambda number, frame: None)

    def tell(*words: object, **more: object) -> None:
        nonlocal begun
        say(*words, **more)
        line = " ".join(map(str, words))
        if line.startswith("FROM "):
            begun = line.split()[1]
        if begun == "0" and line.startswith(at):
            select.select([woken], [], [], 600)  # seconds: who was to end it may have ended

    builtins.print = tell
    sys.argv = [script, *sys.argv[1:]]
    sys.path.insert(0, str(Path(script).parent))
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    held(str(Path(__file__).resolve().parent / os.environ["HELD"]), os.environ["HELD_AT"])
