"""What is known of whose account it is."""

from __future__ import annotations

import pytest

from airflow_spot.verify.known_names import known_names


def names(image: str, *, default_image: bool = False, role: str = "path/team,x") -> dict[str, str]:
    return known_names("1", role, "b", image, default_image=default_image, sessions=["me"])


def test_role_bucket_account_and_session() -> None:
    found = names("image", default_image=True)
    assert found == {
        "path/team,x": "<role>",
        "path": "<role>",
        "team,x": "<role>",
        "b": "<bucket>",
        "1": "<account>",
        "me": "<user>",
        "image": "<image>",
    }


@pytest.mark.parametrize(
    ("image", "parts"),
    [
        ("123.dkr.ecr.eu-west-1.amazonaws.com/acme/churn:1", {"acme/churn", "acme", "churn"}),
        ("localhost:5000/acme@sha256:0", {"localhost:5000/acme", "acme"}),
        ("acme/churn:1@sha256:0", {"acme/churn", "acme", "churn"}),
        ("python", {"python"}),
    ],
)
def test_the_parts_of_an_image_of_ones_own(image: str, parts: set[str]) -> None:
    found = {name for name, label in names(image).items() if label == "<image>"}
    assert parts | {image} <= found
    assert not any(part in found for part in ("1", "0", "sha256", "localhost"))
    assert names(image, default_image=True).keys() - names(image).keys() == set()


def test_slashes_make_no_name_of_nothing() -> None:
    assert "" not in names("i", role="/a//b/")
