"""The table of permissions has the calls that the package makes: no more and no less, by the source's syntax trees."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import botocore.session
import pytest
from botocore import xform_name

from airflow_spot.core.iam.permissions import FEATURES, NEEDS, Who

PACKAGE = Path(__file__).parents[3] / "airflow_spot"
#: These call with credentials of their own, or none: a test service, a rehearsal on it, a suite with a page of its own.
ELSEWHERE = ("local", "rehearsal", "verify")
SERVICES = ("sagemaker", "s3", "sts", "iam", "logs", "sqs", "service-quotas", "ec2", "pricing", "ecr", "cloudwatch")

#: Calls by a name that is no operation's: of Airflow's hooks, and of boto3's transfers. Attribute -> what it calls.
BY_ANOTHER_NAME = {
    "check_for_key": {"s3:HeadObject"},
    "check_for_bucket": {"s3:HeadBucket"},
    "check_training_config": {"s3:HeadBucket", "s3:HeadObject", "s3:ListObjectsV2"},
    "load_bytes": {"s3:PutObject", "s3:CreateMultipartUpload", "s3:UploadPart", "s3:CompleteMultipartUpload"},
    "load_file": {"s3:PutObject", "s3:CreateMultipartUpload", "s3:UploadPart", "s3:CompleteMultipartUpload"},
    "tar_and_s3_upload": {"s3:PutObject", "s3:AbortMultipartUpload"},
    "expand_role": {"iam:GetRole"},
}
#: Where `.copy(` is boto3's, which a dict has, too.
_COPY = {"s3:HeadObject", "s3:CopyObject", "s3:UploadPartCopy"}
COPIES = {"aws/model_copy.py": _COPY, "aws/set_aside.py": _COPY}
#: Names that much else has: they count with these receivers alone.
AMBIGUOUS = {"search": ("sagemaker", "client"), "create_bucket": ("s3_hook", "client", "s3")}
#: It captures what a trainer of the SDK would send: nothing is called.
NOT_CALLED = ("sdk/capture.py",)
#: A command of the suite that has a page of permissions of its own: docs/verify-aws.md.
OWN_PAGE = ("cli/verify_aws.py",)
#: What is only said of an object in S3, and never called: names in lints.
NAMED_ONLY = ("core/script_lint",)


@pytest.fixture(scope="module")
def operations() -> dict[str, set[str]]:
    """Methods of clients -> the operations that they may be."""
    session = botocore.session.get_session()
    found: dict[str, set[str]] = {}
    for service in SERVICES:
        for name in session.get_service_model(service).operation_names:
            found.setdefault(xform_name(name), set()).add(f"{service}:{name}")
    return found


def sources() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if name.split("/")[0] in (*ELSEWHERE, "checkpoint") or name.startswith((*NOT_CALLED, *OWN_PAGE, *NAMED_ONLY)):
            continue
        yield name, ast.parse(path.read_text())


def calls(operations: dict[str, set[str]]) -> Iterator[tuple[str, set[str]]]:
    """Where a call is made -> the operations that it may be, or that it is for certain."""
    for name, tree in sources():
        for node in ast.walk(tree):
            where = f"{name}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Attribute):
                yield from ((where, found) for found in of_attribute(name, node, operations))
            elif isinstance(node, ast.Call):
                yield from ((where, found) for found in of_call(node, operations))


def of_attribute(name: str, node: ast.Attribute, operations: dict[str, set[str]]) -> Iterator[set[str]]:
    receiver = ast.unparse(node.value)
    if node.attr in BY_ANOTHER_NAME:
        yield from ({each} for each in BY_ANOTHER_NAME[node.attr])
    elif node.attr == "copy" and name in COPIES and receiver == "client":
        yield from ({each} for each in COPIES[name])
    elif node.attr in operations and receiver.endswith(AMBIGUOUS.get(node.attr, ("",))):
        yield operations[node.attr]


def of_call(node: ast.Call, operations: dict[str, set[str]]) -> Iterator[set[str]]:
    """What is paged, or asked for by name: as botocore's method, or in preflight as the table has it."""
    if isinstance(node.func, ast.Attribute) and node.func.attr in ("get_paginator", "call"):
        for argument in node.args:
            if isinstance(argument, ast.Constant) and argument.value in operations:
                yield operations[str(argument.value)]
    if isinstance(node.func, ast.Attribute) and node.func.attr == "ask":
        yield from ({str(each.value)} for each in node.args[:1] if isinstance(each, ast.Constant))


def test_the_table_has_every_call_that_the_package_makes_and_no_other(operations: dict[str, set[str]]) -> None:
    table, found = {need.call for need in NEEDS}, list(calls(operations))
    missing = {where: sorted(may_be) for where, may_be in found if not may_be & table}
    assert not missing
    made = set().union(*(may_be for _, may_be in found))
    stale = {need.call for need in NEEDS if need.call and need.call not in made}
    assert not stale


def test_the_search_would_find_a_new_call(operations: dict[str, set[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    trees = [
        ("aws/new.py", ast.parse("def f(client): return client.delete_training_job(TrainingJobName='x')")),
        ("aws/paged.py", ast.parse("for page in client.get_paginator('list_training_jobs_for_x').paginate(): ...")),
        ("aws/other.py", ast.parse("client.get_paginator('list_endpoints').paginate()")),
    ]
    monkeypatch.setattr("tests.core.iam.test_permissions.sources", lambda: iter(trees))
    found = [sorted(may_be) for _, may_be in calls(operations)]
    assert found == [["sagemaker:DeleteTrainingJob"], ["sagemaker:ListEndpoints"]]


def test_the_table_is_whole() -> None:
    assert {need.feature for need in NEEDS} == set(FEATURES)
    assert {who for need in NEEDS for who in need.who} == set(Who)
    for need in NEEDS:
        assert need.who and (need.actions or need.call == "sts:GetCallerIdentity"), need
        assert bool(need.call) or need.feature == "kms" or need.who == (Who.TRAINING,), need
    assert any(need.required for need in NEEDS) and any(not need.required for need in NEEDS)


#: Features of the market -> the room whose code makes their calls, wherever it runs.
ROOMS = {"market": "airflow_spot.market", "capacity": "airflow_spot.market"}


def reached(start: str, trees: dict[str, ast.Module]) -> set[str]:
    """The modules that a room's code imports, at any place of a file, and theirs in turn."""
    found, left = set(), [name for name in trees if name.startswith(start)]
    while left:
        name = left.pop()
        if name not in trees or name in found:
            continue
        found.add(name)
        for node in ast.walk(trees[name]):
            if isinstance(node, ast.Import):
                left += [each.name for each in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not type_checking(node, trees[name]):
                left += [node.module, *(f"{node.module}.{each.name}" for each in node.names)]
    return found


def type_checking(node: ast.ImportFrom, tree: ast.Module) -> bool:
    blocks = [each for each in tree.body if isinstance(each, ast.If) and "TYPE_CHECKING" in ast.unparse(each.test)]
    return any(node is each for block in blocks for each in ast.walk(block))


@pytest.fixture(scope="module")
def trees() -> dict[str, ast.Module]:
    names = {path: path.relative_to(PACKAGE.parent).with_suffix("").as_posix() for path in PACKAGE.rglob("*.py")}
    return {
        name.replace("/", ".").removesuffix(".__init__"): ast.parse(path.read_text()) for path, name in names.items()
    }


@pytest.mark.parametrize(
    ("who", "start"),
    [
        (Who.TRIGGERER, "airflow_spot.triggers"),
        (Who.WORKER, "airflow_spot.operators"),
        (Who.COMMANDS, "airflow_spot.cli"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
@pytest.mark.parametrize("feature", ROOMS)
def test_who_may_ask_the_market_has_code_that_does(
    trees: dict[str, ast.Module], who: Who, start: str, feature: str
) -> None:
    asks = any(name.startswith(ROOMS[feature]) for name in reached(start, trees))
    assert asks is any(who in need.who for need in NEEDS if need.feature == feature)
