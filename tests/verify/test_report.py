"""What is told of a run: table, sum, exit code, JSON."""

from __future__ import annotations

import json

import pytest

from airflow_spot.verify.experiment import Seen
from airflow_spot.verify.report import Result, exit_code, result, rows, summary, to_json
from airflow_spot.verify.scrubbing import Scrubber
from airflow_spot.verify.suite import EXPERIMENTS

ONE = next(each for each in EXPERIMENTS if each.id == "name-twice")
SCRUBBER = Scrubber({"canary-bucket": "<bucket>"})


def made(code: str | None, reason: str = "") -> Result:
    facts = {} if code is None else {"second_create_code": code, "second_create_message": "of canary-bucket", "else": 1}
    return result(ONE, Seen(facts, reason, seconds=1.6), SCRUBBER)


AS_ASSUMED, DIFFERS, NOT_REACHED = made("ResourceInUse"), made("in canary-bucket"), made(None, "denied: canary-bucket")


@pytest.mark.parametrize(
    ("results", "told", "code"),
    [
        ([AS_ASSUMED] * 3, "3 as assumed, 0 differ, 0 not reached", 0),
        ([AS_ASSUMED, NOT_REACHED], "1 as assumed, 0 differ, 1 not reached", 0),
        ([AS_ASSUMED, DIFFERS, NOT_REACHED, NOT_REACHED], "1 as assumed, 1 differs, 2 not reached", 1),
        ([DIFFERS, DIFFERS], "0 as assumed, 2 differ, 0 not reached", 1),
        ([NOT_REACHED], "0 as assumed, 0 differ, 1 not reached", 2),
        ([], "0 as assumed, 0 differ, 0 not reached", 2),
    ],
)
def test_the_sum_and_the_exit_code(results: list[Result], told: str, code: int) -> None:
    assert (summary(results), exit_code(results)) == (told, code)


def test_the_report_has_what_was_assumed_and_seen_without_names() -> None:
    report = to_json([AS_ASSUMED, DIFFERS, NOT_REACHED], {"region": "us-east-1"})
    assert json.loads(json.dumps(report)) == report
    assert report["v"] == 1 and report["region"] == "us-east-1"
    assert report["counts"] == {"as assumed": 1, "differs": 1, "not reached": 1}
    good, bad, none = report["experiments"]
    assert good["seen"] == {"second_create_code": "ResourceInUse", "second_create_message": "of <bucket>"}
    assert good["assumed"] == {"second_create_code": "is 'ResourceInUse'"} and good["seconds"] == 2
    assert bad["detail"] == "second_create_code is 'in <bucket>', assumed: is 'ResourceInUse'"
    assert none["detail"] == "denied: <bucket>" and none["seen"] == {}
    assert "canary" not in json.dumps(report)


def test_the_table() -> None:
    assert rows([DIFFERS])[1] == ("name-twice", "differs", "two creates with the same name")
