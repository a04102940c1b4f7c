"""No name and no account number is in what is told."""

from __future__ import annotations

import json
import string
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_spot.verify.experiment import Experiment, Seen, Setup
from airflow_spot.verify.known_names import known_names
from airflow_spot.verify.report import result, to_json
from airflow_spot.verify.scrubbing import Scrubber
from airflow_spot.verify.verdicts import equals
from airflow_spot.verify.vocabulary import WORDS

SETUP = Setup("setup", (), lambda scratch: None)
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


def scrubbed(role_path: str, text: Any, image: str = "registry.acme.example:5000/acme/churn:1") -> Any:
    return Scrubber(known_names(ACCOUNT, role_path, BUCKET, image, default_image=False)).value(text)


@pytest.mark.parametrize("role", ["in", "a", "Training", "sagemaker", "MaxRuntimeExceeded", "Stopped", "kept", "other"])
def test_a_role_that_is_a_word_of_the_report_leaves_it_readable(role: str) -> None:
    seen = {
        "training_time_while_training": True,
        "statuses": ["Starting", "Downloading", "Training", "Stopping", "Stopped", "MaxRuntimeExceeded"],
        "names": ["kept", "kept.sagemaker-uploading", "skipped.sagemaker-ignore", "deep/other", "start-0.json.tmp"],
        "end": "Stopped, MaxRuntimeExceeded",
        "code": "ValidationException",
        "working_directory": "/opt/ml/code",
        "message": "The training job is in status Stopped. Training in progress in a kept container",
    }
    assert scrubbed(role, seen) == seen


@pytest.mark.parametrize(
    ("role", "text", "told"),
    [
        ("in", 'Training in "in"', 'Training in "<role>"'),
        ("sagemaker", "User: arn:aws:iam::1:role/sagemaker is not", "User: <arn> is not"),
        ("sagemaker", "assumed-role/sagemaker/me, of sagemaker", "<arn>, of sagemaker"),
        ("Training", "Training/me.too in status Training", "<role> in status Training"),
        ("Training", r"{\"role\": \"Training\"}", r"{\"role\": \"<role>\"}"),
        ("rain", "Training of rain", "Training of <role>"),
        ("ing-job", "training-job/ml.m5.large of ing-job", "training-job/ml.m5.large of <role>"),
        ("bucket", f"the bucket {BUCKET}", "the bucket <bucket>"),
        ("canary", f"{BUCKET} of canary", "<bucket> of <role>"),  # the longer one says what it is
        ("service-role/team,secret", "team,secret/me@corp.com of service-role/team,secret", "<role> of <arn>"),
    ],
)
def test_a_name_is_found_where_it_is_meant(role: str, text: str, told: str) -> None:
    told = told.replace("<arn>", "<role>") if role.startswith("service-role/") else told
    assert scrubbed(role, text) == told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            f"User: arn:aws:sts::{ACCOUNT}:assumed-role/team,secret=project+x/me@corp.com is not authorized.",
            "User: <arn> is not authorized.",
        ),
        ("(arn:aws:iam::1:role/a,secret), arn:aws:s3:::secret: none", "(<arn>), <arn>: none"),
        ("assumed-role/team,secret-project/me@corp.com", "<arn>"),
        ("of me.secret@corp.com.", "of <user>."),
        (
            f"The repository with name 'acme/churn' does not exist in the registry with id '{ACCOUNT}'",
            "The repository with name '<image>' does not exist in the registry with id '<account>'",
        ),
        ("The repository with name 'secret/else' is", "The repository with name '<image>' is"),
        ("registry.acme.example:5000/acme/churn@sha256:0123 of ACME", "<image>@sha256:0123 of <image>"),
        ("subnet-0123abcd, sg-0123456789abcdef0: no", "<id>, <id>: no"),
        (
            "(Request ID: 9XQ2ABCDEF34GH56; S3 Extended Request ID: ab/c+D=; Proxy: null)",
            "(Request ID: <id>; S3 Extended Request ID: <id>; Proxy: null)",
        ),
        (
            "<RequestId>4442587FB7D0A2F9</RequestId><HostId>ab/c+D=</HostId>",
            "<RequestId><id></RequestId><HostId><id></HostId>",
        ),
        ("request id 4442587FB7D0A2F9, the request id is missing", "request id <id>, the request id is missing"),
        ("AROAABCDEFGHIJKLMNOP:jane.secret is", "<id> is"),
        ("s3://secret/a,b;c and https://x.example/a,secret;d", "<s3-uri> and <url>"),
        ("secret.s3.eu-west-1.amazonaws.com", "<url>"),
        ("principal 'sagemaker.amazonaws.com'", "principal 'sagemaker.amazonaws.com'"),
        ("/home/a,secret=b/x.py", "<path>"),
        ("log group /aws/sagemaker/TrainingJobs", "log group /aws/sagemaker/TrainingJobs"),
    ],
)
def test_what_nobody_has_named_is_known_by_its_form(text: str, told: str) -> None:
    assert scrubbed("role-of-acme", text) == told


IAM = string.ascii_letters + string.digits + "_+=,.@-"
WORDY = [
    "Training",
    "sagemaker",
    "a",
    "in",
    "role",
    "bucket",
    "arn",
    "https",
    "Stopped",
    "kept",
    "RequestId",
    "ml",
    "team,secret-project",
    "assumed-role",
    "kept.sagemaker",
    "training-job",
    "me@corp.com",
    "x.s3",
    "user",
    "MaxRuntimeExceeded",
    "Status",
    "aining",
    "ecr",
    "spotverify-1",
    "TrainingJobName",
    "dkr.ecr",
]
PARTS = st.sampled_from(WORDY) | st.text(IAM, min_size=1, max_size=30)
SESSIONS = st.text(IAM, min_size=2, max_size=30).filter(lambda name: name.strip(",.") == name)
BUCKETS = st.sampled_from([name.lower() for name in WORDY if len(name) > 2]) | st.from_regex(
    r"[a-z0-9][a-z0-9.-]{1,20}[a-z0-9]", fullmatch=True
)

#: Of a run, as far as it does not depend on the account.
READABLE: dict[str, Any] = {
    "statuses": ["Starting", "Downloading", "Training", "Interrupted", "Stopping", "Uploading", "MaxRuntimeExceeded"],
    "described_members": ["TrainingJobName", "StoppingCondition", "SecondaryStatus", "ModelArtifacts"],
    "names_in_s3": ["kept", "kept.sagemaker-uploading", "skipped.sagemaker-ignore.sagemaker-uploaded", "deep/other"],
    "names_of_the_output": ["model.tar.gz", "output.tar.gz"],
    "working_directory": "/opt/ml/code",
    "training_time_counts": "the gaps too",
    "end": "Stopped, MaxRuntimeExceeded",
    "code": "ResourceInUse",
    "training_time_while_training": True,
}
MESSAGES = (
    "User: arn:aws:sts::{account}:assumed-role/{role}/{session} is not authorized to perform: iam:PassRole on "
    "resource: arn:aws:iam::{account}:role/path/{role} because no identity-based policy allows it",
    'S3 URL "s3://{bucket}/a" of "{role}", \'{role}\', assumed-role/{role}/{session}; {bucket}.s3.amazonaws.com',
    "role={account}:{role} ({bucket}) [{role}], {role}/{session}: https://{bucket}.s3.amazonaws.com/{role}",
    "The repository with name '{bucket}/x' is not in {account}.dkr.ecr.eu-west-1.amazonaws.com/{bucket}/{role}:1",
)


@given(PARTS, BUCKETS, st.from_regex(r"[0-9]{12}", fullmatch=True), SESSIONS)
def test_no_name_is_told_and_the_facts_stay(role: str, bucket: str, account: str, session: str) -> None:
    def told(role: str, bucket: str, account: str, session: str) -> tuple[Any, str]:
        filled = [each.format(role=role, bucket=bucket, account=account, session=session) for each in MESSAGES]
        names = known_names(account, f"path/{role}", bucket, "python:3", default_image=False)
        scrubber = Scrubber(names, READABLE["described_members"])
        one = Experiment("id", "title", "it is", "[A]", SETUP, [equals(each, 0) for each in READABLE], ["m", *READABLE])
        made = result(one, Seen({**READABLE, "m": filled}, why={"code": filled[0]}), scrubber)
        return made.seen, json.dumps(to_json([made], {}), ensure_ascii=False).lower()

    seen, report = told(role, bucket, account, session)
    assert {name: value for name, value in seen.items() if name != "m"} == READABLE
    # What is in every report is there by chance.
    neutral = told("qqqqqqq-1", "wwwwwww-2", "333333333333", "zzzzzzz-4")[1]
    for secret in (role, bucket, account, session):
        is_word = secret.strip("_+=,.@-").lower() in WORDS
        if len(secret) > 3 and not is_word and secret.lower() not in neutral:
            assert secret.lower() not in report, report


def test_what_the_service_says_stays_readable() -> None:
    for text in (
        "Insufficient capacity error from EC2 while launching instances, retrying!",
        'AlgorithmError: ExecuteUserScriptError:\nExitCode 42\nErrorMessage ""\nCommand "python x.py", exit code: 1',
        'Command "/miniconda3/bin/python train.py" of training-job/ml.m5.large, and/or /usr/bin/python3',
        "The account-level service limit 'ml.m5.large for spot training job usage' is 0 Instances",
    ):
        assert SCRUBBER.text(text) == text


@pytest.mark.parametrize("piece", ["a", "a.b-", "/a", "role/", "a@", "<a>", "a.s3", "1"])
def test_a_long_text_takes_no_time_that_grows_with_its_square(piece: str) -> None:
    """By processor time, and far above what it takes; with the square it takes half a minute."""
    begun = time.process_time()
    scrubbed("role-of-acme", piece * (40_000 // len(piece)))
    assert time.process_time() - begun < 8


def test_numbers_and_absence_stay() -> None:
    assert SCRUBBER.value({"a": None, "b": True, "c": 1.5, "d": (1, 2)}) == {
        "a": None,
        "b": True,
        "c": 1.5,
        "d": [1, 2],
    }
