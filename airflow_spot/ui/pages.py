"""Answers requests for the pages: who may see what, and what there is. Knows neither FastAPI nor Flask."""

from __future__ import annotations

import hashlib
import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from markupsafe import Markup

from airflow_spot import config
from airflow_spot.compat import rows
from airflow_spot.compat.rows import TaskPlace
from airflow_spot.render import assets, routes
from airflow_spot.render.values import Actions, FleetFilter, Viewed, Where
from airflow_spot.ui import actions, rendering, store
from airflow_spot.ui.values import Answer, Request, Viewer

log = logging.getLogger(__name__)

#: What Airflow sends as the map index of a task that is not mapped.
NO_INDEX = "{MAP_INDEX}"
_HTML = "text/html; charset=utf-8"
_TEXT = "text/plain; charset=utf-8"


class _No(Exception):
    """A request gets no page; the message says why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Target:
    """A DAG run, or one task instance of it."""

    dag_id: str
    run_id: str
    task_id: str | None = None
    map_index: int = -1

    def fragment(self, base: str) -> str:
        """Return where the part of its page is that changes."""
        if self.task_id is None:
            path = routes.run(base, self.dag_id, self.run_id)
        else:
            path = routes.task(base, self.dag_id, self.run_id, self.task_id, self.map_index)
        return routes.fragment(base, path)


@dataclass
class Pages:
    """
    The pages of one process.

    :param clock: the time in seconds since 1970.
    :param session: opens a session of Airflow's database.
    :param act: carries an action out.
    """

    fleet: store.FleetStore = field(default_factory=store.FleetStore)
    clock: Callable[[], float] = time.time
    session: Callable[[], Any] = rows.session
    act: Callable[[str, Viewed], str] = field(default_factory=lambda: actions.carry_out)
    credentials: object = actions.CREDENTIALS

    def answer(self, request: Request) -> Answer:
        """Answer one request. It blocks."""
        try:
            return self._answer(request)
        except _No as no:
            return self._refused(request, no.status, str(no))
        except Exception:
            log.exception("A page of airflow_spot failed: %s", request.path)
            return self._refused(request, 500, "The page failed. The web server's log says why.")

    def _answer(self, request: Request) -> Answer:
        parts = [unquote(part) for part in request.path.strip("/").split("/")]
        if request.method == "POST":
            return self._do(request, parts)
        if request.method not in ("GET", "HEAD"):
            raise _No(405, "Only GET and POST are allowed.")
        if parts[0] == "static" and len(parts) == 2:
            return self._static(request, parts[1])
        wants_fragment = parts[0] == "fragment"
        if wants_fragment:
            parts = parts[1:]
        if parts == ["fleet.csv"] and not wants_fragment:
            return self._csv(request)
        if parts == (["fleet"] if wants_fragment else [""]):
            return self._fleet(request, whole=not wants_fragment)
        target = _target(parts)
        if target is None:
            # Whoever is not logged in learns nothing, not even that.
            _viewer(request)
            raise _No(404, "There is no such page.")
        return self._run(request, target, whole=not wants_fragment)

    def _now(self) -> float:
        """Return the time in whole seconds: what is asked for again within one has not changed."""
        return float(int(self.clock()))

    # ---- the pages

    def _fleet(self, request: Request, *, whole: bool) -> Answer:
        where = _where(request)
        if whole and request.shells and request.viewer is None:
            return _page(rendering.shell(where, routes.fleet_fragment(request.base), "Spot trainings"))
        view = self._view(request)
        if whole:
            return _page(rendering.fleet_page(view, where))
        return _changing(request, rendering.fleet_fragment(view, where))

    def _csv(self, request: Request) -> Answer:
        body = rendering.fleet_csv(self._view(request))
        headers = {"Content-Disposition": 'attachment; filename="airflow-spot-fleet.csv"'}
        return _sent(200, body.encode(), "text/csv; charset=utf-8", headers)

    def _view(self, request: Request) -> Any:
        """Return what the filters ask for of what the viewer may see."""
        viewer, wanted = _viewer(request), fleet_filter(request.query)
        found = self.fleet.rows(wanted.days)
        readable = viewer.readable(frozenset(row.dag_id for row in found))
        return rendering.fleet([row for row in found if row.dag_id in readable], wanted, self._now())

    def _run(self, request: Request, target: Target, *, whole: bool) -> Answer:
        where = _where(request)
        if whole and request.shells and request.viewer is None:
            return _page(rendering.shell(where, target.fragment(request.base)))
        viewer = _viewer(request)
        found = self._find(viewer, target)
        may = self._offered(viewer, target, found)
        make = rendering.run_page if whole else rendering.run_fragment
        body = make(found, where, may, self._now())
        return _page(body) if whole else _changing(request, body)

    def _find(self, viewer: Viewer, target: Target) -> list[Viewed]:
        """Return what a page shows. Whether it exists is told only to whoever may see it."""
        if not viewer.may_read(target.dag_id):
            raise _No(403, "You may not see the task instances of this DAG.")
        with self.session() as opened:
            if target.task_id is None:
                if not store.has_run(opened, target.dag_id, target.run_id):
                    raise _No(404, "There is no such DAG run.")
                return store.trainings_of_run(opened, target.dag_id, target.run_id)
            found = store.trainings_of_task(opened, target.dag_id, target.run_id, target.task_id, target.map_index)
        if not found:
            raise _No(404, "There is no such task instance.")
        return found

    def _offered(self, viewer: Viewer, target: Target, found: list[Viewed]) -> Actions:
        if len(found) != 1 or actions.live_job(found[0]) is None:
            return Actions()
        return actions.offered(found[0], may_edit=viewer.may_edit(target.dag_id), credentials=self.credentials)

    # ---- the actions

    def _do(self, request: Request, parts: list[str]) -> Answer:
        viewer = _viewer(request)
        if routes.ACTION_HEADER.lower() not in request.headers or not _is_own(request):
            raise _No(403, "This request does not come from the page itself.")
        target, name = _target(parts[1:-1]) if parts[0] == "act" else None, parts[-1]
        if target is None or target.task_id is None or name not in routes.ACTIONS:
            raise _No(404, "There is no such action.")
        if not viewer.may_edit(target.dag_id):
            raise _No(403, "You may not edit the task instances of this DAG.")
        if not config.actions():
            raise _No(403, "[airflow_spot] actions is off.")
        (viewed,) = self._one(viewer, target)
        place = TaskPlace(viewed.dag_id, viewed.run_id, viewed.task_id, viewed.map_index)
        live = actions.live_job(viewed)
        with self.session() as opened:
            # Before it is done, as Airflow does: what is done must never be missing there.
            rows.add_audit(opened, f"airflow_spot.{name}", place, viewer.name, {"job": live["job"] if live else None})
        try:
            told = self.act(name, viewed)
        except actions.RefusedError as refused:
            raise _No(refused.status, str(refused)) from None
        return _sent(202, told.encode(), _TEXT)

    def _one(self, viewer: Viewer, target: Target) -> list[Viewed]:
        found = self._find(viewer, target)
        if len(found) != 1:
            raise _No(404, "Name one instance of the mapped task.")
        return found

    # ---- the rest

    def _static(self, request: Request, name: str) -> Answer:
        found = assets.asset(name)
        if found is None:
            raise _No(404, "There is no such file.")
        content, kind = found
        tag = _tag(content)
        headers = {"ETag": tag, "Cache-Control": "public, max-age=86400" if "v" in request.query else "no-cache"}
        if request.headers.get("if-none-match") == tag:
            return _sent(304, b"", kind, headers)
        return _sent(200, content, kind, headers)

    @staticmethod
    def _refused(request: Request, status: int, message: str) -> Answer:
        if request.method == "POST" or request.path.startswith("/fragment") or request.path.endswith(".csv"):
            return _sent(status, message.encode(), _TEXT)
        where = _where(request)
        to_log_in = Markup(' <a href="{}">Log in to Airflow</a>.').format(f"{where.airflow}/") if status == 401 else ""
        return _sent(status, rendering.message(where, message, to_log_in).encode(), _HTML)


def fleet_filter(query: Any) -> FleetFilter:
    """Read the fleet's filters from an address; what is none is left out."""

    def text(name: str) -> str:
        return str(query.get(name, ""))[:250]

    days = str(query.get("days", ""))
    most = store.MAX_DAYS
    chosen = min(max(int(days), 1), most) if re.fullmatch(r"\d{1,4}", days, re.ASCII) else FleetFilter().days
    return FleetFilter(chosen, text("dag"), text("owner"), text("tag"), text("type"), text("state"), text("sort"))


def _target(parts: list[str]) -> Target | None:
    if not parts or parts[0] != "run" or "" in parts or any("\0" in part for part in parts):
        return None  # no database takes that
    if len(parts) == 3:
        return Target(parts[1], parts[2])
    if len(parts) != 5:
        return None
    index = -1 if parts[4] == NO_INDEX else _index(parts[4])
    return None if index is None else Target(parts[1], parts[2], parts[3], index)


def _index(text: str) -> int | None:
    return int(text) if re.fullmatch(r"-1|\d{1,9}", text, re.ASCII) else None


def _viewer(request: Request) -> Viewer:
    if request.viewer is None:
        raise _No(401, "You are not logged in.")
    return request.viewer


def _where(request: Request) -> Where:
    return Where(request.base, request.airflow, embedded=request.headers.get("sec-fetch-dest") == "iframe")


def _is_own(request: Request) -> bool:
    """
    Return whether a POST comes from a page of this Airflow, as far as a browser says where it comes from.

    A form of another site's cannot set the header that is asked for beside this, and a script of another site's only
    where Airflow lets that site in; that is not meant for this.
    """
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = request.headers.get("origin")
    if origin is None:
        return True
    hosts = {request.headers.get("host", ""), request.headers.get("x-forwarded-host", "").split(",")[0].strip()}
    hosts.add(config.airflow_host())
    try:
        return urlsplit(origin).netloc.lower() in {host.lower() for host in hosts if host}
    except ValueError:
        return False


def _page(body: str) -> Answer:
    return _sent(200, body.encode(), _HTML)


def _changing(request: Request, body: str) -> Answer:
    content = body.encode()
    tag = _tag(content)
    if tag in {each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")}:
        return _sent(304, b"", _HTML, {"ETag": tag})
    return _sent(200, content, _HTML, {"ETag": tag})


def _tag(content: bytes) -> str:
    return f'"{hashlib.sha256(content).hexdigest()[:32]}"'


def _sent(status: int, body: bytes, kind: str, headers: dict[str, str] | None = None) -> Answer:
    return Answer(status, body, {**assets.HEADERS, "Content-Type": kind, **(headers or {})})
