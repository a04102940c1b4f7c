"""What a job carries reads back, is legal, and changes when the training does."""

from __future__ import annotations

import re
from copy import deepcopy
from datetime import datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_spot.core import marks
from airflow_spot.core.identity import RunIdentity
from airflow_spot.core.marks import StopMark, changed_fields, decode_tag, encode_tag, fingerprint
from airflow_spot.core.try_marks import TryMark
from tests.core.cases import NOW, RUN, later


@given(st.text(max_size=600))
@example("=")
@example("==")
@example("a=3D")
@example("é" * 200)
@example("\r\n\t")
def test_any_text_makes_a_legal_tag(text: str) -> None:
    value = encode_tag(text)
    assert re.fullmatch(r"[A-Za-z0-9_.:/=+@ -]*", value)
    assert len(value) <= 256


@given(st.text(max_size=80))
@example("==")
@example("100%=3D==")
@example("manual__2026-01-01T00:00:00+00:00")
def test_a_text_that_fits_reads_back(text: str) -> None:
    value = encode_tag(text)
    if "==" not in value:
        assert decode_tag(value) == text


@given(st.text(max_size=21))
def test_a_short_text_is_never_cut(text: str) -> None:
    assert decode_tag(encode_tag(text)) == text


@given(st.text(alphabet="aé✓😀=", min_size=257, max_size=400), st.text(min_size=1, max_size=5))
def test_a_long_text_is_cut_between_characters_and_stays_distinct(text: str, more: str) -> None:
    value = encode_tag(text)
    read = decode_tag(value)
    assert read.endswith("…")
    assert text.startswith(read[:-1])
    assert encode_tag(text + more) != value


@given(
    st.builds(
        TryMark,
        st.integers(0, 10**6),
        st.integers(-1, 10**6),
        st.none() | st.integers(0, 99),
        st.none() | st.integers(0, 99),
    )
)
def test_a_try_reads_back(mark: TryMark) -> None:
    assert TryMark.parse(str(mark)) == mark
    assert encode_tag(str(mark)) == str(mark)


@given(st.builds(StopMark, st.from_regex("[a-z-]+", fullmatch=True), st.integers(0, 10**6)))
def test_a_stop_reads_back(mark: StopMark) -> None:
    assert StopMark.parse(str(mark)) == mark
    assert encode_tag(str(mark)) == str(mark)


@pytest.mark.parametrize("text", [None, "", "x", "1", "1 2 3", "1 2", "a b", "1 2\n", " 1 2"])
def test_what_is_no_try_reads_as_none(text: str | None) -> None:
    assert TryMark.parse(text) is None


@pytest.mark.parametrize("text", [None, "", "killed", "3", "killed x", "KILLED 3", "killed 3 now"])
def test_what_is_no_stop_reads_as_none(text: str | None) -> None:
    assert StopMark.parse(text) is None


@pytest.mark.parametrize(
    ("earlier", "now", "anew"),
    [
        ((1, 2), (2, 2), False),  # an automatic retry
        ((1, 2), (3, 2), False),  # and one more
        ((1, 0), (2, 1), True),  # cleared, without retries
        ((1, 2), (2, 3), True),  # cleared, with retries
        ((3, 2), (4, 5), True),  # cleared after the last retry
        ((1, 2), (1, 2), True),  # the DAG run was deleted and made again
        ((3, 2), (1, 2), True),  # the same, after retries
        ((3, 5), (1, 2), True),
    ],
)
def test_a_person_is_told_from_a_retry(earlier: tuple[int, int], now: tuple[int, int], anew: bool) -> None:
    assert TryMark(*now).is_restart_since(TryMark(*earlier)) is anew


def test_a_run_is_in_the_tags() -> None:
    run = RunIdentity("n", "dag=1", "scheduled__2026-01-01 ✓", "group.train", 4)
    tags = marks.tag_map(marks.run_tags(run, 3))
    assert decode_tag(tags[marks.TAG_DAG]) == "dag=1"
    assert decode_tag(tags[marks.TAG_RUN]) == "scheduled__2026-01-01 ✓"
    assert decode_tag(tags[marks.TAG_TASK]) == "group.train"
    assert (tags[marks.TAG_MAP_INDEX], tags[marks.TAG_OWNER]) == ("4", "3")


def test_the_names_of_the_marks_never_change() -> None:
    """They stand on jobs that exist."""
    assert {name: value for name, value in vars(marks).items() if name.startswith(("ENV_", "TAG_")) and value} == {
        "ENV_PREFIX": "AIRFLOW_SPOT_",
        "ENV_RUN": "AIRFLOW_SPOT_RUN",
        "ENV_RUN_ID": "AIRFLOW_SPOT_RUN_ID",
        "ENV_GENERATION": "AIRFLOW_SPOT_GENERATION",
        "ENV_ATTEMPT": "AIRFLOW_SPOT_ATTEMPT",
        "ENV_RUNG": "AIRFLOW_SPOT_RUNG",
        "ENV_TRY": "AIRFLOW_SPOT_TRY",
        "ENV_FINGERPRINT": "AIRFLOW_SPOT_FINGERPRINT",
        "ENV_ROLE": "AIRFLOW_SPOT_ROLE",
        "ENV_WHY": "AIRFLOW_SPOT_WHY",
        "ENV_MEMBER": "AIRFLOW_SPOT_MEMBER",
        "TAG_PREFIX": "airflow-spot:",
        "TAG_DAG": "airflow-spot:dag",
        "TAG_RUN": "airflow-spot:run",
        "TAG_TASK": "airflow-spot:task",
        "TAG_MAP_INDEX": "airflow-spot:map-index",
        "TAG_OWNER": "airflow-spot:owner",
        "TAG_STOP": "airflow-spot:stop",
        "TAG_DELIVERED": "airflow-spot:delivered",
        "TAG_ROLE": "airflow-spot:role",
        "TAG_REQUEST": "airflow-spot:request",
        "TAG_VALUE_LIMIT": 256,
    }


def test_what_we_need_of_sagemakers_limits_is_counted_right() -> None:
    names = vars(marks)
    environment = [value for name, value in names.items() if name.startswith("ENV_") and value != marks.ENV_PREFIX]
    assert len(environment) == marks.ENVIRONMENT_USED
    assert all(value.startswith(marks.ENV_PREFIX) for value in environment)
    # The stop and delivered tags come later, on a job that has the others.
    tags = [name for name in names if name.startswith("TAG_") and name not in ("TAG_PREFIX", "TAG_VALUE_LIMIT")]
    assert len(tags) == marks.TAGS_USED
    assert all(names[name].startswith(marks.TAG_PREFIX) for name in tags)
    assert {tag["Key"] for tag in marks.run_tags(RUN, 1)} < {names[name] for name in tags}


REQUEST: dict[str, Any] = {
    "AlgorithmSpecification": {"TrainingImage": "image:1", "TrainingInputMode": "File"},
    "HyperParameters": {
        "depth": "6",
        "sagemaker_program": '"train.py"',
        "sagemaker_submit_directory": '"s3://bucket/code/0123/sourcedir.tar.gz"',
        "sagemaker_region": '"us-east-1"',
    },
    "InputDataConfig": [{"ChannelName": "train", "DataSource": {"S3DataSource": {"S3Uri": "s3://bucket/data"}}}],
    "ResourceConfig": {"InstanceType": "ml.m5.large"},
    "StoppingCondition": {"MaxRuntimeInSeconds": 60},
    "EnableManagedSpotTraining": True,
}


def _with(path: str, value: Any) -> dict[str, Any]:
    request = deepcopy(REQUEST)
    *parents, last = path.split("/")
    inner: Any = request
    for name in parents:
        inner = inner[int(name)] if name.isdigit() else inner[name]
    inner[last] = value
    return request


@pytest.mark.parametrize(
    ("path", "value", "changed"),
    [
        ("AlgorithmSpecification/TrainingImage", "image:2", ["image"]),
        ("HyperParameters/sagemaker_program", '"other.py"', ["script"]),
        ("HyperParameters/sagemaker_submit_directory", '"s3://bucket/code/4567/sourcedir.tar.gz"', ["script"]),
        ("HyperParameters/depth", "7", ["hyperparameters"]),
        ("HyperParameters/new", "7", ["hyperparameters"]),
        ("InputDataConfig/0/ChannelName", "test", ["channels"]),
        ("HyperParameters", {}, ["script", "hyperparameters"]),
        ("TrainingJobName", "another", []),
        ("ResourceConfig/InstanceType", "ml.p3.2xlarge", []),
        ("StoppingCondition/MaxRuntimeInSeconds", 120, []),
        ("EnableManagedSpotTraining", False, []),
        ("HyperParameters/sagemaker_region", '"eu-west-1"', []),
        ("RoleArn", "another", []),
    ],
)
def test_the_fingerprint_follows_the_training_only(path: str, value: Any, changed: list[str]) -> None:
    assert changed_fields(fingerprint(REQUEST), fingerprint(_with(path, value))) == changed


def test_the_fingerprint_is_an_environment_value_and_holds_no_value() -> None:
    text = fingerprint(_with("HyperParameters/password", "hunter2"))
    assert re.fullmatch(r"[a-z:2-7 ]{1,512}", text)
    assert "hunter2" not in text


def test_the_fingerprint_of_a_request_without_the_optional_fields() -> None:
    assert changed_fields(fingerprint({}), fingerprint({"HyperParameters": {}})) == []


@pytest.mark.parametrize("other", ["", "garbage", "image:x"])
def test_a_fingerprint_of_another_kind_differs_without_harm(other: str) -> None:
    assert changed_fields(fingerprint(REQUEST), other) == ["image", "script", "hyperparameters", "channels"]


@pytest.mark.parametrize(("started", "anew"), [(later(seconds=1), True), (later(seconds=-1), False), (None, True)])
def test_a_database_that_was_restored_is_no_dag_run_that_was_made_again(started: datetime | None, anew: bool) -> None:
    """In both the numbers start over; the DAG run that began before the job ended is the one that it was of."""
    assert TryMark(1, 2, run_started=started).is_restart_since(TryMark(2, 2), NOW) is anew
    assert TryMark(1, 2, run_started=started) == TryMark(1, 2)
