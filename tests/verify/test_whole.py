"""The whole suite on Local SageMaker: the same experiments that ask AWS."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from airflow_spot.cli.main import main
from airflow_spot.local import LocalSageMaker
from airflow_spot.verify.scratch import NAME_PREFIX
from airflow_spot.verify.suite import EXPERIMENTS
from tests.verify.test_command import ACCOUNT, ROLE, left_behind, live, only

BUCKET = "canary-bucket"

#: Experiments that Local SageMaker does not pass today, each with the recording that it differs from.
DIFFERENT_ON_LOCAL: dict[str, str] = {}


MARKET = "script:down=12,up=inf"


@pytest.mark.slow
@pytest.mark.local_sagemaker(market=MARKET, grace_seconds=3, checkpoint_seconds=0.2)
def test_the_whole_suite(local_sagemaker: LocalSageMaker, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Its market has nothing for twelve seconds, so that a job waits that can be stopped.

    An experiment looks at moments of seconds, which a busy machine may miss: then it is made again, twice at most. A
    service that differs does so each time.
    """
    local_sagemaker.client("s3").create_bucket(Bucket=BUCKET)
    report = tmp_path / "report.json"
    command = ["verify-aws", "--role", ROLE, "--bucket", BUCKET, "--yes", "--report", str(report)]
    left = [each.id for each in EXPERIMENTS]
    for number in range(3):
        local_sagemaker.set_market(MARKET)
        code = main([*command, *(only(*left) if number else ())])
        out, told = capsys.readouterr().out, report.read_text()
        verdicts = {each["id"]: each["verdict"] for each in json.loads(told)["experiments"]}
        assert list(verdicts) == left
        assert live(local_sagemaker) == [] and left_behind(local_sagemaker, BUCKET) == []
        for canary in ("canary", ACCOUNT, "arn:aws", "s3://", NAME_PREFIX):
            assert canary not in told
        odd = {name: verdict for name, verdict in verdicts.items() if verdict != "as assumed"}
        assert code == (1 if "differs" in odd.values() else 2 if len(odd) == len(left) else 0)
        assert f"{len(left) - len(odd)} as assumed" in out
        if odd == dict.fromkeys(DIFFERENT_ON_LOCAL, "differs"):
            return
        left = list(odd)
    pytest.fail(f"{odd}\n{out}")
