"""What a job prints, without the values of its hyperparameters, environment and arguments, and what stays of it."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_spot.core.secrets.folding import fold
from airflow_spot.core.secrets.masking import Mask, MaskedLines
from airflow_spot.core.secrets.secret_values import PLAIN_WORDS
from tests.core.secrets.test_folding import CHARACTERS, WAYS

# As SageMaker's SDK sends them, JSON-encoded, or as text.
JOB: dict[str, Any] = {
    "HyperParameters": {
        "epochs": "10",
        "lr": "0.1",
        "eps": "0.00001",
        "optimizer": '"adam"',
        "password": '"hunter2"',
        "use-cuda": "true",
        "layers": "[64, 32]",
        "map": '{"user": {"pin": 12, "key": "s3cr3t-key"}}',
        "sagemaker_program": '"train.py"',
    },
    "Environment": {"TOKEN": "t0k/en+1", "LOG_LEVEL": "INFO", "AIRFLOW_SPOT_TRY": "1 2"},
    "AlgorithmSpecification": {
        "ContainerEntrypoint": ["/bin/bash", "-c", "PW=pa55word python3 train.py --salt 'a salt'"],
        "ContainerArguments": ["train", "--api-key", "k3y", "--seed=4711", "-v"],
    },
    "InputDataConfig": [
        {"DataSource": {"S3DataSource": {"S3Uri": "https://me:passw0rd@host/x?X-Amz-Signature=abcdef01"}}}
    ],
}


def printed(*lines: str, job: dict[str, Any] | None = None) -> list[str]:
    """What is told of lines, read at once."""
    return MaskedLines(Mask.of(JOB if job is None else job)).hide(lines)


def hyperparameters(**values: str) -> dict[str, Any]:
    return {"HyperParameters": values}


# As AWS's framework containers print it before the script starts.
STARTUP = """2026-01-02 03:04:05,678 sagemaker-training-toolkit INFO     Invoking user script
Training Env:

{
    "additional_framework_parameters": {},
    "hyperparameters": {
        "epochs": 10,
        "eps": 1e-05,
        "layers": [
            64,
            32
        ],
        "lr": 0.1,
        "map": {
            "user": {
                "key": "s3cr3t-key",
                "pin": 12
            }
        },
        "optimizer": "adam",
        "password": "hunter2",
        "use-cuda": true
    },
    "job_name": "digits-afspot-abcdefghij-1-1",
    "num_cpus": 10
}
SM_HPS={"epochs":10,"eps":1e-05,"layers":[64,32],"lr":0.1,"map":{"user":{"key":"s3cr3t-key","pin":12}}}
SM_USER_ENTRY_POINT=train.py
SM_FRAMEWORK_PARAMS={"sagemaker_program":"train.py"}
SM_USER_ARGS=["--epochs","10","--eps","1e-05","--optimizer","adam","--password","hunter2","--use-cuda","True"]
SM_HP_EPOCHS=10
SM_HP_PASSWORD=hunter2
SM_HP_USE-CUDA=true
SM_HP_LAYERS=[64,32]
Invoking script with the following command:

/usr/bin/python3 train.py --epochs 10 --eps 1e-05 --layers [64, 32] --password hunter2 --use-cuda True
Namespace(epochs=10, lr=0.1, use_cuda=True, password='hunter2')
"""
TOLD = """2026-01-02 03:04:05,678 sagemaker-training-toolkit INFO     Invoking user script
Training Env:

{
    "additional_framework_parameters": {},
    "hyperparameters": {
        "epochs": ***,
        "eps": ***,
        "layers": ***
            ***
            ***
        ***,
        "lr": ***,
        "map": {
            "user": {
                "key": "***",
                "pin": ***
            }
        },
        "optimizer": ***,
        "password": ***,
        "use-cuda": ***
    },
    "job_name": "digits-afspot-abcdefghij-1-1",
    "num_cpus": 10
}
SM_HPS={"epochs":***,"eps":***,"layers":***,"lr":***,"map":{"user":{"key":"***","pin":***}}}
SM_USER_ENTRY_POINT=train.py
SM_FRAMEWORK_PARAMS={"sagemaker_program":"train.py"}
SM_USER_ARGS=["--epochs","***","--eps","***","--optimizer",***,"--password",***,"--use-cuda","***"]
SM_HP_EPOCHS=***
SM_HP_PASSWORD=***
SM_HP_USE-CUDA=***
SM_HP_LAYERS=***
Invoking script with the following command:

/usr/bin/python3 train.py --epochs *** --eps *** --layers *** --password *** --use-cuda ***
Namespace(epochs=***, lr=***, use_cuda=***, password='***')
"""


def test_what_awss_containers_print_at_a_start_is_told_without_values() -> None:
    assert printed(*STARTUP.split("\n")) == TOLD.split("\n")


def test_each_line_alone_is_told_without_values_too() -> None:
    """As they come where a log is read line by line."""
    lines = MaskedLines(Mask.of(JOB))
    told = [line for each in STARTUP.split("\n") for line in lines.hide([each])]
    same = [line for line in TOLD.split("\n") if "layers" not in line and line.strip() != "***" and "user" not in line]
    assert set(same) <= set(told)
    assert not [line for line in told if "hunter2" in line or "s3cr3t" in line or "adam" in line]


def test_what_a_script_says_of_its_progress_stays() -> None:
    lines = [
        "step 3 of 10, loss 0.12",
        "[2026-01-02 03:04:05] INFO train: epoch 10/10, loss=0.1000, lr 0.1",
        "100%|##########| 10/10 [00:07<00:00, 0.1s/it]",
        '{"step": 10, "loss": 0.1, "done": true, "mode": "train"}',
        "Epoch 1: adamant hunters, WARNING & ERROR",
        '  File "/opt/ml/code/train.py", line 10, in <module>',
        "C:\\temp\\new 5% & 10%",
        "",
    ]
    assert printed(*lines) == lines


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("PW=pa55word python3 train.py --salt 'a salt'", "***"),
        ("train.py --salt 'a salt' --api-key k3y --seed 4711", "train.py --salt *** --api-key *** --seed ***"),
        ("the salt is a salt", "the salt is ***"),
        (
            "GET https://me:passw0rd@host/x?X-Amz-Signature=abcdef01 failed",
            "GET https://me:***@host/x?X-Amz-Signature=*** failed",
        ),
        ("token=t0k%2Fen%2B1&page=2", "token=***&page=2"),
        (r'{"line": "password: \"hunter2\"\nnext"}', r'{"line": "password: ***\nnext"}'),
        ("<td>hunter2</td><td>&quot;hunter2&quot;</td>", "<td>***</td><td>&quot;***&quot;</td>"),
        ("lr: 0.1, epochs = 10, seed: 4711, seeds: 47110", "lr: ***, epochs = ***, seed: ***, seeds: 47110"),
        ("\\hunter2\\night", "\\***\\night"),
    ],
)
def test_what_is_hidden_in_a_line(line: str, told: str) -> None:
    assert printed(line) == [told]


def test_a_value_of_several_lines_is_hidden_line_by_line() -> None:
    key = "-----BEGIN KEY-----\nMIIEabcdefgh\nijklmnop\n-----END KEY-----"
    job = hyperparameters(key=key)
    assert printed("using", *key.split("\n"), "loaded", job=job) == ["using", *["***"] * 4, "loaded"]
    assert printed("at ijklmnop", repr(key), job=job) == ["at ***", "'***'"]


def test_a_value_that_was_wrapped_is_hidden() -> None:
    """By whoever splits long lines, at any place; by a printer at its white space, indented."""
    job = hyperparameters(token="abcdefghijklmnopqrstuvwxyz", name="one two three")
    assert printed("the token abcdefghi", "jklmnopqrstuv", "wxyz ends", job=job) == ["the token ***", "***", "*** ends"]
    assert printed("called one", "    two three;", job=job) == ["called ***", "    ***;"]
    # But not what has the same letters with white space between.
    assert printed("abcdef ghijkl mnopqr stuvwx yz", job=job) == ["abcdef ghijkl mnopqr stuvwx yz"]


def test_a_value_that_was_wrapped_is_hidden_though_its_lines_come_one_by_one() -> None:
    lines = MaskedLines(Mask.of(hyperparameters(token="abcdefghijklmnopqrstuvwxyz")))
    told = [lines.hide([line]) for line in ("the token abcdefghi", "jklmnopqrstuv", "wx", "yz ends", "yz")]
    assert told == [["the token ***"], ["***"], ["***"], ["*** ends"], ["yz"]]


def test_a_log_that_begins_or_ends_in_the_middle_of_a_value_hides_that_part() -> None:
    mask = Mask.of(hyperparameters(token="abcdefghijklmnopqrstuvwxyz", word="letter"))
    assert mask.lines(["uvwxyz, and so on", "at last abcd"], begun=False) == ["***, and so on", "at last ***"]
    assert mask.lines(["ghijklmno"], begun=False) == ["***"]
    assert mask.lines(["uvwxyz", "tter, xabcd, wxyzzz, and"]) == ["uvwxyz", "tter, xabcd, wxyzzz, and"]
    assert mask.lines(["uvwxyz%2", "a%"], begun=False) == ["***%2", "a%"]


def test_without_values_lines_are_as_they_were() -> None:
    assert printed("a", "b", job={}) == ["a", "b"]
    assert printed(job=JOB) == []
    assert printed("1 0", "", job=hyperparameters(a="", b=" ")) == ["1 0", ""]


def test_json_that_is_too_deep_is_text() -> None:
    deep = "[" * 100_000 + "]" * 100_000
    assert printed(f"got {deep}", job=hyperparameters(deep=deep)) == ["got ***"]


# ---- whatever the values are, and however they are written


def is_trivial(value: str) -> bool:
    return len(fold(value)) < 4 or fold(value).casefold() in PLAIN_WORDS


values = st.text(CHARACTERS, min_size=4, max_size=24).filter(lambda value: not is_trivial(value))
#: How a line holds a value.
LINES = (
    "--{name} {value}",
    "{name}={value}",
    '{{"{name}": {value}}}',
    "token {value} end",
    "<td>{value}</td>",
    "SM_HP_{upper}={value}",
)


@given(st.data())
@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_no_line_holds_a_value(data: st.DataObject) -> None:
    """In any way of writing, in lines that were split anywhere, read in any number of parts."""
    given_ = data.draw(st.dictionaries(st.from_regex(r"[a-z]{2,9}", fullmatch=True), values, min_size=1, max_size=3))
    field = data.draw(st.sampled_from(["HyperParameters", "Environment"]))
    lines = ["step 3 of 10, loss 0.12"]
    for name, value in given_.items():
        way = WAYS[data.draw(st.sampled_from(sorted(WAYS)))]
        lines.append(data.draw(st.sampled_from(LINES)).format(name=name, upper=name.upper(), value=way(value)))
    lines.append("step 4 of 10, loss 0.11")
    frame = " ".join((*LINES, lines[0], lines[-1], *given_, WAYS["a URL"](""), "key"))
    text = "\n".join(lines)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=6)))
    indented = data.draw(st.sampled_from(["\n", "\n    "]))
    split = indented.join(text[begin:end] for begin, end in pairwise([0, *cuts, len(text)])).split("\n")
    masked, told = MaskedLines(Mask.of({field: given_})), []
    for begin, end in pairwise([0, *sorted(data.draw(st.sets(st.integers(0, len(split)), max_size=3))), len(split)]):
        told += masked.hide(split[begin:end])
    assert len(told) == len(split)
    shown = [line.replace("***", "\ue000") for line in told]
    for value in given_.values():
        if value in frame or fold(value) in fold(frame + frame.upper()):
            continue
        assert not [line for line in shown if value in line]
        # Nor in any way of writing, nor one line after the other.
        assert fold(value) not in fold("".join(shown))


@given(
    st.dictionaries(st.from_regex(r"[a-z]{4,9}", fullmatch=True), st.text("ABCDEFGHIJ", min_size=4), max_size=5),
    st.lists(st.text("klmnop 0123.,:=%&\\\"'-[]{}", max_size=60)),
)
def test_lines_without_a_value_stay_as_they_are(given_: dict[str, str], lines: list[str]) -> None:
    assert printed(*lines, job=hyperparameters(**{name.upper(): value for name, value in given_.items()})) == lines


def test_json_of_all_values_at_once() -> None:
    """A line of AWS's containers with a hundred of them, some of which begin alike."""
    given_ = {f"name-{number}": f"value-{number}-{'x' * number}" for number in range(100)}
    (line,) = printed(f"SM_HPS={json.dumps(given_)}", job=hyperparameters(**given_))
    assert line == "SM_HPS=" + json.dumps(dict.fromkeys(given_, "***"))
