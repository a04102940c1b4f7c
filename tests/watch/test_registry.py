"""A watcher is one per connection, region and configuration, and its name tells no secret of them."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_spot.watch.registry import key_of

PROXY = {"proxies": {"https": "http://me:hunter2@proxy:8080"}}
SETTINGS: dict[str, Any] = {"aws_conn_id": "aws", "region_name": "eu-west-1", "verify": None, "config": None}


def test_the_key_says_what_the_calls_are_made_with() -> None:
    assert key_of(SETTINGS) == "aws_conn_id=aws region_name=eu-west-1"
    url = "https://sqs.eu-west-1.amazonaws.com/123456789012/events"
    assert key_of({**SETTINGS, "verify": False, "events": url}).endswith(f" verify=false events={url}")


@pytest.mark.parametrize(
    "more",
    [
        {"config": PROXY},
        {"config": {"user_agent": "hunter2"}},
        {"events": "https://me:hunter2@host/queue?token=hunter2"},
    ],
)
def test_no_secret_of_the_configuration_is_in_the_key(more: dict[str, Any]) -> None:
    key = key_of({**SETTINGS, **more})
    assert "hunter2" not in key and "me:" not in key
    assert key == key_of({**SETTINGS, **more})
    assert key != key_of(SETTINGS)


def test_two_configurations_have_two_watchers() -> None:
    other = {"proxies": {"https": "http://me:hunter3@proxy:8080"}}
    assert key_of({**SETTINGS, "config": PROXY}) != key_of({**SETTINGS, "config": other})
    events = [key_of({**SETTINGS, "events": f"https://me:{password}@host/queue"}) for password in ("a", "b")]
    assert events[0] != events[1]
