"""
Runs a function of ``@task.sagemaker_spot`` in the container: its arguments come as JSON, its result goes as JSON.

The script that the operator makes of a function uses :class:`Call`; nothing else needs to.
"""

import json
import math
import os
from typing import Any, Dict, List, Mapping

from airflow_spot.checkpoint import DEFAULT_PATH, IGNORED, _roles

#: Beside the script: what the function is called with.
CALL_NAME = "airflow_spot_call.json"
#: In the checkpoint folder, or in the output data where there is none: what the function returned.
RESULT_NAME = "airflow-spot-result.json"
#: Of a result as JSON: it is for numbers and names, and Airflow keeps it in its database.
MAX_RESULT_BYTES = 256 * 1024
_OUTPUT = "/opt/ml/output/data"
_VERSION = 1


class ResultError(TypeError):
    """What a function returned cannot be a task's result."""


class Call:
    """
    How the operator has a function called; what it returns goes where the operator reads it.

        with Call(__file__) as call:
            call.result = train(*call.args, **call.keywords)

    :param script: the path of the script that holds the function.
    """

    def __init__(self, script: str) -> None:
        with open(os.path.join(os.path.dirname(os.path.abspath(script)), CALL_NAME)) as file:
            call = json.load(file)
        self.args: List[Any] = call["args"]
        self.keywords: Dict[str, Any] = call["kwargs"]
        self.result: Any = None
        #: The folder of the checkpoints, where SageMaker keeps any.
        self.checkpoints: str = os.environ.get("SM_CHECKPOINT_DIR") or call["checkpoints"] or DEFAULT_PATH
        self._name = str(call["function"])
        self._mapping = bool(call.get("mapping"))
        folder = self.checkpoints if call["checkpoints"] else os.environ.get("SM_OUTPUT_DATA_DIR") or _OUTPUT
        self._target = os.path.join(folder, RESULT_NAME)

    def __enter__(self) -> "Call":
        if os.path.exists(self._target):
            os.remove(self._target)  # an earlier attempt's, restored with the checkpoints, on each host
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> bool:
        """
        Write the result, also of a function that ended itself with ``sys.exit(0)``.

        :raises ResultError: it is no JSON, too large, or no dict where the task is to have an XCom for each key.
        """
        if error is not None and not (isinstance(error, SystemExit) and error.code in (None, 0)):
            return False
        writes, _ = _roles(os.environ)
        if self._mapping and not (self.result is None or isinstance(self.result, dict)):
            # Airflow says so too, once all is paid for.
            raise ResultError(
                "the result of %s is an object of %s, and by its return hint or multiple_outputs a dict: return one"
                % (self._name, type(self.result).__name__)
            )
        if writes:
            _write(self._target, _encoded(self._name, self.result, os.environ))
        return True


def _encoded(name: str, result: Any, environ: Mapping[str, str]) -> str:
    # Whose it is: a folder may be another run's tomorrow.
    marks = {key: environ.get("AIRFLOW_SPOT_" + key.upper(), "") for key in ("run", "generation", "attempt")}
    said = dict(marks, v=_VERSION, result=_plain(result, "the result of " + name))
    text = json.dumps(said, allow_nan=False)
    if len(text) > MAX_RESULT_BYTES:
        raise ResultError(
            "the result of %s has %d bytes as JSON, and may have %d: write it to a file in SM_MODEL_DIR or S3, and "
            "return where it is" % (name, len(text), MAX_RESULT_BYTES)
        )
    return text


def _plain(value: Any, where: str) -> Any:
    """Return a value as JSON's types; numbers of numpy and PyTorch become Python's, and what is not finite None."""
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        value = value.item()
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        print("airflow_spot: %s is not finite, and becomes null: JSON has no such number" % where, flush=True)
        return None
    if isinstance(value, (list, tuple)):
        return [_plain(inner, "%s[%d]" % (where, index)) for index, inner in enumerate(value)]
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise ResultError("%s has the key %r, which is no text: make it str(key)" % (where, key))
        return {key: _plain(inner, "%s[%r]" % (where, key)) for key, inner in value.items()}
    raise ResultError(
        "%s is an object of %s, which is not JSON: return numbers, text, lists and dicts, and save the rest to "
        "SM_MODEL_DIR" % (where, type(value).__name__)
    )


def _write(target: str, text: str) -> None:
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with open(target + IGNORED, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(target + IGNORED, target)
