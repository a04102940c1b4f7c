"""The control endpoint: what it refuses, in words."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

import pytest

from tests.local.jobs import Jobs


def control(jobs: Jobs, action: str, body: bytes) -> tuple[int, str]:
    request = urllib.request.Request(f"{jobs.sm.endpoint_url}/_airflow_spot/{action}", body, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)["error"]


@pytest.mark.parametrize(
    ("action", "body", "message"),
    [
        ("interrupt", "[]", "not a JSON object"),
        ("interrupt", "null", "not a JSON object"),
        ("interrupt", "{", "JSONDecodeError"),
        ("interrupt", "{}", "job is None"),
        ("interrupt", '{"job": 5}', "job is 5"),
        ("interrupt", '{"job": "a", "region": 5}', "region is 5"),
        ("interrupt", '{"job": "a", "capacity_gap": "5"}', "capacity_gap is '5'"),
        ("interrupt", '{"job": "a", "capacity_gap": null}', "capacity_gap is None"),
        ("interrupt", '{"job": "a", "refuse": 1}', "refuse is 1"),
        ("interrupt", '{"job": "a", "refuse": true, "capacity_gap": 5}', "capacity_gap is 5"),
        ("crash", "{}", "job is None"),
        ("market", '{"spot": 5}', "spot is 5"),
        ("market", '{"on_demand": ["never"]}', "on_demand is ['never']"),
        ("faults", '{"plan": null}', "plan is None"),
        ("faults", "{}", "plan is None"),
        ("quotas", "{}", "quotas is None"),
        ("quotas", '{"quotas": "ml.g5.xlarge"}', "'ml.g5.xlarge' is not TYPE=N"),
    ],
)
def test_what_is_wrong_is_named(jobs: Jobs, action: str, body: str, message: str) -> None:
    status, text = control(jobs, action, body.encode())
    assert status == 400
    assert message in text


@pytest.mark.parametrize("gap", ["NaN", "-5", "Infinity"])
def test_no_capacity_for_a_time_that_is_none(jobs: Jobs, gap: str) -> None:
    name = jobs.start("import time; time.sleep(600)")
    jobs.reach(name, "Training")
    status, text = control(jobs, "interrupt", b'{"job": "%s", "capacity_gap": %s}' % (name.encode(), gap.encode()))
    assert (status, "capacity_gap is" in text) == (400, True)
    assert "Interrupted" not in str(jobs.describe(name)["SecondaryStatusTransitions"])
    jobs.sagemaker.stop_training_job(TrainingJobName=name)
