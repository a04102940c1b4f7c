"""Why a job failed, in the script's own words, and none of its hyperparameters' and environment's values."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_spot.core.attempt import Attempt
from airflow_spot.core.events import Transitioned
from airflow_spot.core.log_messages import attempt_line
from airflow_spot.core.outcomes import Outcome
from airflow_spot.core.result import without_secrets
from airflow_spot.core.secrets.redaction import redact, redact_description
from airflow_spot.watch.observe import read
from tests.core.cases import NOW, description


def said(text: str, hyperparameters: dict[str, str], **environment: str) -> str:
    """What is told of a text about a job."""
    return redact(text, {"HyperParameters": hyperparameters, "Environment": environment})


# As SageMaker's framework containers write it.
REASON = (
    'AlgorithmError: ExecuteUserScriptError:\nExitCode 3\nErrorMessage "ValueError: no such user: s3cr3t"\n'
    'Command "/opt/conda/bin/python3.8 train.py --lr 0.1 -n 7 --password hunter2", exit code: 3'
)
JOB = {
    "HyperParameters": {
        "lr": "0.1",
        "n": "7",
        "password": '"hunter2"',
        "sagemaker_program": '"train.py"',
        "sagemaker_region": '"us-east-1"',
    },
    "Environment": {"TOKEN": "s3cr3t", "AIRFLOW_SPOT_TRY": "3 5"},
}


def test_a_command_line_is_told_without_its_values() -> None:
    assert redact(REASON, JOB) == (
        'AlgorithmError: ExecuteUserScriptError:\nExitCode 3\nErrorMessage "ValueError: no such user: ***"\n'
        'Command "/opt/conda/bin/python3.8 train.py --lr *** -n *** --password ***", exit code: 3'
    )


@pytest.mark.parametrize(
    ("hyperparameters", "text", "told"),
    [
        # Short ones and small numbers: where they stand as values only.
        ({"lr": "1"}, "line 1 of train.py --lr 1", "line 1 of train.py --lr ***"),
        ({"lr": "1"}, "lr=1: bad", "lr=***: bad"),
        ({"lr": "1"}, "bad value '1', exit code: 1", "bad value '***', exit code: 1"),
        ({"a": "b"}, "Value '{a=b, c=d}' at 'hyperParameters'", "Value '{a=***, c=d}' at 'hyperParameters'"),
        ({"pin": "1234"}, "PIN 1234, not 12345", "PIN ***, not 12345"),
        # Decoded as the containers do it.
        ({"name": '"ab cd"'}, "no ab cd here", "no *** here"),
        ({"names": '["alice", "bob"]'}, "--names ['alice', 'bob'] --x", "--names *** --x"),
        ({"names": '["alice", "bob"]'}, "who is alice?", "who is ***?"),
        ({"map": '{"user": {"key": "hunter2"}}'}, "got hunter2", "got ***"),
        ({"text": 'say "yes"'}, r'"ErrorMessage: say \"yes\""', '"ErrorMessage: ***"'),
        ({"key": "-----BEGIN\nMIIEabcd\n-----END"}, "at MIIEabcd", "at ***"),
        # Inside a longer word, where it is long enough to be no other word.
        ({"key": "hunter2secret"}, "xhunter2secretx", "x***x"),
        ({"key": "tree"}, "trees of a tree", "trees of a ***"),
        # Where its name, not its value, is another's, and where there is none.
        ({"lr": "0.1", "verbose": "True"}, "--verbose --lr 0.1", "--verbose --lr ***"),
        ({"lr": "0.1"}, "--lr-decay 5 --lr", "--lr-decay 5 --lr"),
        ({"lr": "-5"}, "--lr -5 --x 1", "--lr *** --x 1"),
        ({"lr": ""}, "--lr  --x 1", "--lr  --x 1"),
        # As JSON, as Python and as the variables of AWS's containers have it.
        ({"lr": "1"}, """{"lr": 1, "n": 1} {'lr': 1}""", """{"lr": ***, "n": 1} {'lr': ***}"""),
        ({"lr": "1"}, 'SM_HP_LR=1 SM_USER_ARGS=["--lr","1"]', 'SM_HP_LR=*** SM_USER_ARGS=["--lr","***"]'),
        ({"batch-size": "32"}, "Namespace(batch_size=32)", "Namespace(batch_size=***)"),
        ({"map": '{"pin": 12}'}, '"pin": 12, "pins": 12', '"pin": ***, "pins": 12'),
        # JSON's constants are no secrets but where they are a value.
        ({"fast": "true"}, "it is true: --fast true", "it is true: --fast ***"),
        # However it is written: see test_masking.
        ({"key": "a/b+c d"}, "?key=a%2Fb%2Bc+d", "?key=***"),
        # A longer value goes before one that is a part of it.
        ({"a": "secret", "b": "secret-more"}, "secret-more", "***"),
    ],
)
def test_what_is_hidden_and_what_stays(hyperparameters: dict[str, str], text: str, told: str) -> None:
    assert said(text, hyperparameters) == told


def test_a_command_line_of_the_image_is_told_without_its_values() -> None:
    algorithm = {
        "ContainerEntrypoint": ["python3", "t.py", "--pw", "abc1"],
        "ContainerArguments": ["--n=7", "tok-1234"],
    }
    told = redact("python3 t.py --pw abc1 --n=7 tok-1234", {"AlgorithmSpecification": algorithm})
    assert told == "python3 t.py --pw *** --n=*** ***"


@pytest.mark.parametrize("end", ["", '", exit code: 1', ", exit code: 1"])
def test_a_value_that_was_cut_off_is_hidden(end: str) -> None:
    value = "a very long secret"
    behind = f"{'x ' * 500}--prompt a very long sec{end}"
    assert "very" not in said(behind, {"prompt": value})
    assert said(f"{'x ' * 500}a very long sec{end}", {"prompt": value}).endswith(f"***{end}")


values = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=4, max_size=20)


@given(
    st.dictionaries(st.from_regex(r"[a-z]{2,9}", fullmatch=True), values, min_size=1, max_size=5), st.integers(0, 255)
)
def test_no_value_is_told_and_the_exit_code_is(hyperparameters: dict[str, str], code: int) -> None:
    line = " ".join(f"--{name} {shlex.quote(value)}" for name, value in hyperparameters.items())
    reason = (
        f'AlgorithmError: ExecuteUserScriptError:\nExitCode {code}\nErrorMessage "{json.dumps(hyperparameters)}"\n'
        f'Command "python3 t.py {line}", exit code: {code}'
    )
    attempt = Attempt.from_description(
        description(TrainingJobStatus="Failed", FailureReason=reason, HyperParameters=hyperparameters), {}
    )
    assert redact(reason, {}) == reason
    assert (attempt.exit_code, attempt.outcome) == (code, Outcome.SCRIPT_ERROR)
    plain = "AlgorithmError: ExecuteUserScriptError: ExitCode ErrorMessage Command python3 t.py exit code"
    for value in hyperparameters.values():
        if value not in plain and value not in "--".join(hyperparameters):
            assert value not in attempt.failure_reason.replace("***", "\0")


def test_a_script_may_be_named_as_classes_of_errors_are() -> None:
    """How the job ended is read before anything is hidden."""
    hyperparameters = {"on": "AlgorithmError", "code": "exit code: 3"}
    job = description(TrainingJobStatus="Failed", FailureReason=REASON, HyperParameters=hyperparameters)
    attempt = Attempt.from_description(job, {})
    assert (attempt.outcome, attempt.exit_code) == (Outcome.SCRIPT_ERROR, 3)


def test_all_that_tells_of_a_failed_job_is_clean() -> None:
    transitions = [
        {"Status": "Training", "StatusMessage": "Training image download completed", "StartTime": NOW},
        {"Status": "Failed", "StatusMessage": REASON, "StartTime": NOW},
    ]
    job: dict[str, Any] = description(
        TrainingJobStatus="Failed", FailureReason=REASON, SecondaryStatusTransitions=transitions, **JOB
    )
    job["HyperParameters"]["stage"] = "download"
    attempt = Attempt.from_description(job, {})
    lines = [
        attempt_line(attempt),
        attempt.failure_reason,
        json.dumps(without_secrets(job)),
        *(str(Transitioned.of("job", "job", each)) for each in read(job, 0).new),
        json.dumps(redact_description(job)["SecondaryStatusTransitions"], default=str),
    ]
    assert "hunter2" not in "".join(lines)
    assert "s3cr3t" not in "".join(lines)
    assert "ExitCode 3" in attempt.failure_reason
    # SageMaker's own words stay.
    assert "image download completed" in lines[3]
