"""docs/rehearse.md names every verdict, every run and every option."""

from __future__ import annotations

import argparse
import inspect
import re
from pathlib import Path

from airflow_spot.cli.rehearse import add_parser
from airflow_spot.rehearsal.observations import Scenario
from airflow_spot.rehearsal.report import Report
from airflow_spot.rehearsal.running import Options
from airflow_spot.rehearsal.subject import from_script
from airflow_spot.rehearsal.verdicts import Kind

PAGE = (Path(__file__).parents[2] / "docs" / "rehearse.md").read_text()


def test_every_kind_of_verdict_in_the_order_of_their_weight() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \|.*\| (yes|no) \|$", PAGE, re.MULTILINE)
    assert rows == [(kind.value, "yes" if kind.is_fault else "no") for kind in Kind]


def test_every_run() -> None:
    rows = re.findall(r"^\| ([^`|]+) \|", PAGE.split("## What it says")[0], re.MULTILINE)
    assert [scenario.value for scenario in Scenario] == rows[2:-1]


def test_every_option_of_the_fixture() -> None:
    section = PAGE.split("## In your tests")[1].split("## ")[0]
    takes = {*inspect.signature(from_script).parameters, *Options.__dataclass_fields__} - {"script"}
    assert takes <= set(re.findall(r"`(\w+)`", section))


def test_every_option_of_the_command() -> None:
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    (subparsers,) = (action for action in parser._actions if action.choices)
    options = [option for action in subparsers.choices["rehearse"]._actions for option in action.option_strings]
    for option in options:
        assert option in PAGE or option in ("-h", "--help"), option


def test_every_key_of_the_report() -> None:
    empty = Report("train.py", (), (), (), None)  # type: ignore[arg-type]
    for key in empty.to_json():
        assert f"`{key}`" in PAGE, key
