"""``python FOLDER RELEASE train`` or ``serve``: what an image's entrypoint is on AWS."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    # Python has put this folder first, whose modules would be in the way of others of their names. Its own parent has
    # nothing but such folders.
    sys.path[0] = str(here.parent)
    release, action = sys.argv[1:3]
    major, minor = release.split(".")
    importlib.import_module(f"{here.name}.{action}").main((int(major), int(minor)))
