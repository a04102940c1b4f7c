"""Whether policies allow an action."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_spot.local.aws.policies import decide


def allow(action: Any, resource: Any = "*", **more: Any) -> dict[str, Any]:
    return {"Statement": [{"Effect": "Allow", "Action": action, "Resource": resource, **more}]}


DENY = {"Statement": {"Effect": "Deny", "Action": "s3:Delete*", "Resource": "*"}}


@pytest.mark.parametrize(
    ("policies", "decision"),
    [
        ([], "implicitDeny"),
        ([allow("s3:DeleteObject")], "allowed"),
        ([allow("S3:delete?bject")], "allowed"),
        ([allow(["a:B", "*"])], "allowed"),
        ([allow("s3:Delete")], "implicitDeny"),
        ([allow("s3:[D]eleteObject")], "implicitDeny"),
        ([allow("*"), DENY], "explicitDeny"),
        ([DENY], "explicitDeny"),
        ([allow("*", "arn:aws:s3:::b/*")], "allowed"),
        ([allow("*", ["arn:aws:s3:::c/*", "arn:aws:s3:::b"])], "implicitDeny"),
        ([allow("*", "arn:aws:s3:::B/*")], "implicitDeny"),
        ([allow("*", "*", Condition={"Bool": {"aws:SecureTransport": "true"}})], "allowed"),
        ([{"Statement": {"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}}], "allowed"),
        ([{"Statement": {"Effect": "Allow", "Action": "*", "NotResource": "arn:aws:s3:::b/*"}}], "implicitDeny"),
        ([{"Statement": {"Effect": "Allow", "Action": "*"}}], "implicitDeny"),
        (
            [None, [], {"Statement": "x"}, {"Statement": [1, {"Effect": "Allow", "Action": 1, "Resource": {}}]}],
            "implicitDeny",
        ),
    ],
)
def test_decisions(policies: list[Any], decision: str) -> None:
    assert decide(policies, "s3:DeleteObject", "arn:aws:s3:::b/key") == decision


def test_no_resource_is_covered_by_the_star_alone() -> None:
    assert decide([allow("a:B", "arn:aws:s3:::b/*")], "a:B", "*") == "implicitDeny"
    assert decide([allow("a:B")], "a:B", "*") == "allowed"


JSON = st.recursive(
    st.none() | st.sampled_from(["", "*", "a:B", "Allow", "["]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["Statement", "Effect", "Action", "Resource", "NotAction", "x"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(JSON, st.sampled_from(["a:B", "", "*"]))
def test_anything_is_a_policy_that_allows_something_or_nothing(document: Any, action: str) -> None:
    assert decide([document], action, "*") in ("allowed", "explicitDeny", "implicitDeny")
    assert (
        decide([document, {"Statement": {"Effect": "Deny", "Action": "*", "Resource": "*"}}], action, "*")
        == "explicitDeny"
    )
