"""Other people's clients, unchanged: the AWS command line, and the log reader of Amazon's hook."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.local.jobs import BUCKET, Jobs, counter, statuses, until


def aws_command() -> str | None:
    """The AWS command line: it pins botocore, so that it is installed apart from this project or not at all."""
    return os.environ.get("AIRFLOW_SPOT_AWSCLI") or shutil.which("aws")


def aws(jobs: Jobs, *words: str, check: bool = True) -> Any:
    command = aws_command()
    assert command is not None
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **jobs.sm.environ}
    service = () if words[0] == "s3api" else ("sagemaker",)
    result = subprocess.run(
        [command, *service, *words], env=environment, check=False, capture_output=True, text=True, timeout=120
    )
    if not check:
        return result
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout) if result.stdout.strip() else {}


@pytest.mark.skipif(aws_command() is None, reason="no aws command here; AIRFLOW_SPOT_AWSCLI may name one")
def test_the_aws_command_line(jobs: Jobs, tmp_path: Path) -> None:
    request = jobs.request(counter(3))
    name = request["TrainingJobName"]
    path = tmp_path / "request.json"
    path.write_text(json.dumps(request))
    assert BUCKET in [bucket["Name"] for bucket in aws(jobs, "s3api", "list-buckets")["Buckets"]]
    answer = aws(jobs, "create-training-job", "--cli-input-json", f"file://{path}")
    assert answer["TrainingJobArn"].endswith(name)
    # The waiter asks every two minutes: let there be nothing to wait for.
    jobs.end(name)
    aws(jobs, "wait", "training-job-completed-or-stopped", "--training-job-name", name)
    assert aws(jobs, "describe-training-job", "--training-job-name", name)["TrainingJobStatus"] == "Completed"
    lines = aws(jobs, "list-training-jobs", "--name-contains", name)["TrainingJobSummaries"]
    assert [line["TrainingJobName"] for line in lines] == [name]
    endless = jobs.start("import time; time.sleep(3600)")
    jobs.reach(endless, "Training")
    aws(jobs, "stop-training-job", "--training-job-name", endless)
    assert jobs.end(endless)["SecondaryStatus"] == "Stopped"
    again = aws(jobs, "create-training-job", "--cli-input-json", f"file://{path}", check=False)
    assert again.returncode != 0
    assert "(ResourceInUse)" in again.stderr


class Recorder:
    """Takes the place of the hook's logger."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, message: str, *arguments: object) -> None:
        self.lines.append(message % arguments if arguments else message)

    debug = warning = error = info


def test_the_hooks_log_reader_follows_a_restarted_job(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    hooks = pytest.importorskip("airflow.providers.amazon.aws.hooks.sagemaker")
    for key, value in jobs.sm.environ.items():
        monkeypatch.setenv(key, value)
    hook = hooks.SageMakerHook(aws_conn_id=None, region_name="us-east-1")
    hook._log = recorder = Recorder()
    hook.logs_hook._log = Recorder()
    name = jobs.start(counter(16, hold=8))
    jobs.wait_for_checkpoint(name)
    jobs.sm.interrupt(name)
    positions: dict[str, Any] = {}
    streams: list[str] = []
    state, previous = hooks.LogState.TAILING, jobs.describe(name)

    def follow() -> bool:
        nonlocal state, previous
        # Two streams: as AWS does, a restart makes a new one, and the hook reads as many as it is told there are.
        # It looks at the job's state when it last did so 30 seconds ago.
        last = time.monotonic() - 31
        state, previous, _ = hook.describe_training_job_with_log(name, positions, streams, 2, state, previous, last)
        return bool(state == hooks.LogState.COMPLETE)

    until(follow, "the hook has read all")
    assert "Interrupted" in statuses(jobs.end(name))
    for line in ("first 1", "step 16"):
        assert any(line in text for text in recorder.lines)
    assert len(positions) == 2
