"""The short words of the decorator are laid over a config, which stays as it is."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest

from airflow_spot.checkpoint.for_taskflow import MAX_RESULT_BYTES, RESULT_NAME
from airflow_spot.core.parameter_errors import InvalidParameterError
from airflow_spot.decorators._config import SHORT, check_required, make_config
from airflow_spot.decorators.training import _NOT_WITH_A_FUNCTION, SageMakerSpotDecoratedOperator


def test_each_word_has_its_place() -> None:
    short = {
        "image": "image",
        "instance_type": "ml.g5.xlarge",
        "instance_count": 2,
        "volume_size": 50,
        "role": "train",
        "output_path": "s3://bucket/output",
        "inputs": {"train": "s3://bucket/train/"},
    }
    assert set(short) == set(SHORT)
    assert make_config(None, short) == {
        "AlgorithmSpecification": {"TrainingImage": "image", "TrainingInputMode": "File"},
        "ResourceConfig": {"InstanceType": "ml.g5.xlarge", "InstanceCount": 2, "VolumeSizeInGB": 50},
        "RoleArn": "train",
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/output"},
        "InputDataConfig": [
            {
                "ChannelName": "train",
                "DataSource": {
                    "S3DataSource": {
                        "S3DataType": "S3Prefix",
                        "S3DataDistributionType": "FullyReplicated",
                        "S3Uri": "s3://bucket/train/",
                    }
                },
            }
        ],
    }


def test_they_win_over_the_config_and_do_not_change_it() -> None:
    config: dict[str, Any] = {
        "AlgorithmSpecification": {"TrainingImage": "old", "TrainingInputMode": "Pipe"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "VolumeSizeInGB": 5},
        "InputDataConfig": [{"ChannelName": "train", "old": True}, {"ChannelName": "test"}],
        "Environment": {"A": "1"},
    }
    before = copy.deepcopy(config)
    made = make_config(config, {"image": "new", "inputs": {"train": "s3://b/t"}})
    assert config == before
    assert made["AlgorithmSpecification"] == {"TrainingImage": "new", "TrainingInputMode": "Pipe"}
    assert made["ResourceConfig"] == {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5}
    assert [(each["ChannelName"], "old" in each) for each in made["InputDataConfig"]] == [
        ("test", False),
        ("train", False),
    ]
    assert made["Environment"] == {"A": "1"}


def test_instance_groups_get_no_count() -> None:
    groups = {"InstanceGroups": [{"InstanceGroupName": "a"}], "VolumeSizeInGB": 5}
    assert make_config({"ResourceConfig": groups}, {})["ResourceConfig"] == groups


def test_what_is_a_template_cannot_have_something_laid_over_it() -> None:
    assert make_config("{{ var.json.config }}", {}) == "{{ var.json.config }}"
    assert make_config("train.json", {}) == "train.json"
    for config in ("{{ var.json.config }}", "train.json"):
        with pytest.raises(InvalidParameterError, match=r"image is 'i': the config is a template or a file"):
            make_config(config, {"image": "i"})
    with pytest.raises(
        InvalidParameterError, match=r"ResourceConfig is text: must be a mapping, to have instance_type"
    ):
        make_config({"ResourceConfig": "{{ var.json.resources }}"}, {"instance_type": "ml.g5.xlarge"})
    with pytest.raises(InvalidParameterError, match=r"InputDataConfig is text: must be a list"):
        make_config({"InputDataConfig": "{{ x }}"}, {"inputs": {"train": "s3://b/t"}})
    with pytest.raises(InvalidParameterError, match=r"inputs is text: name each channel"):
        make_config(None, {"inputs": "s3://b/t"})


def test_the_page_and_the_docstring_name_each_word() -> None:
    page = (Path(__file__).parents[2] / "docs" / "taskflow.md").read_text()
    table = page.split("| parameter | default |")[1].split("\n\n")[0]
    own = {*SHORT, "requirements"}
    assert set(re.findall(r"`(\w+)`", "".join(line.split("|")[1] for line in table.splitlines()[2:]))) == own
    documented = str(SageMakerSpotDecoratedOperator.__doc__)
    own |= {"python_callable", "op_args", "op_kwargs", "config", "source_dir"}
    assert all(re.search(rf":param {name}:|``{name}``", documented) for name in own)
    assert f"{MAX_RESULT_BYTES // 1024} KiB" in page
    assert RESULT_NAME in page
    for name in _NOT_WITH_A_FUNCTION:
        assert f"`{name}`" in page


WHOLE = {
    "AlgorithmSpecification": {"TrainingImage": "image:1"},
    "RoleArn": "role",
    "OutputDataConfig": {"S3OutputPath": "s3://bucket/out"},
}


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("AlgorithmSpecification", "image is missing: give the image that the function runs in, or Algo"),
        ("RoleArn", "role is missing: give the role of the job, or RoleArn in config"),
        ("OutputDataConfig", "output_path is missing: "),
    ],
)
def test_what_no_job_goes_without_is_asked_for(field: str, said: str) -> None:
    check_required(WHOLE)
    with pytest.raises(InvalidParameterError, match=said):
        check_required({name: value for name, value in WHOLE.items() if name != field})
    check_required({**WHOLE, field: "{{ a_template }}"})
