"""A model of the built-in XGBoost is loaded and answers as its release does."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from airflow_spot.local.builtin.xgb import data
from airflow_spot.local.builtin.xgb.errors import UserError
from airflow_spot.local.builtin.xgb.serve import CSV, JSON, JSON_LINES, Model, Unacceptable
from tests.support.lazily import Lazily

np, xgboost = Lazily("numpy"), Lazily("xgboost")

OLD, NEW = (1, 2), (1, 7)


@pytest.fixture(scope="module")
def booster() -> Any:
    features = np.arange(20, dtype=np.float32).reshape(10, 2)
    return xgboost.train({"max_depth": 2}, xgboost.DMatrix(features, label=features[:, 0]), num_boost_round=3)


@pytest.fixture
def folder(tmp_path: Path, booster: Any) -> Path:
    (tmp_path / ".DS_Store").touch()
    (tmp_path / "xgboost-model").write_bytes(booster.save_raw("ubj"))
    return tmp_path


def test_both_formats_predict_the_same(folder: Path, booster: Any) -> None:
    rows = data.read_body(b"0,1\n18,19", data.CSV)
    new = Model(folder, NEW).predict(rows)
    assert len(new) == 2 and new[0] < new[1]
    (folder / "xgboost-model").write_bytes(pickle.dumps(booster))
    assert Model(folder, OLD).predict(rows) == new


def test_answers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = Model(folder, OLD), Model(folder, NEW)
    assert new.encode([0.5, 2.0], CSV) == b"0.5\n2.0\n"
    assert new.encode([[0.25, 0.75], [1.0, 0.0]], CSV) == b"0.25,0.75\n1.0,0.0\n"
    assert old.encode([0.5, 2.0], CSV) == b"0.5,2.0"
    assert json.loads(new.encode([0.5], JSON)) == {"predictions": [{"score": 0.5}]}
    assert new.encode([0.5, 1.0], JSON_LINES) == b'{"score": 0.5}\n{"score": 1.0}\n'
    monkeypatch.setenv("SAGEMAKER_BATCH", "true")
    assert old.encode([0.5, 2.0], CSV) == b"0.5\n2.0\n"
    with pytest.raises(Unacceptable, match="image/png"):
        new.encode([0.5], "image/png")


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no model"):
        Model(tmp_path, NEW)


def test_a_model_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "xgboost-model").write_text("{}")
    with pytest.raises(UserError, match="cannot be loaded"):
        Model(tmp_path, NEW)
