"""No name and no account number is in what is told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_spot.verify.scrubbing import Scrubber

BUCKET, ROLE, ACCOUNT = "canary-bucket", "canary-role", "210987654321"
NAMES = {BUCKET: "<bucket>", ROLE: "<role>", ACCOUNT: "<account>", f"arn:aws:iam::{ACCOUNT}:role/a/{ROLE}": "<role>"}
SCRUBBER = Scrubber(NAMES)


@pytest.mark.parametrize(
    "text",
    [
        f"User: arn:aws:sts::{ACCOUNT}:assumed-role/Admin-secret/me@example is not authorized to perform: iam:PassRole",
        f'No S3 objects found under S3 URL "s3://{BUCKET}/x" given in input data source; role "{ROLE}"',
        f"https://s3.amazonaws.com/{BUCKET}/{ROLE}",
        f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com/secret-image:1",
        "2109-8765-4321 (Request ID: 12345678-1234-1234-1234-123456789abc)",
        "the key AKIAABCDEFGHIJKLMNOP, the role AROAABCDEFGHIJKLMNOP",
        "The training job spotverify-secret-ended-2 is in status InProgress, as is SPOTVERIFY-secret-x-1",
        'Command "/home/secret/venv/bin/python train.py", exit code: 1; /Users/secret/x, (/tmp/secret/y)',
        f"{BUCKET.upper()} {ROLE.title()}",
    ],
)
def test_what_says_whose_account_it_is(text: str) -> None:
    told = SCRUBBER.text(text).lower()
    secrets = (BUCKET, ROLE, ACCOUNT, "2109-8765-4321", "secret", "example", "123456789abc", "akia", "aroa")
    for secret in secrets:
        assert secret not in told, told


@given(
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(-999, 999), st.text()),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ),
    st.text(),
    st.sampled_from([BUCKET, ROLE, ACCOUNT]),
    st.text(),
)
def test_wherever_it_stands(value: Any, before: str, secret: str, after: str) -> None:
    # A digit beside it would make it another number, of no account.
    text = f"{before.rstrip('0123456789')} {secret} {after}"
    told = json.dumps(SCRUBBER.value({"a": [value, text], text: {text: text}}), ensure_ascii=False)
    assert secret not in told


def test_a_short_name_takes_no_word_apart() -> None:
    scrubber = Scrubber({"in": "<role>"})
    assert scrubber.text("Training in progress by in") == "Training <role> progress by <role>"


def test_what_the_service_says_stays_readable() -> None:
    for text in (
        "Insufficient capacity error from EC2 while launching instances, retrying!",
        'AlgorithmError: ExecuteUserScriptError:\nExitCode 42\nErrorMessage ""\nCommand "python x.py", exit code: 1',
        'Command "/miniconda3/bin/python train.py" of training-job/ml.m5.large, and/or /usr/bin/python3',
        "The account-level service limit 'ml.m5.large for spot training job usage' is 0 Instances",
    ):
        assert SCRUBBER.text(text) == text


def test_numbers_and_absence_stay() -> None:
    assert SCRUBBER.value({"a": None, "b": True, "c": 1.5, "d": (1, 2)}) == {
        "a": None,
        "b": True,
        "c": 1.5,
        "d": [1, 2],
    }
