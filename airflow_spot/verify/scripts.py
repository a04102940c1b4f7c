"""
What the jobs run: Python without packages, given as arguments, so that any image with a ``python3`` will do.

Each script leaves what it saw in the model folder, whose archive is read afterwards, or in the checkpoint folder.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping

#: ContainerArguments has at most 100 items of 256 characters. Source: botocore's model.
_ARGUMENT = 256
_ARGUMENTS = 100
_LOADER = "import base64,sys;exec(base64.b64decode(''.join(sys.argv[1:])))"

#: Variables of a job that tell its script how long things take.
SECONDS = "VERIFY_SECONDS"
TICK = "VERIFY_TICK"

_PRELUDE = """\
import json, os, signal, sys, time
CHECKPOINTS = os.environ.get("SM_CHECKPOINT_DIR", "/opt/ml/checkpoints")
MODEL = os.environ.get("SM_MODEL_DIR", "/opt/ml/model")
OUTPUT = os.environ.get("SM_OUTPUT_DIR", "/opt/ml/output")
SECONDS = float(os.environ.get("VERIFY_SECONDS", "1"))
TICK = float(os.environ.get("VERIFY_TICK", "1"))
BEGUN = time.time()

def save(folder, name, value):
    path = os.path.join(folder, name)
    with open(path + ".tmp", "w") as file:
        json.dump(value, file)
    os.replace(path + ".tmp", path)

def names(folder):
    return sorted(
        os.path.relpath(os.path.join(where, name), folder) for where, _, files in os.walk(folder) for name in files
    )

# The first process of a container ignores SIGTERM unless it handles it: without this each stop would take two minutes.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
"""

#: Trains for a while and ends well.
TRAIN = """\
save(MODEL, "seen.json", {"cwd": os.getcwd()})
while time.time() < BEGUN + SECONDS:
    time.sleep(0.2)
"""

#: Goes on after SIGTERM until SIGKILL, and writes down how long that is.
OUTLIVE_SIGTERM = """\
told = []
signal.signal(signal.SIGTERM, lambda *_: told.append(time.time()))
while time.time() < BEGUN + SECONDS + 600:
    seen = {"sigterm": bool(told), "grace": time.time() - told[0] if told else 0.0}
    save(MODEL, "seen.json", seen)
    save(CHECKPOINTS, "seen.json", seen)
    time.sleep(TICK)
"""

#: Watches what appears beside its checkpoints. ``kept`` is written again and again, since what appears while it is
#: uploaded may be there for a moment only; ``gone`` is deleted once it had time to be uploaded.
MARKERS = """\
def write(name):
    with open(os.path.join(CHECKPOINTS, name), "wb") as file:
        file.write(b"0" * 4000000)

for name in ("kept", "gone", "skipped.sagemaker-ignore"):
    write(name)
seen = set()
written = 1
while time.time() < BEGUN + SECONDS:
    seen.update(names(CHECKPOINTS))
    if time.time() > BEGUN + SECONDS * written / 16:
        write("kept")
        written += 1
    if time.time() > BEGUN + SECONDS / 2 and os.path.exists(os.path.join(CHECKPOINTS, "gone")):
        os.remove(os.path.join(CHECKPOINTS, "gone"))
    time.sleep(0.004)
save(MODEL, "seen.json", {"names": sorted(seen)})
"""

#: Says what it found in its checkpoint folder, adds to it, and trains for a while.
RESTORE = """\
found = names(CHECKPOINTS) if os.path.isdir(CHECKPOINTS) else []
text = ""
if "step" in found:
    with open(os.path.join(CHECKPOINTS, "step")) as file:
        text = file.read()
save(MODEL, "seen.json", {"found": found, "step": text})
if not text:
    os.makedirs(os.path.join(CHECKPOINTS, "deep"), exist_ok=True)
    for name, content in (("step", "17"), ("deep/other", "x")):
        with open(os.path.join(CHECKPOINTS, name), "w") as file:
            file.write(content)
while time.time() < BEGUN + SECONDS:
    time.sleep(0.2)
"""

#: One file for each start, with what it found and whether it was told to end; never ends by itself.
SURVIVE = """\
number = len([name for name in names(CHECKPOINTS) if name.startswith("start-") and name.endswith(".json")])
found = names(CHECKPOINTS)
told = []
signal.signal(signal.SIGTERM, lambda *_: told.append(time.time()))
while True:
    grace = time.time() - told[0] if told else 0.0
    save(CHECKPOINTS, "start-%d.json" % number, {"found": found, "sigterm": bool(told), "grace": grace})
    time.sleep(TICK)
"""

EXIT_42 = """\
save(MODEL, "seen.json", {})
sys.exit(42)
"""

FAILURE_FILE = """\
with open(os.path.join(OUTPUT, "failure"), "w") as file:
    file.write("verify-aws: on purpose")
sys.exit(42)
"""

#: The kernel's own SIGSEGV ends the first process of a container too; one that it sends itself would not.
CRASH = """\
import ctypes
ctypes.string_at(0)
"""

#: In script mode: AWS's training toolkit runs it.
TOOLKIT_EXIT_42 = "import sys\nsys.exit(42)\n"


def command(script: str) -> Mapping[str, list[str]]:
    """
    Return the members of AlgorithmSpecification that run a script.

    :raises ValueError: the script does not fit.
    """
    text = base64.b64encode((_PRELUDE + script).encode()).decode()
    pieces = [text[start : start + _ARGUMENT] for start in range(0, len(text), _ARGUMENT)]
    if len(pieces) > _ARGUMENTS:
        raise ValueError(f"the script is too long: {len(pieces)} arguments")
    return {"ContainerEntrypoint": ["python3", "-c", _LOADER], "ContainerArguments": pieces}
