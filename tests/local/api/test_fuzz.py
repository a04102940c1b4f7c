"""Requests built from botocore's model, right and wrong: an answer each time, and never a 500."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_spot.local import LocalSageMaker
from airflow_spot.local.api.validation import compiled, operation_model, problems
from airflow_spot.local.http.registry import OPERATIONS
from tests.local.jobs import ABSENT, Jobs

CLIENT_ERRORS = {
    "ValidationException",
    "SerializationException",
    "ResourceInUse",
    "UnknownOperationException",
    "ResourceLimitExceeded",
}
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FUZZ = settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck), database=None)


@pytest.fixture(scope="module")
def service() -> Iterator[LocalSageMaker]:
    with LocalSageMaker(engine="simulated", market="never", on_demand_market="never") as running:
        Jobs(running)
        yield running


def value(shape: Any, depth: int = 0) -> st.SearchStrategy[Any]:
    """Values that a shape allows; now and then others."""
    right = _right(shape, depth)
    return st.one_of(right, right, right, right, right, right, right, ANYTHING) if depth else right


def _right(shape: Any, depth: int) -> st.SearchStrategy[Any]:  # noqa: PLR0911 - one return a kind
    least, most = shape.metadata.get("min", 0), shape.metadata.get("max")
    kind = shape.type_name
    if kind == "structure":
        optional = {} if depth > 3 else {name: value(member, depth + 1) for name, member in shape.members.items()}
        required = {name: value(shape.members[name], depth + 1) for name in shape.required_members}
        few = st.lists(st.sampled_from(sorted(optional)), max_size=6, unique=True) if optional else st.just([])
        return few.flatmap(
            lambda names: st.fixed_dictionaries({**required, **{name: optional[name] for name in names}})
        )
    if kind == "list":
        return st.lists(value(shape.member, depth + 1), min_size=min(least, 2), max_size=max(2, min(most or 3, 3)))
    if kind == "map":
        return st.dictionaries(_right(shape.key, depth + 1), value(shape.value, depth + 1), max_size=3)
    if kind == "string":
        if shape.metadata.get("enum"):
            return st.sampled_from(shape.metadata["enum"])
        pattern = compiled(shape.metadata.get("pattern", ""))
        if shape.metadata.get("pattern") and pattern is not None:
            return st.from_regex(pattern, fullmatch=True)
        return st.text(min_size=least, max_size=min(most or 30, 30))
    if kind in ("integer", "long"):
        return st.integers(least, most if most is not None else least + 10_000)
    return st.booleans() if kind == "boolean" else st.floats(allow_nan=False, allow_infinity=False)


def post(service: LocalSageMaker, operation: str, body: bytes) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection(urlsplit(service.endpoint_url).netloc, timeout=120)
    headers = {"X-Amz-Target": f"SageMaker.{operation}", "Content-Type": "application/x-amz-json-1.1"}
    try:
        connection.request("POST", "/", body, headers)
        response = connection.getresponse()
        return response.status, json.load(response)
    finally:
        connection.close()


def check(service: LocalSageMaker, operation: str, params: Any) -> None:
    status, answer = post(service, operation, json.dumps(params).encode())
    if status == 200:
        shape = operation_model(operation).output_shape
        assert shape is None or set(problems(shape, answer)) <= ABSENT
    else:
        assert status in (400, 404), answer
        assert answer["__type"] in CLIENT_ERRORS
        assert answer["message"]


QUICK = ("CreateTrainingJob", "ListTrainingJobs", "Search")


@pytest.mark.parametrize(
    "operation",
    [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in sorted(OPERATIONS)],
)
def test_requests_from_the_model(service: LocalSageMaker, operation: str) -> None:
    @FUZZ
    @given(value(operation_model(operation).input_shape))
    def never_a_500(params: Any) -> None:
        check(service, operation, params)

    never_a_500()
    assert post(service, "ListTrainingJobs", b"{}")[0] == 200


def nearly_right(jobs: Jobs) -> st.SearchStrategy[dict[str, Any]]:
    """A good request with a few of its members replaced: what passes validation more often than not."""
    shape: Any = operation_model("CreateTrainingJob").input_shape
    replaced = st.lists(st.sampled_from(sorted(set(shape.members) - {"TrainingJobName"})), max_size=3, unique=True)
    return replaced.flatmap(
        lambda names: st.fixed_dictionaries({name: value(shape.members[name], 1) for name in names})
    ).map(lambda changes: {**jobs.request(), **changes})


def test_jobs_that_are_nearly_right(service: LocalSageMaker) -> None:
    jobs = Jobs(service)

    @FUZZ
    @given(nearly_right(jobs))
    def created_or_refused(params: dict[str, Any]) -> None:
        check(service, "CreateTrainingJob", params)
        check(service, "DescribeTrainingJob", {"TrainingJobName": params["TrainingJobName"]})

    created_or_refused()
    service.set_market("always", on_demand_market="always")
    for line in jobs.sagemaker.list_training_jobs(MaxResults=100, SortOrder="Descending")["TrainingJobSummaries"]:
        job = jobs.describe(line["TrainingJobName"])
        assert not job.get("FailureReason", "").startswith("InternalServerError"), job["FailureReason"]


@FUZZ
@given(body=st.binary(max_size=200) | ANYTHING.map(lambda found: json.dumps(found).encode()))
def test_bodies_of_any_kind(service: LocalSageMaker, body: bytes) -> None:
    status, answer = post(service, "CreateTrainingJob", body)
    assert (status, answer["__type"] in CLIENT_ERRORS) == (400, True)


@pytest.mark.parametrize(
    "body",
    [b"[" * 100_000, b'{"a":' * 50_000 + b"1" + b"}" * 50_000, b'{"NextToken": "' + b"x" * 9000 + b'"}'],
    ids=["brackets", "objects", "token"],
)
def test_bodies_that_go_deep(service: LocalSageMaker, body: bytes) -> None:
    assert post(service, "ListTrainingJobs", body)[0] == 400


def test_texts_that_no_program_can_be_given(jobs: Jobs) -> None:
    for text in ("nul \0 in it", "half a \ud800 pair"):
        job = jobs.run("pass", Environment={"ODD": text})
        assert job["FailureReason"].startswith("AlgorithmError: ExecuteUserScriptError:\nExitCode 127\n")
        assert "cannot be passed on" in jobs.output(job["TrainingJobName"])[0][0]
