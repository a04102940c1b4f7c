"""Environments are made once, again when they are outdated, and by one process at a time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bench import environments, stock
from bench.environments import Environment, NotMade


def test_one_that_cannot_be_made_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments, "commands", lambda _: [["sh", "-c", "echo no index >&2; exit 1"]])
    told: list[str] = []
    with pytest.raises(stock.NotMade, match="no index"):
        stock.interpreter(told.append, tmp_path / "stock")
    assert len(told) == 1


def test_a_program_that_is_not_there_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments, "commands", lambda _: [[str(tmp_path / "no-such-installer")]])
    with pytest.raises(NotMade, match="no-such-installer"):
        Environment(tmp_path / "e", "a test", ["a==1"]).interpreter(lambda line: None)


def test_one_is_made_once_and_again_when_outdated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "stock"
    monkeypatch.setattr(environments, "commands", lambda environment: [["mkdir", str(environment.folder)]])
    told: list[str] = []
    for _ in range(2):
        assert stock.interpreter(told.append, folder) == folder / "bin" / "python"
    assert len(told) == 1
    monkeypatch.setattr(stock, "requirements", lambda: ["another version"])
    stock.interpreter(told.append, folder)
    assert len(told) == 2
    Environment(folder, "a test", ["another version"], ["more==1"]).interpreter(told.append)
    assert len(told) == 3


def test_several_that_ask_at_once_make_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        environments, "commands", lambda environment: [["mkdir", str(environment.folder)], ["sleep", "0.2"]]
    )
    environment, told = Environment(tmp_path / "e", "a test", ["a==1"]), list[str]()
    with ThreadPoolExecutor(3) as pool:
        assert len(set(pool.map(environment.interpreter, [told.append] * 3))) == 1
    assert len(told) == 1


def test_what_makes_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = Environment(tmp_path / "e", "a test", ["a==1", "b==2"], ["c==3"])
    for which in (lambda *_, **__: "/bin/uv", lambda *_, **__: None):
        monkeypatch.setattr("shutil.which", which)
        make, install, alone = environments.commands(environment)
        assert make[-1] == str(environment.folder)
        assert install[-2:] == ["a==1", "b==2"]
        assert alone[-2:] == ["--no-deps", "c==3"]
        assert "b==2" not in alone
