"""What the SDK sends as a config: without times, with the code at its content, and a word on each change."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_spot.core.sdk_request import Upload, as_config, base_name

DIGEST = "0123456789abcdef"
TIMES = ("2026-11-28-12-59-26-458", "20261128130010")


@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("base", ["digits", "a-2026-b", "my-job-1"])
def test_the_time_goes_from_a_name(base: str, time: str) -> None:
    assert base_name(f"{base}-{time}") == base
    assert base_name(base) == base


@pytest.mark.parametrize(
    ("key", "uri", "moved"),
    [
        # SDK 2: the archive, below the job's name.
        (
            "digits-{t}/source/sourcedir.tar.gz",
            '"s3://b/digits-{t}/source/sourcedir.tar.gz"',
            "digits/code/0123456789abcdef/source/sourcedir.tar.gz",
        ),
        # SDK 3: a folder, below the base name and the job's.
        (
            "digits/digits-{t}/input/code/train.py",
            "s3://b/digits/digits-{t}/input/code",
            "digits/code/0123456789abcdef/input/code/train.py",
        ),
        (
            "p/x/digits-{t}/code/train.py",
            "s3://b/p/x/digits-{t}/code",
            "p/x/digits/code/0123456789abcdef/code/train.py",
        ),
    ],
)
@pytest.mark.parametrize("time", TIMES)
def test_code_lies_at_its_content(key: str, uri: str, moved: str, time: str) -> None:
    key, uri = key.format(t=time), uri.format(t=time)
    request = {"TrainingJobName": f"digits-{time}", "HyperParameters": {"code": uri}, "Other": "s3://b/data"}
    made = as_config(request, [Upload("b", key, "x")], DIGEST)
    assert made.keys == {("b", key): moved}
    config = json.loads(json.dumps(made.config))
    assert config["TrainingJobName"] == "digits"
    assert f"s3://b/{moved}".startswith(config["HyperParameters"]["code"].strip('"'))
    assert config["HyperParameters"]["code"].count('"') == uri.count('"')
    assert config["Other"] == "s3://b/data"
    assert time not in json.dumps(config)


def test_what_is_another_in_each_job_is_left_out_or_told() -> None:
    request = {
        "TrainingJobName": "digits-20261128130010",
        "HyperParameters": {
            "sagemaker_job_name": '"digits-20261128130010"',
            "run": "digits-20261128130010",
            "depth": "3",
        },
        "ProfilerRuleConfigurations": [{"RuleConfigurationName": "ProfilerReport-1732800000"}],
        "TensorBoardOutputConfig": {"S3OutputPath": "s3://b/digits-20261128130010/logs"},
    }
    made = as_config(request, [], DIGEST)
    assert made.config["HyperParameters"] == {"run": "digits-20261128130010", "depth": "3"}
    assert made.config["ProfilerRuleConfigurations"] == [{"RuleConfigurationName": "ProfilerReport-export"}]
    told = "\n".join(made.told)
    for field in (
        "HyperParameters.sagemaker_job_name: left out",
        "HyperParameters.run: it still holds",
        "TensorBoardOutputConfig.S3OutputPath: it still holds",
        "ProfilerRuleConfigurations[0].RuleConfigurationName: ProfilerReport-export",
    ):
        assert field in told
    assert "depth" not in told


def test_files_elsewhere_stay_there() -> None:
    request = {"TrainingJobName": "digits-20261128130010", "InputDataConfig": [{"S3Uri": "s3://b/data/rows"}]}
    made = as_config(request, [Upload("b", "data/rows/1.csv", "x")], DIGEST)
    assert made.keys == {("b", "data/rows/1.csv"): "data/rows/1.csv"}
    assert made.config["InputDataConfig"] == request["InputDataConfig"]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=8), VALUES, max_size=4), st.text(max_size=20))
def test_a_request_without_times_is_its_config(request: dict[str, Any], name: str) -> None:
    request.pop("HyperParameters", None)
    request["TrainingJobName"] = name
    made = as_config(request, [], DIGEST)
    if base_name(name) == name:
        assert made.config == request
        assert made.told == ()
