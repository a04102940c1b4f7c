"""A job that trains and completes: what is told of it meanwhile and at the end; and how a script's failure is told."""

from __future__ import annotations

import io
import json
import tarfile
from functools import partial
from typing import Any

from airflow_spot.core.outcomes import ENDED_STATUSES
from airflow_spot.verify.experiment import Experiment, Setup
from airflow_spot.verify.pace import Length
from airflow_spot.verify.scratch import NotReached, Scratch, messages, statuses
from airflow_spot.verify.scripts import CRASH, EXIT_42, FAILURE_FILE, TOOLKIT_EXIT_42
from airflow_spot.verify.verdicts import between, equals, in_order, matches, one_of

_LOCAL = "docs/local-sagemaker.md"
_RELOCATES = "this Local SageMaker gives its jobs no /opt/ml of their own: it relocates their paths"


def _completes(scratch: Scratch) -> None:
    facts = scratch.facts
    name = scratch.create(scratch.request(length=Length.TRAINS))
    for job in scratch.watch(name):
        # The last look before the end counts: what is computed now and then is there by then.
        if job["SecondaryStatus"] == "Training" and job["TrainingJobStatus"] == "InProgress":
            facts["training_time_while_training"] = "TrainingTimeInSeconds" in job
            facts["billable_time_while_training"] = "BillableTimeInSeconds" in job
            facts["model_artifacts_while_training"] = "ModelArtifacts" in job
            facts["training_end_time_while_training"] = "TrainingEndTime" in job
    last = scratch.end(name)
    if last["TrainingJobStatus"] != "Completed":
        raise NotReached(f"the job is {last['TrainingJobStatus']}: {last.get('FailureReason') or 'no reason'}")
    facts["statuses"], facts["messages"] = statuses(last), messages(last)
    facts["described_members"] = sorted(set(last) - {"ResponseMetadata"})
    facts["model_artifacts_at_the_end"] = "ModelArtifacts" in last
    late = (last["LastModifiedTime"] - last["TrainingEndTime"]).total_seconds()
    facts["modified_after_end_seconds"] = round(late, 1)
    span = (last["TrainingEndTime"] - last["TrainingStartTime"]).total_seconds()
    facts["training_time_against_span_seconds"] = round(last["TrainingTimeInSeconds"] - span, 1)
    facts["billable_minus_training_seconds"] = last["BillableTimeInSeconds"] - last["TrainingTimeInSeconds"]
    if scratch.service.control is not None and scratch.service.control.relocates:
        scratch.why["working_directory"] = _RELOCATES
    else:
        facts["working_directory"] = (scratch.model(name) or {}).get("cwd")


COMPLETES = Setup("completes", (Length.TRAINS,), _completes)


def _fails(scratch: Scratch, script: str) -> None:
    _note_failure(scratch, scratch.create(scratch.request(script, length=Length.TRAINS)))


def _note_failure(scratch: Scratch, name: str) -> None:
    job = scratch.end(name)
    if job["TrainingJobStatus"] not in ENDED_STATUSES or "Training" not in statuses(job):
        raise NotReached(f"the job never trained: {job.get('FailureReason') or job['SecondaryStatus']}")
    scratch.facts["status"] = job["TrainingJobStatus"]
    scratch.facts["statuses"] = statuses(job)
    scratch.facts["reason"] = job.get("FailureReason")
    scratch.facts["names_of_the_output"] = scratch.keys(f"out/{name}/output")
    scratch.facts["model_kept"] = "model.tar.gz" in scratch.facts["names_of_the_output"]


def _toolkit_fails(scratch: Scratch) -> None:
    if not scratch.service.has_toolkit:
        raise NotReached("--image names an image of yours: only AWS's framework images run a script by themselves")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        member = tarfile.TarInfo("train.py")
        member.size = len(TOOLKIT_EXIT_42)
        archive.addfile(member, io.BytesIO(TOOLKIT_EXIT_42.encode()))
    uri = scratch.put("code/sourcedir.tar.gz", buffer.getvalue())
    request: dict[str, Any] = scratch.request(length=Length.TRAINS)
    algorithm = request["AlgorithmSpecification"]
    request["AlgorithmSpecification"] = {key: algorithm[key] for key in ("TrainingImage", "TrainingInputMode")}
    values = {
        "sagemaker_program": "train.py",
        "sagemaker_submit_directory": uri,
        "sagemaker_region": scratch.service.region,
    }
    request["HyperParameters"] = {key: json.dumps(value) for key, value in values.items()}
    _note_failure(scratch, scratch.create(request))


EXPERIMENTS = (
    Experiment(
        "training-time-live",
        "TrainingTimeInSeconds while a job trains",
        "It is there.",
        f"[T] {_LOCAL}",
        COMPLETES,
        (equals("training_time_while_training", True),),
        ("billable_time_while_training", "training_end_time_while_training"),
    ),
    Experiment(
        "model-artifacts-live",
        "ModelArtifacts while a job trains",
        "It is there only at the end.",
        f"[T] {_LOCAL}",
        COMPLETES,
        (equals("model_artifacts_while_training", False), equals("model_artifacts_at_the_end", True)),
    ),
    Experiment(
        "completed",
        "the statuses of a job that completes",
        "Starting, Downloading, Training, Uploading, Completed.",
        f"[D] {_LOCAL}",
        COMPLETES,
        (in_order("statuses", "Starting", "Downloading", "Training", "Uploading", "Completed"),),
        ("messages", "described_members"),
    ),
    Experiment(
        "training-time",
        "what TrainingTimeInSeconds and BillableTimeInSeconds count",
        "From TrainingStartTime to TrainingEndTime, within seconds; on-demand, all of it is billed.",
        f"[D] {_LOCAL}",
        COMPLETES,
        (between("training_time_against_span_seconds", -5, 5), between("billable_minus_training_seconds", 0, 0)),
    ),
    Experiment(
        "last-modified-late",
        "LastModifiedTime of a job that has ended",
        "It is up to half a minute later than TrainingEndTime.",
        f"[T] {_LOCAL}",
        COMPLETES,
        (between("modified_after_end_seconds", 0.1, 60),),
    ),
    Experiment(
        "working-directory",
        "the directory in which a container's own command starts",
        "/opt/ml/code.",
        f"[A] {_LOCAL}",
        COMPLETES,
        (equals("working_directory", "/opt/ml/code"),),
    ),
    Experiment(
        "exit-code",
        "a script that exits with 42",
        "FailureReason is an AlgorithmError that ends with the code; no model is kept.",
        f"[T] {_LOCAL}",
        Setup("exit-code", (Length.TRAINS,), partial(_fails, script=EXIT_42)),
        (
            equals("status", "Failed"),
            matches("reason", r"^AlgorithmError: .*[Ee]xit [Cc]ode: 42$"),
            equals("model_kept", False),
        ),
        ("statuses", "names_of_the_output"),
    ),
    Experiment(
        "exit-failure-file",
        "a script that exits with 42 and leaves /opt/ml/output/failure",
        "FailureReason is the file's text with the code behind it.",
        f"[T] {_LOCAL}",
        Setup("failure-file", (Length.TRAINS,), partial(_fails, script=FAILURE_FILE)),
        (equals("status", "Failed"), matches("reason", r"^AlgorithmError: verify-aws: on purpose, exit code: 42$")),
    ),
    Experiment(
        "exit-signal",
        "a script that SIGSEGV ends",
        "FailureReason has the code 139, which is 128 and the signal's number.",
        f"[A] {_LOCAL}",
        Setup("exit-signal", (Length.TRAINS,), partial(_fails, script=CRASH)),
        (equals("status", "Failed"), matches("reason", r"^AlgorithmError: .*[Ee]xit [Cc]ode: 139$")),
    ),
    Experiment(
        "exit-code-toolkit",
        "a script in script mode that exits with 42",
        "FailureReason has the script's code in front; the 1 at its end is the toolkit's own.",
        f"[T] {_LOCAL}",
        Setup("toolkit", (Length.TRAINS,), _toolkit_fails),
        (
            one_of("status", "Failed"),
            matches("reason", r"^AlgorithmError: ExecuteUserScriptError:\s+ExitCode 42\s.*exit code: 1$"),
        ),
    ),
)
