"""The training image: where it is in ECR, whether it is there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from airflow_spot.core.urls import without_query
from airflow_spot.preflight.asking import Answer, Asker
from airflow_spot.preflight.findings import PreflightFinding, Severity, not_checked
from airflow_spot.preflight.wanted import EcrImage, Wanted, read_image

_FIELD = "AlgorithmSpecification.TrainingImage"
_GONE = ("ImageNotFound", "ImageTagDoesNotMatchDigest", "InvalidImageTag", "InvalidImageDigest")


def check_images(ask: Asker, wanted: Wanted) -> list[PreflightFinding]:
    """Return which images are not there. BatchGetImage is what AWS's own repositories allow everybody."""
    found: list[PreflightFinding] = []
    if not ask.may_ask("ecr:BatchGetImage"):
        return found
    for uri, rungs in wanted.images.items():
        image = read_image(uri)
        if image is None:
            found.append(not_checked("image", _FIELD, without_query(uri), "it is not in ECR"))
            continue
        answer = ask.ask(
            "ecr:BatchGetImage",
            in_region=image.region,
            registryId=image.account,
            repositoryName=image.repository,
            imageIds=[image.id],
        )
        for finding in judge_image(answer, uri, image):
            found += [replace(finding, rung=rung) for rung in rungs or ("",)]
    return found


def judge_image(answer: Answer, uri: str, image: EcrImage) -> Iterator[PreflightFinding]:
    """Yield what BatchGetImage tells."""
    failures = {str(each.get("failureCode")) for each in answer.value.get("failures") or ()}
    if answer.code == "RepositoryNotFoundException":
        why = f"account {image.account} has no repository {image.repository} in {image.region}: the job fails"
        yield PreflightFinding("image", Severity.FAIL, _FIELD, uri, why, "create it, or fix the name")
    elif answer.why:
        yield not_checked("image", _FIELD, uri, answer.why)
    elif failures & set(_GONE) or (not failures and not answer.value.get("images")):
        which = image.digest or image.tag or "latest"
        why = f"the repository has no image {which}: the job fails"
        yield PreflightFinding("image", Severity.FAIL, _FIELD, uri, why, "push it, or fix the tag")
    elif failures:
        yield not_checked("image", _FIELD, uri, f"ECR answers {', '.join(sorted(failures))}")
