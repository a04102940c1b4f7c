"""The cache: answers keep the time of their reading, for this user alone, and a bad folder is none."""

from __future__ import annotations

import json
import stat
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from airflow_spot.market.cache import Cache

NOW = datetime(2026, 3, 1, tzinfo=timezone.utc)
HOUR = 3600.0


def test_an_answer_is_kept_with_its_time_until_it_is_too_old(tmp_path: Path) -> None:
    for cache in (Cache(None), Cache(tmp_path / "new" / "folder")):
        cache.put("key", {"a": 1}, NOW)
        assert cache.get("key", HOUR, NOW + timedelta(minutes=59)) == ({"a": 1}, NOW)
        assert cache.get("key", HOUR, NOW + timedelta(minutes=61)) is None
        assert cache.get("other", HOUR, NOW) is None


def test_the_next_process_has_it(tmp_path: Path) -> None:
    Cache(tmp_path).put("key", [1, "b"], NOW)
    assert Cache(tmp_path).get("key", HOUR, NOW) == ([1, "b"], NOW)


def test_what_another_process_read_since_is_found(tmp_path: Path) -> None:
    mine = Cache(tmp_path)
    mine.put("key", 1, NOW)
    later = NOW + timedelta(hours=2)
    Cache(tmp_path).put("key", 2, later)
    assert mine.get("key", HOUR, later) == (2, later)


def test_files_are_for_this_user_alone_and_do_not_show_the_key(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    Cache(folder).put("account-secret", 1, NOW)
    (file,) = folder.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert "secret" not in file.name + file.read_text()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"read": 5}', '{"read": "x", "value": 1}', '{"value": 1}', "[" * 5000]
)
def test_a_damaged_file_is_no_answer(tmp_path: Path, text: str) -> None:
    Cache(tmp_path).put("key", 1, NOW)
    (file,) = tmp_path.iterdir()
    file.write_text(text)
    assert Cache(tmp_path).get("key", HOUR, NOW) is None


def test_an_answer_of_the_future_is_none(tmp_path: Path) -> None:
    Cache(tmp_path).put("key", 1, NOW + timedelta(hours=1))
    assert Cache(tmp_path).get("key", HOUR, NOW) is None


def test_a_folder_that_cannot_be_written_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = Cache(tmp_path / "file" / "folder")
    cache.put("key", 1, NOW)
    assert cache.get("key", HOUR, NOW) == (1, NOW)


def test_nothing_half_written_is_left(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.put("key", {"not": {1, 2}}, NOW)
    assert list(tmp_path.iterdir()) == []
    cache.put("key", 1, NOW)
    assert [json.loads(file.read_text())["value"] for file in tmp_path.iterdir()] == [1]
