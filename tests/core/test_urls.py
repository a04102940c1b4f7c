"""Tokens in URLs are found and hidden; addresses stay."""

from __future__ import annotations

import pytest

from airflow_spot.core.parameter_errors import InvalidParameterError
from airflow_spot.core.urls import credentials, without_credentials, without_query


@pytest.mark.parametrize(
    ("text", "told", "secrets"),
    [
        ("s3://bucket/key?a=b#c", "s3://bucket/key?a=b#c", []),
        ("s3://key:s3cr3t@bucket/x", "s3://***@bucket/x", ["s3cr3t"]),
        ("see https://t0ken@host/x, or not", "see https://***@host/x, or not", ["t0ken"]),
        (
            "https://host/x?X-Amz-Signature=abc&v=1#top",
            "https://host/x?X-Amz-Signature=***&v=***#***",
            ["abc", "1", "top"],
        ),
        ("HTTP://me:a:b@proxy:8080", "HTTP://***@proxy:8080", ["b"]),
        ("'https://host/a' and 'https://host/b?'", "'https://host/a' and 'https://host/b?'", []),
        ("https://host/people@work", "https://host/people@work", []),
        ("me@host, a=b", "me@host, a=b", []),
    ],
)
def test_users_passwords_and_queries_are_hidden(text: str, told: str, secrets: list[str]) -> None:
    assert without_credentials(text) == told
    assert list(credentials({"a": [text, 1, None], "b": ({"c": "none"},)})) == secrets


def test_an_error_of_a_wrong_place_tells_no_token() -> None:
    error = InvalidParameterError("code_location", "https://me:hunter2@host/x?token=s3cr3t", "must be an S3 URI")
    assert str(error) == "code_location is 'https://***@host/x?token=***': must be an S3 URI"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://me:hunter2@host/x?X-Amz-Signature=abc#t0p", "https://***@host/x"),
        ("//me@host/x?token=a", "//me@host/x"),
        ("s3://bucket/a?b#c", "s3://bucket/a?b#c"),
        ("registry.example.com/train:1", "registry.example.com/train:1"),
        ("", ""),
    ],
)
def test_an_address_is_shown_without_what_follows_its_path(address: str, shown: str) -> None:
    assert without_query(address) == shown
