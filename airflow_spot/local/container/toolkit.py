"""How AWS's framework containers report a script that has failed.

The containers (PyTorch, TensorFlow, XGBoost, ... in script mode) run the script by the toolkit ``sagemaker-training``,
which writes one text to ``/opt/ml/output/failure`` and ends with 1, whatever the script ended with [S, T]. So the
script's own code is in front, and SageMaker's ``exit code: 1`` at the end says nothing about it.
"""

from __future__ import annotations

import builtins

EXIT_CODE = 1
"""Of the toolkit, for every script that failed."""

KILLED = 137
ERROR_CHARACTERS = 4000
"""More than a FailureReason holds."""

_ERRORS = tuple(name for name, value in vars(builtins).items() if isinstance(value, type) and name.endswith("Error"))
_BEGINNINGS = (*_ERRORS, "usage:")


class ErrorLines:
    """Keeps what a script's output says of its error: from the first line that names one on, each line once.

    The toolkit looks for Python's own errors [S]; argparse's usage is in recorded texts too [T].
    """

    def __init__(self) -> None:
        self._lines: dict[str, None] = {}
        self._length = 0

    def read(self, line: str) -> None:
        """Take the next line of the output."""
        if self._length < ERROR_CHARACTERS and (self._lines or any(name in line for name in _BEGINNINGS)):
            self._lines[line.strip(" :")] = None
            self._length += len(line) + 1

    def __str__(self) -> str:
        return "\n ".join(self._lines).strip()


def called_process_error(kind: str, code: int, output: str, command: str) -> str:
    """Return the FailureReason of a command of the toolkit that has failed; SageMaker cuts it at its end.

    :param kind: ``ExecuteUserScriptError`` or ``InstallRequirementsError``.
    :param code: the command's own, negative for a signal.
    :param output: what it said of its error.
    :param command: with its arguments, among which are hyperparameters.
    """
    extra = '\nExtraInfo "OutOfMemory: Process killed by SIGKILL (signal 9)"' if code == KILLED else ""
    return (
        f'AlgorithmError: {kind}:\nExitCode {code}\nErrorMessage "{output}"{extra}\nCommand "{command}", '
        f"exit code: {EXIT_CODE}"
    )


def without_command(reason: str) -> str:
    """Return a FailureReason without the command's arguments, for where hyperparameters are not shown."""
    begin, command, _ = reason.partition('\nCommand "')
    return f'{begin}{command}..."' if command else reason
