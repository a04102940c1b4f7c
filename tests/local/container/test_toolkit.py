"""What AWS's framework containers report of a script that failed."""

from __future__ import annotations

from airflow_spot.local.container.toolkit import ErrorLines, called_process_error, without_command


def reported(output: str) -> str:
    lines = ErrorLines()
    for line in output.splitlines():
        lines.read(line)
    return str(lines)


def test_the_message_begins_with_the_first_line_that_names_an_error_and_has_each_line_once() -> None:
    output = "epoch 1\n  raise ValueError('no')\nValueError: no\nepoch 2\nValueError: no\n"
    assert reported(output) == "raise ValueError('no')\n ValueError: no\n epoch 2"
    assert reported("epoch 1\nepoch 2\n") == ""
    assert reported("usage: train.py [-h]\ntrain.py: error: --epochs").startswith("usage: train.py")


def test_no_more_is_kept_than_a_reason_holds() -> None:
    lines = ErrorLines()
    for number in range(100_000):
        lines.read(f"ValueError: {number}")
    assert 1024 < len(str(lines)) < 10_000


def test_a_kill_that_looks_like_a_lack_of_memory_is_said_to_be_one() -> None:
    reason = called_process_error("ExecuteUserScriptError", 137, "", "python train.py")
    assert '\nExtraInfo "OutOfMemory: Process killed by SIGKILL (signal 9)"\nCommand "python train.py"' in reason


def test_the_arguments_can_be_left_out() -> None:
    reason = called_process_error("ExecuteUserScriptError", 2, "usage", "python train.py --token secret")
    assert without_command(reason) == (
        'AlgorithmError: ExecuteUserScriptError:\nExitCode 2\nErrorMessage "usage"\nCommand "..."'
    )
    assert without_command("AlgorithmError: Exit Code: 1") == "AlgorithmError: Exit Code: 1"
