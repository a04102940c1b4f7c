"""The whole suite on Local SageMaker: the same experiments that ask AWS."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from airflow_spot.cli.main import main
from airflow_spot.local import LocalSageMaker
from airflow_spot.verify.scratch import NAME_PREFIX
from airflow_spot.verify.suite import EXPERIMENTS
from tests.verify.test_command import ACCOUNT, ROLE, left_behind, live

BUCKET = "canary-bucket"

#: Experiments that Local SageMaker does not pass today, each with the recording that it differs from.
DIFFERENT_ON_LOCAL: dict[str, str] = {}


@pytest.mark.slow
@pytest.mark.local_sagemaker(market="script:down=12,up=inf", grace_seconds=3, checkpoint_seconds=0.2)
def test_the_whole_suite(local_sagemaker: LocalSageMaker, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its market has nothing for twelve seconds, so that a job waits that can be stopped."""
    local_sagemaker.client("s3").create_bucket(Bucket=BUCKET)
    report = tmp_path / "report.json"
    code = main(["verify-aws", "--role", ROLE, "--bucket", BUCKET, "--yes", "--report", str(report)])
    out = capsys.readouterr().out
    made = json.loads(report.read_text())
    verdicts = {each["id"]: each["verdict"] for each in made["experiments"]}
    assert {name for name, verdict in verdicts.items() if verdict == "not reached"} == set(), out
    assert {name for name, verdict in verdicts.items() if verdict == "differs"} == set(DIFFERENT_ON_LOCAL), out
    assert list(verdicts) == [each.id for each in EXPERIMENTS]
    assert code == (1 if DIFFERENT_ON_LOCAL else 0)
    assert f"{len(EXPERIMENTS) - len(DIFFERENT_ON_LOCAL)} as assumed" in out
    assert live(local_sagemaker) == [] and left_behind(local_sagemaker, BUCKET) == []
    told = report.read_text()
    for canary in ("canary", ACCOUNT, "arn:aws", "s3://", NAME_PREFIX):
        assert canary not in told
