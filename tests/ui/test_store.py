"""What pages show is in Airflow's database: read once, then what is newer; and odd rows are told of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import event

from airflow_spot.compat import rows
from airflow_spot.links.training import SageMakerModelLink, SageMakerTrainingJobLink
from airflow_spot.render.ledger_format import SUMMARY_KEY, TIMELINE_KEY
from airflow_spot.ui import store
from airflow_spot.ui.store import MAX_DAYS, FleetStore, trainings_of_run, trainings_of_task
from tests.ui.ledgers import summary, timeline
from tests.ui.rows import Database

RUN = "manual__2026-11-28T10:00:00+00:00"


@pytest.fixture
def training(database: Database) -> Database:
    """One spot training that runs."""
    database.dag("trains", owners="ml, platform", tags=("spot", "nightly"))
    database.run("trains", RUN)
    database.task("trains", RUN, "train")
    database.xcom(("trains", RUN, "train"), SUMMARY_KEY, summary())
    return database


class Later:
    """A clock that goes forward only by hand."""

    def __init__(self) -> None:
        self.begun = datetime.now(timezone.utc).timestamp()
        self.ahead = 0.0

    def __call__(self) -> float:
        return self.begun + self.ahead


@pytest.fixture
def clock() -> Later:
    return Later()


@contextmanager
def statements() -> Iterator[list[str]]:
    """Collect what is asked of the database."""
    from airflow.settings import engine

    asked: list[str] = []

    def note(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        asked.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        event.remove(engine, "before_cursor_execute", note)


def test_a_row_has_its_dags_owners_and_tags_and_airflows_state(training: Database) -> None:
    (row,) = FleetStore().rows(30)
    assert (row.dag_id, row.run_id, row.task_id, row.map_index) == ("trains", RUN, "train", -1)
    assert (row.owners, row.tags, row.state, row.problem) == (("ml", "platform"), ("nightly", "spot"), "running", "")
    assert row.summary is not None
    assert row.summary["progress"] == [3, 10]


def test_only_what_is_newer_is_asked_for(training: Database, clock: Later) -> None:
    fleet = FleetStore(clock=clock)
    fleet.rows(30)
    with statements() as asked:
        fleet.rows(30)
    assert asked == []
    clock.ahead += 10
    training.xcom(("trains", RUN, "train"), SUMMARY_KEY, summary(interruptions=2))
    (row,) = fleet.rows(30)
    assert row.summary is not None
    assert row.summary["interruptions"] == 2


def test_it_is_read_only_as_far_back_as_somebody_looks(training: Database) -> None:
    training.run("trains", "old")
    training.task("trains", "old", "train")
    written = datetime.now(timezone.utc) - timedelta(days=60)
    training.xcom(("trains", "old", "train"), SUMMARY_KEY, summary(), written=written)
    fleet = FleetStore()
    fleet.rows(7)
    assert len(fleet._rows) == 1
    assert len(fleet.rows(90)) == len(fleet._rows) == 2
    assert len(fleet.rows(7)) == 1


def test_who_looks_while_it_is_read_again_does_not_wait(training: Database, clock: Later) -> None:
    """The web server has few threads, and they are Airflow's own too."""
    fleet = FleetStore(clock=clock)
    fleet.rows(30)
    clock.ahead += 10
    training.xcom(("trains", RUN, "train"), SUMMARY_KEY, summary(interruptions=2))
    with fleet._lock:  # somebody else reads
        (row,) = fleet.rows(30)
        assert row.summary is not None
        assert row.summary["interruptions"] == 0
    (row,) = fleet.rows(30)
    assert row.summary is not None
    assert row.summary["interruptions"] == 2


def test_a_row_that_was_read_is_not_decoded_again(
    training: Database, clock: Later, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = FleetStore(clock=clock)
    before = fleet.rows(30)
    clock.ahead += 10
    monkeypatch.setattr(store, "read_summary", None)
    after = fleet.rows(30)
    assert after[0].summary is before[0].summary


def test_a_task_that_ends_without_a_word_is_seen_to(training: Database, clock: Later) -> None:
    fleet = FleetStore(clock=clock)
    fleet.rows(30)
    training.state("trains", RUN, "train", "failed")
    clock.ahead += 120
    assert [row.state for row in fleet.rows(30)] == ["failed"]


def test_a_run_that_was_deleted_goes_at_once_where_it_went_on_else_within_minutes(
    training: Database, clock: Later
) -> None:
    training.run("trains", "done")
    training.task("trains", "done", "train", state="success")
    training.xcom(("trains", "done", "train"), SUMMARY_KEY, summary(state="completed"))
    fleet = FleetStore(clock=clock)
    assert {row.run_id for row in fleet.rows(30)} == {RUN, "done"}
    training.delete_run("trains", RUN)
    training.delete_run("trains", "done")
    clock.ahead += 120
    assert {row.run_id for row in fleet.rows(30)} == {"done"}
    clock.ahead += store.REREAD_SECONDS
    assert fleet.rows(30) == []


def test_older_than_asked_for_is_left_out(training: Database) -> None:
    for days in (3, 40, MAX_DAYS + 1):
        training.run("trains", f"{days}")
        training.task("trains", f"{days}", "train")
        written = datetime.now(timezone.utc) - timedelta(days=days)
        training.xcom(("trains", f"{days}", "train"), SUMMARY_KEY, summary(), written=written)
    fleet = FleetStore()
    assert [row.run_id for row in fleet.rows(1)] == [RUN]
    assert [row.run_id for row in fleet.rows(30)] == [RUN, "3"]
    assert [row.run_id for row in fleet.rows(9999)] == [RUN, "3", "40"]


@pytest.mark.parametrize(
    "value",
    [None, 7, [], {}, "text", '{"v": 1', {"v": 2}, {"v": "1"}, {**summary(), "interrupted": 5}, {"v": 1, "state": []}],
)
def test_a_row_that_cannot_be_read_says_so(database: Database, value: Any) -> None:
    database.dag("trains")
    database.run("trains", RUN)
    database.task("trains", RUN, "train")
    database.xcom(("trains", RUN, "train"), SUMMARY_KEY, value)
    database.xcom(("trains", RUN, "train"), TIMELINE_KEY, value)
    (row,) = FleetStore().rows(30)
    assert row.summary is None
    assert row.problem.endswith(".")
    with rows.session() as opened:
        (viewed,) = trainings_of_run(opened, "trains", RUN)
    assert viewed.timeline is None
    assert viewed.problem.endswith(".")


def raw(place: tuple[str, str, str], key: str, text: str) -> None:
    """Have the database hold a value that no worker writes and no test can make."""
    from airflow.utils.session import create_session
    from sqlalchemy import text as statement

    dag_id, run_id, task_id = place
    with create_session() as session:
        session.execute(
            statement("update xcom set value = :value where dag_id = :d and run_id = :r and task_id = :t and key = :k"),
            {"value": text, "d": dag_id, "r": run_id, "t": task_id, "k": key},
        )


@pytest.mark.parametrize("value", ["[" * 200_000, '{"v": 1, ', '"' + "x" * 2_000_000 + '"', "NaN", "1e999"])
def test_a_row_that_cannot_be_decoded_is_the_end_of_no_other(training: Database, value: str) -> None:
    place = ("trains", RUN, "odd")
    training.task(*place)
    for key in (SUMMARY_KEY, TIMELINE_KEY, SageMakerTrainingJobLink.key):
        training.xcom(place, key, {})
        raw(place, key, value)
    assert sorted(bool(row.summary) for row in FleetStore().rows(30)) == [False, True]
    with rows.session() as opened:
        (viewed,) = trainings_of_task(opened, *place, -1)
    assert viewed.problem.endswith(".")
    assert viewed.links == ()


def test_of_a_run_with_more_trainings_than_a_page_shows_the_others_are_not_read(
    training: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "MOST_ROWS", 3)
    for index in range(6):
        training.task("trains", RUN, "sweep", index)
        training.xcom(("trains", RUN, "sweep"), TIMELINE_KEY, timeline("trains", RUN, "sweep", index), index)
    read: list[Any] = []
    monkeypatch.setattr(store, "read_timeline", lambda value: read.append(value) or dict(value))
    with rows.session() as opened:
        for found in (
            trainings_of_run(opened, "trains", RUN),
            trainings_of_task(opened, "trains", RUN, "sweep", -1),
        ):
            swept = [one for one in found if one.task_id == "sweep"]
            assert [one.timeline is not None for one in swept] == [True] * 3 + [False] * 3
    assert len(read) == 6


def test_a_backend_that_keeps_values_elsewhere_is_named(training: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__XCOM_BACKEND", "airflow.providers.common.io.xcom.backend.XComObjectStorage")
    training.xcom(("trains", RUN, "train"), SUMMARY_KEY, "s3://xcoms/trains/train/1")
    (row,) = FleetStore().rows(30)
    assert "XCom backend" in row.problem
    # One that keeps it here is not named, though there is one.
    training.xcom(("trains", RUN, "train"), SUMMARY_KEY, {"v": 9})
    (row,) = FleetStore().rows(30)
    assert "version 9" in row.problem


def test_json_in_text_is_read_too(training: Database) -> None:
    """Written past the API, as by a tool; and as Airflow 2 has it."""
    import json

    training.xcom(("trains", RUN, "train"), SUMMARY_KEY, json.dumps(summary(attempts=4)))
    (row,) = FleetStore().rows(30)
    assert row.summary is not None
    assert row.summary["attempts"] == 4


def test_a_dag_runs_page_has_its_trainings_and_nothing_else(training: Database) -> None:
    training.task("trains", RUN, "prepare")
    training.xcom(("trains", RUN, "prepare"), "return_value", {"v": 1})
    training.xcom(("trains", RUN, "train"), TIMELINE_KEY, timeline("trains", RUN, "train"))
    for index in (10, 9):
        training.task("trains", RUN, "sweep", index, state="deferred")
        training.xcom(("trains", RUN, "sweep"), TIMELINE_KEY, timeline("trains", RUN, "sweep", index), index)
    with rows.session() as opened:
        found = trainings_of_run(opened, "trains", RUN)
    assert [(one.task_id, one.map_index, one.state) for one in found] == [
        ("sweep", 9, "deferred"),
        ("sweep", 10, "deferred"),
        ("train", -1, "running"),
    ]
    assert [one.timeline["map_index"] for one in found if one.timeline] == [9, 10, -1]


def test_a_tasks_page_is_of_any_task(training: Database) -> None:
    training.task("trains", RUN, "prepare", state=None)
    with rows.session() as opened:
        (one,) = trainings_of_task(opened, "trains", RUN, "prepare", -1)
        assert (one.state, one.timeline, one.problem, one.links) == ("", None, "", ())
        assert trainings_of_task(opened, "trains", RUN, "none", -1) == []
        assert trainings_of_task(opened, "trains", RUN, "train", 3) == []


def test_a_mapped_task_without_an_index_is_all_of_them(training: Database) -> None:
    for index in (0, 1):
        training.task("trains", RUN, "sweep", index)
    with rows.session() as opened:
        assert [one.map_index for one in trainings_of_task(opened, "trains", RUN, "sweep", -1)] == [0, 1]
        assert [one.map_index for one in trainings_of_task(opened, "trains", RUN, "sweep", 1)] == [1]


def test_links_that_are_no_web_addresses_are_left_out(training: Database) -> None:
    place = ("trains", RUN, "train")
    training.xcom(place, SageMakerTrainingJobLink.key, "https://console.example/#/jobs/x")
    training.xcom(place, SageMakerModelLink.key, "javascript:alert(1)")
    with rows.session() as opened:
        (one,) = trainings_of_task(opened, *place, -1)
    assert one.links == (("Job", "https://console.example/#/jobs/x"),)
