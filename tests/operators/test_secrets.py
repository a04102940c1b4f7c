"""No way out: a job's secrets are in no log, error, result, link, event, history or lineage, whatever it prints."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_spot.cli.main import main
from airflow_spot.core.secrets.folding import fold
from airflow_spot.errors import ScriptError
from airflow_spot.local import LocalSageMaker
from airflow_spot.sensors.training import SageMakerSpotTrainingSensor
from tests.support.requests import stock_config
from tests.support.service import Task
from tests.support.task import TaskInstance, run_task

SECRETS = {
    "password": "hunter2 is it",
    "token": "S3cr3t/+%41\"x'y&z",
    "key": "-----BEGIN-----\nMIIEabcdefgh\nijklmnopqrst\n-----END-----",
    "pin": "4711-8150",
}
ARGUMENT = "arg-s3cr3t"
#: Prints all it was given, as AWS's containers do and in further ways; fails until there is a checkpoint.
SCRIPT = """
import html, json, os, shlex, sys, textwrap
from pathlib import Path
from urllib.parse import quote

values = [*json.loads(os.environ["SM_HPS"]).values(), os.environ["DATABASE"]]
print("Training Env:\\n\\n" + json.dumps(json.loads(os.environ["SM_TRAINING_ENV"]), indent=4))
for name, value in sorted(os.environ.items()):
    print(f"{name}={value}")
print("Invoking script with the following command:\\n\\n" + " ".join(map(shlex.quote, [sys.executable, *sys.argv])))
for value in map(str, values):
    for written in (value, repr(value), json.dumps(json.dumps(value)), html.escape(value), quote(value, safe="")):
        print(f"given {written}")
        print("\\n".join(textwrap.wrap(f"which is wrapped: {written}", 13)))
print("step 3 of 10, loss 0.12", flush=True)
checkpoint = Path(os.environ.get("SM_CHECKPOINT_DIR") or "/opt/ml/checkpoints") / "once"
if not checkpoint.exists():
    checkpoint.write_text("1")
    words = " ".join(map(shlex.quote, sys.argv[1:]))
    failure = Path(os.environ["SM_OUTPUT_DIR"]) / "failure"
    failure.write_text(f'ExecuteUserScriptError:\\nErrorMessage "{values}"\\nCommand "python3 train.py {words}"')
    sys.exit(3)
"""


def leaves(value: Any) -> Iterator[str]:
    """All texts in a value."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner)
    else:
        yield str(value)


def check(what: str, told: str) -> None:
    """Look for each secret in a text, in any way of writing."""
    for secret in (*SECRETS.values(), "MIIEabcdefgh", "ijklmnopqrst", ARGUMENT, "pa55word"):
        assert fold(secret) not in fold(told.replace("***", "|")), f"{what} tells {secret!r}"


def test_no_secret_has_a_way_out(
    local: LocalSageMaker,
    task: Task,
    ti: TaskInstance,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "train.py").write_text(SCRIPT)
    monkeypatch.setenv("AIRFLOW__AIRFLOW_SPOT__EVENTS_FILE", str(tmp_path / "events.jsonl"))
    config = stock_config(task.bucket, epochs=10, lr=0.1, **{name: json.dumps(text) for name, text in SECRETS.items()})
    config["Environment"] = {"DATABASE": "postgres://me:pa55word@db/x"}
    config["AlgorithmSpecification"]["ContainerArguments"] = ["--api-key", ARGUMENT]
    where: dict[str, Any] = {"entry_point": "train.py", "source_dir": str(tmp_path / "source")}

    with pytest.raises(ScriptError) as failed:
        run_task(task.operator(config, **where), ti)
    error = str(failed.value)
    check("the error", f"{error} {failed.value!r} {failed.value.__cause__} {failed.value.__context__}")
    assert "step 3 of 10, loss 0.12" in error and "***" in error and "ExecuteUserScriptError" in error

    operator, retry = task.operator(config, **where), ti.retried()
    result = run_task(operator, retry)
    name = result["Training"]["TrainingJobName"]
    check("the result", "\n".join(leaves(result)))
    check("a link", "\n".join(leaves([ti.xcoms, retry.xcoms])))
    check("the lineage", repr(operator.get_openlineage_facets_on_complete(None)))

    first, second = (attempt["job_name"] for attempt in result["Spot"]["attempts"])
    assert second == name
    with pytest.raises(ScriptError) as waited:
        run_task(SageMakerSpotTrainingSensor(task_id="wait", job_name=first, deferrable=task.deferrable), ti)
    check("the sensor's error", str(waited.value))
    done = run_task(SageMakerSpotTrainingSensor(task_id="wait", job_name=second), ti)
    check("the sensor's result", "\n".join(leaves(done)))

    logged = capfd.readouterr()
    log = logged.out + logged.err + "\n".join(record.getMessage() for record in caplog.records)
    assert "step 3 of 10, loss 0.12" in log  # the job's output is in the task's log
    check("the log", log)
    check("the file of events", (tmp_path / "events.jsonl").read_text())

    for command in (["--verbose"], ["--json", "--verbose"]):
        assert main(["history", "--job", name, *command]) == 0
        printed = capfd.readouterr().out
        assert first in printed
        check("the history", printed)
