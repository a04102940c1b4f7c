"""The marker of a run proves whose a folder is, and a copied or torn one proves nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_spot.core.identity import RunIdentity, run_folder
from airflow_spot.core.run_marker import marker_text, owner_of
from tests.core.cases import RUN

ids = st.text(min_size=1, max_size=60)
runs = st.builds(RunIdentity, ids, ids, ids, ids, st.integers(-1, 50))


@given(runs, runs)
def test_it_proves_its_own_run_and_no_other(run: RunIdentity, other: RunIdentity) -> None:
    folder = run_folder("s3://bucket/base", run)
    assert owner_of(folder, marker_text(run)) == run
    assert owner_of(folder, marker_text(other)) == (run if run == other else None)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "null", '{"namespace": 1}', marker_text(RUN)[:-9]])
def test_what_is_no_marker_proves_nothing(text: str) -> None:
    assert owner_of(run_folder("s3://bucket/base", RUN), text) is None


def test_folders_of_different_tasks_never_coincide() -> None:
    long = "x" * 200
    pairs = [(f"{long}a", f"{long}b"), ("データ", "モデル"), ("a/b", "a_b")]
    for one, two in pairs:
        assert run_folder("s3://b", replace(RUN, dag_id=one)) != run_folder("s3://b", replace(RUN, dag_id=two))
    assert run_folder("s3://b", replace(RUN, namespace="dev")) != run_folder("s3://b", replace(RUN, namespace="prod"))
