"""The places in S3: buckets that exist, in the region of the training, and channels that hold something."""

from __future__ import annotations

from collections.abc import Iterator

from airflow_spot.preflight.asking import Answer, Asker
from airflow_spot.preflight.findings import PreflightFinding, Severity, not_checked
from airflow_spot.preflight.wanted import Place, Wanted

_MISSING = ("404", "NoSuchBucket", "NotFound")
_ELSEWHERE = ("301", "PermanentRedirect", "400")


def check_places(ask: Asker, wanted: Wanted) -> list[PreflightFinding]:
    """Return what is wrong with the buckets and the channels."""
    found = [] if ask.only_needed else list(not_looked_at(wanted))
    gone = set()
    # A worker needs to see where data and checkpoints are; where the output is it need not.
    looked_at = [place for place in wanted.places if not ask.only_needed or place.kind != "output"]
    for bucket in dict.fromkeys(place.bucket for place in looked_at):
        fields = [place.field for place in wanted.places if place.bucket == bucket]
        answer = ask.ask("s3:HeadBucket", Bucket=bucket)
        for finding in judge_bucket(answer, bucket, fields, ask.region):
            found.append(finding)
            if finding.severity is Severity.FAIL:
                gone.add(bucket)
    for place in wanted.places:
        if place.kind == "data" and place.bucket not in gone:
            answer = ask.ask("s3:ListObjectsV2", Bucket=place.bucket, Prefix=place.key, MaxKeys=1)
            found += judge_channel(answer, place)
    return found


def not_looked_at(wanted: Wanted) -> Iterator[PreflightFinding]:
    """Yield the channels that are not in S3, or are named otherwise than by an S3 URI."""
    for field, uri in dict.fromkeys(each for rung in wanted.rungs for each in rung.other_channels):
        yield not_checked("channel", field, uri, "only data at an s3:// URI is looked at")


def judge_bucket(answer: Answer, bucket: str, fields: list[str], region: str) -> Iterator[PreflightFinding]:
    """Yield what HeadBucket tells of a bucket, which some fields of the request name."""
    value, field = f"s3://{bucket}", ", ".join(fields)
    where = bucket_region(answer)
    if answer.skipped:
        return
    if answer.code in _MISSING:
        why = "there is no such bucket: SageMaker refuses the job"
        yield PreflightFinding("bucket", Severity.FAIL, field, value, why, "create it, or name another")
    elif where and where != region:
        why = f"the bucket is in {where}, and the job in {region}: SageMaker reads and writes in its own region only"
        fix = f"name a bucket in {region}, or train in {where}"
        yield PreflightFinding("bucket", Severity.FAIL, field, value, why, fix)
    elif answer.code in _ELSEWHERE:
        why = f"the bucket is not in {region}: SageMaker reads and writes in its own region only"
        yield PreflightFinding("bucket", Severity.FAIL, field, value, why, f"name a bucket in {region}")
    elif answer.why:
        yield not_checked("bucket", field, value, answer.why)


def bucket_region(answer: Answer) -> str:
    """Return the region that S3 says a bucket is in, also where it refuses the request; empty where it does not."""
    headers = (answer.value.get("ResponseMetadata") or {}).get("HTTPHeaders") or {}
    return str(answer.value.get("BucketRegion") or headers.get("x-amz-bucket-region") or "")


def judge_channel(answer: Answer, place: Place) -> Iterator[PreflightFinding]:
    """Yield whether a channel holds nothing."""
    if answer.skipped:
        return
    if answer.why:
        yield not_checked("channel", place.field, place.uri, answer.why)
    elif not answer.value.get("KeyCount") and not answer.value.get("Contents"):
        what = "object with that prefix" if place.data_type == "S3Prefix" else "such manifest"
        why = f"there is no {what}: there is nothing to train on, and the task fails"
        yield PreflightFinding(
            "channel", Severity.FAIL, place.field, place.uri, why, "put the data there, or fix the URI"
        )
