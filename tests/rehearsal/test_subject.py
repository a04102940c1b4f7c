"""What is rehearsed, as it is given: a script, or a request."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_spot.rehearsal.subject import RehearsalError, Subject, from_request, from_script

REQUEST = {
    "TrainingJobName": "a",
    "AlgorithmSpecification": {
        "TrainingImage": "image:1",
        "MetricDefinitions": [{"Name": "loss", "Regex": "loss=(.*)"}],
    },
    "HyperParameters": {
        "epochs": "20",
        "sagemaker_program": '"train.py"',
        "sagemaker_submit_directory": '"s3://bucket/code/sourcedir.tar.gz"',
    },
    "InputDataConfig": [{"ChannelName": "train", "DataSource": {"S3DataSource": {"S3Uri": "s3://bucket/data"}}}],
    "ResourceConfig": {"InstanceCount": 4},
    "CheckpointConfig": {"S3Uri": "s3://bucket/ck", "LocalPath": "/opt/ml/ck"},
}


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "train.py").write_text("print(1)\n")
    (tmp_path / "scripts" / "more.py").write_text("\n")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").write_text("1\n")
    (tmp_path / "extra.txt").write_text("six\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(subject: Subject) -> list[str]:
    with subject.archive() as archive:
        assert archive is not None
        return sorted(archive.sources)


@pytest.mark.parametrize("script", ["train.py", "scripts/train.py", "{}/scripts/train.py"])
def test_a_script_in_its_folder_may_be_named_from_there_or_from_here(code: Path, script: str) -> None:
    subject = from_script(script.format(code), source_dir="scripts")
    assert (subject.program, subject.name) == ("train.py", "train.py")
    assert names(subject) == ["more.py", "train.py"]


def test_a_script_alone_is_sent_alone(code: Path) -> None:
    assert names(from_script("scripts/train.py")) == ["train.py"]


@pytest.mark.parametrize("folder", ["scripts", None])
def test_requirements_are_sent_with_it(code: Path, folder: str | None) -> None:
    subject = from_script("scripts/train.py", source_dir=folder, requirements="extra.txt")
    assert "requirements.txt" in names(subject)
    assert "train.py" in names(subject)


def test_a_request_keeps_what_matters_to_its_script(code: Path) -> None:
    subject = from_request(
        REQUEST, "request.json", source_dir="scripts", channels={"train": "data"}, hyperparameters={"epochs": 2}
    )
    subject.check()
    assert subject.request["HyperParameters"] == {"epochs": "2"}
    assert subject.request["CheckpointConfig"]["LocalPath"] == "/opt/ml/ck"
    assert subject.metric_definitions == {"loss": "loss=(.*)"}
    assert subject.notes == ("one instance stands for 4",)


def test_what_a_request_does_not_say_is_asked_for(code: Path) -> None:
    with pytest.raises(RehearsalError, match=r"its script train.py is in S3: give --source-dir DIR"):
        from_request(REQUEST, "request.json", channels={"train": "data"})
    with pytest.raises(RehearsalError, match=r"channel 'train' is not on this machine: give --channel train=DIR"):
        from_request(REQUEST, "request.json", source_dir="scripts").check()


def test_a_request_may_have_an_entrypoint_instead(code: Path) -> None:
    subject = from_request({"AlgorithmSpecification": {"ContainerEntrypoint": ["sleep", "1"]}}, "request.json")
    subject.check()
    assert subject.program is None
    with pytest.raises(RehearsalError, match="neither a script nor"):
        from_request({}, "request.json").check()
