"""What becomes of the checkpoint folder: markers beside the files, the next job, two jobs at once."""

from __future__ import annotations

from airflow_spot.verify.experiment import Experiment, Setup
from airflow_spot.verify.pace import Length
from airflow_spot.verify.scratch import NotReached, Scratch
from airflow_spot.verify.scripts import MARKERS, RESTORE
from airflow_spot.verify.verdicts import equals, one_of

_LOCAL = "docs/local-sagemaker.md"
_UPLOADING = ".sagemaker-uploading"
_UPLOADED = ".sagemaker-uploaded"


def _completed(scratch: Scratch, name: str) -> None:
    job = scratch.end(name)
    if job["TrainingJobStatus"] != "Completed":
        raise NotReached(f"the job is {job['TrainingJobStatus']}: {job.get('FailureReason') or job['SecondaryStatus']}")


def _markers(scratch: Scratch) -> None:
    facts = scratch.facts
    name = scratch.create(
        scratch.request(MARKERS, length=Length.TRAINS, checkpoints="ck", seconds=max(6.0, scratch.service.pace.train))
    )
    was_there = False
    for _ in scratch.watch(name):
        was_there = was_there or "gone" in scratch.keys("ck")
    _completed(scratch, name)
    seen = set((scratch.model(name) or {}).get("names", ()))
    kept = set(scratch.keys("ck"))
    facts["names_beside_the_checkpoints"] = sorted(seen)
    facts["names_in_s3"] = sorted(kept)
    facts["uploading_marker_seen"] = any(each.endswith(_UPLOADING) for each in seen)
    facts["uploaded_marker_seen"] = any(each.endswith(_UPLOADED) for each in seen)
    facts["checkpoint_uploaded"] = "kept" in kept
    facts["ignored_file_uploaded"] = "skipped.sagemaker-ignore" in kept
    scratch.why["deleted_file_in_s3"] = "the file was not seen in S3 before the script deleted it"
    if was_there:
        facts["deleted_file_in_s3"] = "gone" in kept
    facts["markers_in_s3"] = any(each.endswith((_UPLOADING, _UPLOADED)) for each in kept)


MARKER_FILES = Setup("markers", (Length.TRAINS,), _markers)


def _restored(scratch: Scratch) -> None:
    first = scratch.create(scratch.request(RESTORE, length=Length.TRAINS, checkpoints="ck"))
    _completed(scratch, first)
    second = scratch.create(scratch.request(RESTORE, length=Length.TRAINS, checkpoints="ck", seconds=0))
    _completed(scratch, second)
    seen = scratch.model(second) or {}
    found = list(seen.get("found", ()))
    scratch.facts["found_at_the_start"] = found
    scratch.facts["step_restored"] = seen.get("step")
    scratch.facts["subfolder_restored"] = "deep/other" in found
    scratch.facts["markers_restored"] = any(each.endswith((_UPLOADING, _UPLOADED)) for each in found)


RESTORED = Setup("restored", (Length.TRAINS,) * 2, _restored)


def _two_writers(scratch: Scratch) -> None:
    pace = scratch.service.pace
    first = scratch.create(scratch.request(RESTORE, length=Length.TRAINS, checkpoints="ck", seconds=pace.train * 3))
    scratch.until(first, "Training")
    request = scratch.request(RESTORE, length=Length.TRAINS, checkpoints="ck", seconds=0)
    answer = scratch.refused(request)  # where it is accepted it is stopped: two writers are seen as soon as both exist
    scratch.facts["second_job_code"], scratch.facts["second_job_message"] = answer or (None, None)
    scratch.facts["first_job_goes_on"] = scratch.describe(first)["TrainingJobStatus"] == "InProgress"
    scratch.stop(first)


TWO_WRITERS = Setup("two-writers", (Length.TRAINS,) * 2, _two_writers)

EXPERIMENTS = (
    Experiment(
        "checkpoint-markers",
        "what appears beside a checkpoint while it is uploaded",
        "<file>.sagemaker-uploading, then <file>.sagemaker-uploaded.",
        f"[T] {_LOCAL}",
        MARKER_FILES,
        (equals("uploading_marker_seen", True), equals("uploaded_marker_seen", True)),
        ("names_beside_the_checkpoints", "markers_in_s3", "names_in_s3"),
    ),
    Experiment(
        "checkpoint-ignored",
        "a file named *.sagemaker-ignore",
        "It is not uploaded; other files are.",
        f"[T] {_LOCAL}",
        MARKER_FILES,
        (equals("checkpoint_uploaded", True), equals("ignored_file_uploaded", False)),
    ),
    Experiment(
        "checkpoint-deleted",
        "a checkpoint that the script deletes",
        "It is deleted in S3 too.",
        f"[D] {_LOCAL}",
        MARKER_FILES,
        (equals("checkpoint_uploaded", True), equals("deleted_file_in_s3", False)),
    ),
    Experiment(
        "checkpoint-restored",
        "a second job with the checkpoint folder of one that has ended",
        "All of it is there before the script starts.",
        "[D] docs/checkpoints.md",
        RESTORED,
        (equals("step_restored", "17"), equals("subfolder_restored", True)),
        ("found_at_the_start", "markers_restored"),
    ),
    Experiment(
        "two-writers",
        "a second job on the checkpoint folder of one that trains",
        "SageMaker accepts it: only this package keeps two jobs from writing there.",
        "[A] docs/checkpoints.md",
        TWO_WRITERS,
        (one_of("second_job_code", None), equals("first_job_goes_on", True)),
        ("second_job_message",),
    ),
)
