"""The systematic form strikes at every call, in every way, and can repeat each."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.chaos.judge import COLUMNS
from tests.chaos.scenario import ANY, Strike
from tests.chaos.systematic import MODES, VARIANTS, WHAT, WHENS, Point, bases, points, sample, scenario
from tests.chaos.wire import Wire
from tests.support.extent import ALL

ROOT = Path(__file__).parents[2]
FOUND = points(dict.fromkeys(bases(VARIANTS, MODES), 10))


def test_every_call_of_every_run_is_struck_in_every_way_before_and_after() -> None:
    assert len(set(FOUND)) == len(FOUND) == len(VARIANTS) * len(MODES) * 10 * len(WHENS) * len(WHAT)


def test_a_point_is_repeated_by_its_name() -> None:
    assert all(Point.parse(str(point)) == point for point in (*FOUND, *bases(VARIANTS, MODES)))
    assert len({scenario(point).token for point in FOUND}) == len(FOUND)


@pytest.mark.parametrize("text", ["plain", "other/sync", "plain/sync/0/before/kill", "plain/sync/1/now/kill"])
def test_what_is_no_point_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        Point.parse(text)


def test_a_sample_is_its_seeds_and_has_of_all_alike() -> None:
    drawn = sample(FOUND, 70, seed=1)
    assert drawn == sample(FOUND, 70, seed=1) != sample(FOUND, 70, seed=2)
    assert len(set(drawn)) == 70
    whole = sample(FOUND, len(VARIANTS) * len(MODES) * len(WHENS) * len(WHAT), seed=1)
    assert set(Counter((point.variant, point.mode, point.when, point.what) for point in whole).values()) == {1}
    assert len(sample(FOUND, 10 * len(FOUND), seed=1)) == len(FOUND)


def test_a_call_that_repeats_its_processs_last_one_or_is_about_another_run_is_no_point() -> None:
    wire = Wire((Strike(ANY, "kill", nth=3),), 0.0, "run-a-", lambda hit: None)
    look, others = ("DescribeTrainingJob", "/", b"run-a-1"), ("DescribeTrainingJob", "/", b"run-b-1")
    assert wire.strike(*others, 1) is None
    assert [wire.strike(*look, pid) for pid in (1, 1, 2, 2, 1, 2)] == [None] * 6
    hit = wire.strike("S3.GET", "/bucket", b"", 2)
    assert hit is not None
    assert hit.pid == 2
    assert wire.points == ["DescribeTrainingJob", "DescribeTrainingJob", "S3.GET"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_sample_of_the_systematic_form_survives(tmp_path: Path) -> None:
    limit = 196 if ALL else 98  # a second and more each
    command = [sys.executable, "-m", "tests.chaos", "--systematic", "--limit", str(limit), "--json"]
    done = subprocess.run(
        [*command, "--logs", str(tmp_path / "logs")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=1500,
        check=False,
    )
    assert done.stdout, done.stderr[-4000:]
    counts = json.loads(done.stdout)
    assert counts["failing"] == []
    # A run that makes a call less than the counted one, and so again, is not struck at its last.
    assert len(counts["missed"]) < 10
    assert {column: counts[column] for column in COLUMNS} == dict.fromkeys(COLUMNS, 0)
    assert counts["survived"] == counts["runs"] == limit + len(bases(VARIANTS, MODES))
