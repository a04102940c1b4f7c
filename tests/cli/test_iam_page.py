"""docs/iam.md shows what the command prints, and names every feature."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from airflow_spot.cli.main import main
from airflow_spot.cli.mwaa_checklist import policy as of_mwaa
from airflow_spot.core.iam.permissions import FEATURES, Who
from airflow_spot.core.iam.policy_documents import Names, needs_of, policy

PAGE = (Path(__file__).parents[2] / "docs" / "iam.md").read_text()
SHOWN = re.findall(r"```bash\n(airflow-spot iam [^\n]*)\n```\n\n```json\n(.*?)```", PAGE, re.DOTALL)


def test_the_page_shows_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(SHOWN) == 5
    for command, printed in SHOWN:
        assert main(command.split()[1:]) == 0
        assert capsys.readouterr().out == printed


def test_the_page_names_every_feature_and_everybody() -> None:
    assert dict(re.findall(r"^\| `([\w-]+)` \| (.*) \|$", PAGE.split("| feature |")[1], re.MULTILINE)) == FEATURES
    people = PAGE.split("| who |")[1].split("\n\n")[0]
    assert set(re.findall(r"^\| `([\w-]+)` \|", people, re.MULTILINE)) == {who.value for who in Who}


def test_the_checklist_of_mwaa_grants_what_the_policies_do() -> None:
    features = ("core", "role-name", "checkpoints", "data", "code", "logs", "retention", "events")
    ours = {
        action for who in (Who.WORKER, Who.TRIGGERER) for need in needs_of(who, features) for action in need.actions
    }
    theirs = {action for statement in of_mwaa()["Statement"] for action in statement["Action"]}
    assert theirs == ours


def test_no_policy_grants_more_than_its_rows() -> None:
    for who in Who:
        granted = {
            action for statement in policy(who, tuple(FEATURES), Names())["Statement"] for action in statement["Action"]
        }
        assert granted == {action for need in needs_of(who, tuple(FEATURES)) for action in need.actions}
        assert not any("*" in action for action in granted)
        json.dumps(policy(who, tuple(FEATURES), Names()))
