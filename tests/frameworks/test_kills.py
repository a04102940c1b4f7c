"""The harness finds what is wrong with a script, and nothing with one that is sound."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.frameworks.examples import EXAMPLES, Example
from tests.frameworks.folders import of_older_style
from tests.frameworks.kills import kill_often
from tests.frameworks.lives import has_namespaces

OLDER = EXAMPLES["older_style"].script


@dataclass(frozen=True)
class Changed(Example):
    """An example whose script is elsewhere."""

    path: Path = OLDER

    @property
    def script(self) -> Path:
        return self.path


@pytest.mark.slow
@pytest.mark.skipif(not has_namespaces(), reason="its scripts hard-code /opt/ml, and this machine allows no namespaces")
@pytest.mark.parametrize(
    ("part", "instead", "fault"),
    [
        ("", "", None),
        ("except ValueError:", "except KeyError:", "ended with 1"),
        ("sorted(numbered, reverse=True)", "sorted(numbered)", "resumed from"),
        ("weights = weights or [0.0]", "weights = [0.0]", "another than that of the uninterrupted"),
    ],
    ids=["sound", "fails at a torn one", "takes the oldest", "drops what it loads"],
)
def test_a_fault_is_found(part: str, instead: str, fault: str | None, tmp_path: Path) -> None:
    script = tmp_path / OLDER.name
    script.write_text(OLDER.read_text().replace(part, instead) if part else OLDER.read_text())
    example = Changed("older_style", "plain", {"epochs": 20}, read=of_older_style, path=script)
    told: list[str] = []
    found = kill_often(example, Path(sys.executable), 10, 5, told.append)
    if fault is None:
        assert not found.faults
        assert (found.kills, found.torn > 0, found.redone > 0) == (10, True, True)
    else:
        assert fault in "".join(found.faults).splitlines()[0], told
