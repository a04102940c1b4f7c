"""Pages for whoever asks, with a viewer and a database that stand in: what only some requests show."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from airflow_spot.compat import rows
from airflow_spot.compat.rows import TaskPlace, TaskRow, XComRow
from airflow_spot.render import routes
from airflow_spot.render.ledger_format import SUMMARY_KEY, TIMELINE_KEY
from airflow_spot.render.values import FleetFilter
from airflow_spot.ui import pages as ui_pages
from airflow_spot.ui.actions import RefusedError
from airflow_spot.ui.pages import Pages, fleet_filter
from airflow_spot.ui.store import MAX_DAYS
from airflow_spot.ui.values import Answer, Request
from tests.ui.ledgers import attempt, summary, timeline

DAG, RUN = "trains", "a/b+c:d"
OWN = {"x-airflow-spot": "1", "host": "airflow.example", "origin": "https://airflow.example"}
BASE = "/af/airflow-spot"
TASK = routes.task("", DAG, RUN, "train", -1)


@dataclass
class Somebody:
    """A viewer who may what is said."""

    reads: bool = True
    edits: bool = False
    name: str = "somebody"

    def may_read(self, dag_id: str) -> bool:
        return self.reads

    def may_edit(self, dag_id: str) -> bool:
        return self.edits

    def readable(self, dag_ids: frozenset[str]) -> frozenset[str]:
        return dag_ids if self.reads else frozenset()


class Kept:
    """The rows of one training, without a database."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.values: dict[str, Any] = {SUMMARY_KEY: summary(), TIMELINE_KEY: timeline(DAG, RUN, "train")}
        self.state = "deferred"
        self.audit: list[tuple[Any, ...]] = []
        self.place = TaskPlace(DAG, RUN, "train")
        reading = ("xcoms_since", "xcoms_of_run", "places_with_xcoms", "tasks_of_run", "tasks", "has_run")
        for name in (*reading, "owners_and_tags"):
            monkeypatch.setattr(rows, name, getattr(self, name))
        monkeypatch.setattr(rows, "add_audit", lambda _, *facts: self.audit.append(facts))

    @contextmanager
    def session(self) -> Iterator[None]:
        yield None

    def xcoms_since(self, _: Any, key: str, *__: Any) -> list[XComRow]:
        return [XComRow(self.place, key, 2e9, self.values[key], self.state)] if key in self.values else []

    def xcoms_of_run(self, _: Any, keys: Any, *__: Any) -> list[XComRow]:
        return [XComRow(self.place, key, 2e9, self.values[key], self.state) for key in keys if key in self.values]

    def places_with_xcoms(self, _: Any, keys: Any, *__: Any) -> list[TaskPlace]:
        return [self.place] if any(key in self.values for key in keys) else []

    def tasks_of_run(self, _: Any, dag_id: str, run_id: str, task_id: str) -> list[TaskRow]:
        found = TaskPlace(dag_id, run_id, task_id) == self.place
        return [TaskRow(self.place, self.state, 1)] if found else []

    def tasks(self, _: Any, places: Any) -> dict[TaskPlace, TaskRow]:
        return {place: TaskRow(place, self.state, 1) for place in places}

    def has_run(self, _: Any, dag_id: str, run_id: str) -> bool:
        return (dag_id, run_id) == (DAG, RUN)

    def owners_and_tags(self, *_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        return {}, {}


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Kept:
    return Kept(monkeypatch)


class Site:
    """The pages of one web server."""

    def __init__(self, kept: Kept, *, credentials: bool = True, act: Any = None) -> None:
        store = ui_pages.store.FleetStore(kept.session)
        self.pages = Pages(
            store, lambda: 2e9 + 0.4, kept.session, act or (lambda name, _: f"{name} it is."), credentials=credentials
        )

    def ask(self, path: str, viewer: Any = None, method: str = "GET", shells: bool = False, **more: Any) -> Answer:
        headers, query = more.get("headers", {}), more.get("query", {})
        return self.pages.answer(Request(method, path, query, headers, viewer, BASE, "/af", shells))


@pytest.fixture
def site(kept: Kept) -> Site:
    return Site(kept)


def text(answer: Answer) -> str:
    return answer.body.decode()


@pytest.mark.parametrize("path", ["/", "/fragment/fleet", "/fleet.csv", TASK, f"/fragment{TASK}", "/static/spot.css"])
def test_every_answer_has_a_strict_policy(site: Site, path: str) -> None:
    for viewer in (None, Somebody(), Somebody(reads=False)):
        headers = site.ask(path, viewer).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        if "static" not in path:
            assert headers["Cache-Control"] == "no-store"


def test_an_id_with_a_slash_is_one_id(site: Site) -> None:
    answer = site.ask(TASK, Somebody())
    assert answer.status == 200
    assert "train" in text(answer)
    assert site.ask(f"/run/{DAG}/a/b+c:d/train/-1", Somebody()).status == 404


def test_what_a_frame_sends_for_no_index_is_none(site: Site) -> None:
    assert site.ask(TASK.replace("/-1", "/{MAP_INDEX}"), Somebody()).status == 200
    assert site.ask(TASK.replace("/-1", "/%7BMAP_INDEX%7D"), Somebody()).status == 200


@pytest.mark.parametrize("index", ["-2", "1.0", "x", "", "٣", "9999999999"])
def test_what_is_no_index_is_no_page(site: Site, index: str) -> None:
    assert site.ask(TASK.replace("/-1", f"/{index}"), Somebody()).status == 404


@pytest.mark.parametrize("place", range(3))
def test_of_an_id_that_no_database_takes_none_is_asked(site: Site, place: int) -> None:
    """PostgreSQL's driver raises at such a text."""

    def none() -> Any:
        raise ValueError("A string literal cannot contain NUL (0x00) characters.")

    site.pages.session = none
    ids = [DAG, RUN, "train"]
    ids[place] += "\0"
    assert site.ask(routes.task("", ids[0], ids[1], ids[2], -1), Somebody()).status == 404
    if place < 2:
        assert site.ask(routes.run("", ids[0], ids[1]), Somebody()).status == 404


@pytest.mark.parametrize("path", ["/", routes.run("", DAG, RUN), TASK, routes.task("", "none", "none", "none", 3)])
def test_where_the_script_has_the_token_the_page_is_an_empty_shell(site: Site, path: str) -> None:
    shell = site.ask(path, shells=True)
    assert shell.status == 200
    assert "deferred" not in text(shell)
    assert 'data-src="/af/airflow-spot/fragment/' in text(shell)
    assert site.ask(path, shells=False).status == 401
    assert site.ask(f"/fragment{path if path != '/' else '/fleet'}", shells=True).status == 401


def test_who_is_not_logged_in_is_told_where_to(site: Site) -> None:
    assert 'href="/af/"' in text(site.ask("/"))


@pytest.mark.parametrize("value", [None, 7, "x", {"v": 1}, {"v": 99}, {**timeline(DAG, RUN, "train"), "attempts": [1]}])
def test_a_ledger_that_cannot_be_read_is_a_page_that_says_so(site: Site, kept: Kept, value: Any) -> None:
    kept.values = {SUMMARY_KEY: value, TIMELINE_KEY: value}
    for path in ("/", "/fleet.csv", TASK, routes.run("", DAG, RUN)):
        assert site.ask(path, Somebody()).status == 200


def test_an_error_is_no_traceback(site: Site, kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: Any) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(rows, "tasks_of_run", breaks)
    answer = site.ask(TASK, Somebody())
    assert answer.status == 500
    assert "secret" not in text(answer)


def test_a_training_without_a_ledger_is_a_page_too(site: Site, kept: Kept) -> None:
    kept.values = {}
    assert site.ask(TASK, Somebody()).status == 200
    assert site.ask(routes.run("", DAG, RUN), Somebody()).status == 200
    assert site.ask("/", Somebody()).status == 200


def test_a_fragment_is_sent_once_while_it_is_the_same(site: Site, kept: Kept) -> None:
    first = site.ask(f"/fragment{TASK}", Somebody())
    again = site.ask(f"/fragment{TASK}", Somebody(), headers={"if-none-match": f'"x", W/{first.headers["ETag"]}'})
    assert (first.status, again.status, again.body) == (200, 304, b"")
    kept.state = "failed"
    after = site.ask(f"/fragment{TASK}", Somebody(), headers={"if-none-match": first.headers["ETag"]})
    assert after.status == 200


def test_a_static_file_is_kept_where_its_address_names_its_content(site: Site) -> None:
    named = site.ask("/static/spot.css", query={"v": "1"})
    assert "max-age" in named.headers["Cache-Control"]
    plain = site.ask("/static/spot.css")
    assert plain.headers["Cache-Control"] == "no-cache"
    assert site.ask("/static/spot.css", headers={"if-none-match": plain.headers["ETag"]}).status == 304
    assert site.ask("/static/../pages.py", Somebody()).status == 404
    assert site.ask("/static/..%2Fpages.py").status == 404


def test_the_filters_are_in_the_address() -> None:
    query = {"days": "7", "dag": "trains", "owner": "ml", "tag": "t", "type": "ml.m5.large", "state": "x", "sort": "-y"}
    assert fleet_filter(query) == FleetFilter(7, "trains", "ml", "t", "ml.m5.large", "x", "-y")
    assert fleet_filter({}) == FleetFilter()
    assert fleet_filter({"days": "0"}).days == 1
    assert fleet_filter({"days": "9999"}).days == MAX_DAYS
    assert {fleet_filter({"days": odd}).days for odd in ("", "x", "-1", "1e3", "٣", "9" * 50)} == {FleetFilter().days}
    assert len(fleet_filter({"dag": "x" * 10_000}).dag) == 250


# ---- actions

STOP = f"/act{TASK}/stop"


def test_buttons_are_for_who_may_edit(site: Site) -> None:
    assert STOP not in text(site.ask(TASK, Somebody()))
    assert STOP in text(site.ask(TASK, Somebody(edits=True)))


def test_where_the_web_server_has_no_access_there_are_commands(kept: Kept) -> None:
    site = Site(kept, credentials=False)
    shown = text(site.ask(TASK, Somebody(edits=True)))
    assert STOP not in shown
    command = "airflow-spot stop --job train-afspot-abcdefghij-1-1 --region eu-west-1"
    assert command in shown
    assert f"{command} --on-demand" in shown
    assert "airflow-spot stop" not in text(site.ask(TASK, Somebody()))


def test_a_run_that_is_over_has_no_actions(site: Site, kept: Kept) -> None:
    kept.state = "failed"
    assert STOP not in text(site.ask(TASK, Somebody(edits=True)))
    kept.state = "deferred"
    kept.values[TIMELINE_KEY] = timeline(DAG, RUN, "train", attempts=[attempt(ended=9.0, status="Stopped")])
    assert STOP not in text(site.ask(TASK, Somebody(edits=True)))


def test_what_is_done_is_in_the_audit_log_first(kept: Kept) -> None:
    def act(name: str, _: Any) -> str:
        assert kept.audit == [("airflow_spot.stop", kept.place, "somebody", {"job": "train-afspot-abcdefghij-1-1"})]
        return "Done."

    site = Site(kept, act=act)
    answer = site.ask(STOP, Somebody(edits=True), "POST", headers=OWN)
    assert (answer.status, text(answer)) == (202, "Done.")


def test_what_is_refused_says_why(kept: Kept) -> None:
    def act(*_: Any) -> str:
        raise RefusedError(409, "Run it yourself: airflow-spot stop")

    answer = Site(kept, act=act).ask(STOP, Somebody(edits=True), "POST", headers=OWN)
    assert (answer.status, text(answer)) == (409, "Run it yourself: airflow-spot stop")


def test_actions_can_be_switched_off(site: Site, kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__AIRFLOW_SPOT__ACTIONS", "False")
    assert STOP not in text(site.ask(TASK, Somebody(edits=True)))
    assert site.ask(STOP, Somebody(edits=True), "POST", headers=OWN).status == 403
    assert kept.audit == []


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, 202),
        ({"origin": None}, 202),  # no browser, which shows its token itself
        ({"origin": "http://AIRFLOW.example"}, 202),
        ({"host": "10.0.0.7:8080"}, 403),
        ({"host": "10.0.0.7:8080", "x-forwarded-host": "airflow.example, proxy"}, 202),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "https://airflow.example.evil.example"}, 403),
        ({"origin": "https://airflow.example:8443"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": ""}, 403),
        ({"origin": "https://[evil"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "same-origin"}, 202),
        ({"x-airflow-spot": None}, 403),
    ],
)
def test_only_the_page_itself_acts(site: Site, kept: Kept, changes: dict[str, Any], status: int) -> None:
    headers = {name: value for name, value in {**OWN, **changes}.items() if value is not None}
    assert site.ask(STOP, Somebody(edits=True), "POST", headers=headers).status == status
    assert bool(kept.audit) is (status == 202)


def test_behind_a_proxy_the_base_url_counts(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example/af")
    headers = {**OWN, "host": "10.0.0.7:8080"}
    assert site.ask(STOP, Somebody(edits=True), "POST", headers=headers).status == 202


def test_an_action_is_no_get(site: Site, kept: Kept) -> None:
    assert site.ask(STOP, Somebody(edits=True)).status == 404
    assert site.ask(STOP, Somebody(edits=True), "PUT", headers=OWN).status == 405
    assert kept.audit == []
