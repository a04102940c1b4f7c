"""
The walk: nobody, the viewer of another DAG, viewer, editor and admin, at every route, on this Airflow's whole web app.

Run by the suite on the Airflow of the development environment, and by the matrix on every version, with
SimpleAuthManager and with FAB: ``python -m tests.ui.walk fab``.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import quote

RUN = "manual__2026-11-28T10:00:00+00:00"
MINE, OTHER, GONE = "trains", "other_dag", "no_such_dag"
NOBODY, STRANGER, VIEWER, EDITOR, ADMIN = "nobody", "viewer of another DAG", "viewer", "editor", "admin"
WHO = (NOBODY, STRANGER, VIEWER, EDITOR, ADMIN)
OWN = {"X-Airflow-Spot": "1"}
SLASHED = "a/b"
PAGE, DATA = "page", "data"


@dataclass(frozen=True)
class Step:
    """
    One request, and the status that each has to get, in the order of :data:`WHO`.

    :param kind: a page is an empty shell for nobody, where a browser sends no credentials by itself.
    """

    path: str
    statuses: tuple[int, int, int, int, int]
    kind: str = DATA
    method: str = "GET"
    headers: dict[str, str] = field(default_factory=dict)


def run(dag_id: str, run_id: str = RUN) -> str:
    """Return the path of a DAG run."""
    return f"/run/{dag_id}/{quote(run_id, safe='')}"


_OPEN, _SEEN, _MISSING = (200, 200, 200, 200, 200), (401, 403, 200, 200, 200), (401, 403, 404, 404, 404)
_FLEET, _NOWHERE, _NEVER = (401, 200, 200, 200, 200), (401, 404, 404, 404, 404), (401, 403, 403, 403, 403)
_TASK = f"{run(MINE)}/train/-1"
STEPS = (
    Step("/static/spot.css", _OPEN),
    Step("/static/spot.js", _OPEN),
    Step("/static/none.js", (404,) * 5),
    Step("/", _FLEET, PAGE),
    Step("/fragment/fleet", _FLEET),
    Step("/fragment/fleet?dag=trains&days=7", _FLEET),
    Step("/fleet.csv", _FLEET),
    Step(run(MINE), _SEEN, PAGE),
    Step(_TASK, _SEEN, PAGE),
    Step(f"{run(MINE)}/train/{{MAP_INDEX}}", _SEEN, PAGE),
    Step(f"/fragment{run(MINE)}", _SEEN),
    Step(f"/fragment{_TASK}", _SEEN),
    Step(f"/fragment{run(MINE, RUN).replace('%2B', '+').replace('%3A', ':')}", _SEEN),
    Step(f"/fragment{run(MINE)}?dag_id={OTHER}", _SEEN),
    Step(f"/fragment{run(OTHER)}", (401, 200, 200, 200, 200)),
    Step(f"/fragment{run(MINE, SLASHED)}/train/-1", _SEEN),
    Step(f"/fragment/run/{MINE}/{SLASHED}/train/-1", _NOWHERE),
    Step(f"/fragment{run(MINE, 'none')}", _MISSING),
    Step(f"/fragment{run(MINE)}/none/-1", _MISSING),
    Step(f"/fragment{run(MINE)}/train/7", _MISSING),
    Step(f"/fragment{run(GONE)}", _MISSING),
    Step("/fragment/none", _NOWHERE),
    Step(f"/fragment{run(MINE)}/train/x", _NOWHERE),
    Step(f"/fragment{run(MINE, '..')}".replace("..", "%2E%2E"), _MISSING),
    Step(f"/fragment{run('no.such.dag')}", _MISSING),
    Step(f"/act{_TASK}/stop", (401, 403, 403, 202, 202), method="POST", headers=OWN),
    Step(f"/act{_TASK}/on-demand", (401, 403, 403, 202, 202), method="POST", headers=OWN),
    Step(f"/act{_TASK}/stop", _NEVER, method="POST"),
    Step(f"/act{_TASK}/stop", _NEVER, method="POST", headers={**OWN, "Origin": "https://evil.example"}),
    Step(f"/act{_TASK}/stop", _NEVER, method="POST", headers={**OWN, "Origin": "null"}),
    Step(f"/act{_TASK}/stop", _NEVER, method="POST", headers={**OWN, "Sec-Fetch-Site": "cross-site"}),
    Step(f"/act{run(GONE)}/train/-1/stop", (401, 403, 403, 404, 404), method="POST", headers=OWN),
    Step(f"/act{_TASK}/delete", _NOWHERE, method="POST", headers=OWN),
    Step(f"/act{run(MINE)}/stop", _NOWHERE, method="POST", headers=OWN),
    Step("/", _NOWHERE, method="POST", headers=OWN),
)

#: Sends a request: who, method, path, headers; returns status, headers, text.
Send = Callable[[str, str, str, dict[str, str]], tuple[int, dict[str, str], str]]


def fill(database: Any) -> None:
    """Put a training into each of two DAGs."""
    from airflow_spot.render.ledger_format import SUMMARY_KEY, TIMELINE_KEY
    from tests.ui.ledgers import summary, timeline

    for dag_id in (MINE, OTHER):
        place = (dag_id, RUN, "train")
        database.dag(dag_id)
        database.run(dag_id, RUN)
        database.task(*place)
        database.xcom(place, SUMMARY_KEY, summary())
        database.xcom(place, TIMELINE_KEY, timeline(*place))
    database.run(MINE, SLASHED)
    database.task(MINE, SLASHED, "train")


def walk(send: Send, base: str, *, shells: bool) -> Iterator[str]:
    """Yield what is other than it has to be."""
    for step in STEPS:
        for who, status in zip(WHO, step.statuses, strict=True):
            is_shell = shells and who == NOBODY and step.kind == PAGE
            expected = 200 if is_shell else status
            got, headers, text = send(who, step.method, f"{base}{step.path}", step.headers)
            what = f"{who}: {step.method} {step.path} {step.headers or ''}"
            if got != expected:
                yield f"{what}: {got}, not {expected}"
                continue
            names = {name.lower(): value for name, value in headers.items()}
            if "frame-ancestors 'self'" not in names.get("content-security-policy", ""):
                yield f"{what}: no policy"
            if names.get("x-content-type-options") != "nosniff":
                yield f"{what}: no nosniff"
            if "static" not in step.path and names.get("cache-control") != "no-store":
                yield f"{what}: may be stored"
            yield from _said(what, step, who, text, is_shell=is_shell)


def _said(what: str, step: Step, who: str, text: str, *, is_shell: bool) -> Iterator[str]:
    may_see = who not in (NOBODY, STRANGER)
    # A page says again what it was asked for.
    if MINE in text and not may_see and "dag=" not in step.path and "data-src=" not in text:
        yield f"{what}: tells of {MINE}"
    if "fleet" in step.path and step.method == "GET" and who != NOBODY:
        if (MINE in text) is not may_see and "static" not in step.path and "dag=" not in step.path:
            yield f"{what}: shows {MINE} {'not' if may_see else 'to a stranger'}"
        if OTHER not in text and "dag=" not in step.path:
            yield f"{what}: shows not {OTHER}"


def unchanged(send: Send, base: str) -> Iterator[str]:
    """Yield what is wrong with how a fragment is asked for again."""
    for path in ("/fragment/fleet", f"/fragment{_TASK}", "/static/spot.js"):
        for _ in range(1 if "static" in path else 50):  # what is shown of a live run changes with the second
            status, headers, _text = send(ADMIN, "GET", f"{base}{path}", {})
            tag = {name.lower(): value for name, value in headers.items()}.get("etag", "")
            again, _, text = send(ADMIN, "GET", f"{base}{path}", {"If-None-Match": tag})
            if again == 304:
                break
        if (status, again, text) != (200, 304, ""):
            yield f"{path}: {status}, then {again}"
    status, _, _ = send(NOBODY, "GET", f"{base}/fragment{_TASK}", {"If-None-Match": tag})
    if status != 401:
        yield f"an ETag opens a page: {status}"


# ---- Airflow 3


class PerDag:
    """Makes SimpleAuthManager know a user who may see one DAG only: it has no such users itself."""

    @staticmethod
    def install() -> None:
        """Have rights depend on the DAG where the user's name says so."""
        from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

        theirs = SimpleAuthManager.is_authorized_dag

        def is_authorized_dag(self: Any, *, details: Any = None, user: Any, **more: Any) -> bool:
            if user.get_name() == "stranger" and (details is None or details.id != OTHER):
                return False
            return theirs(self, details=details, user=user, **more)

        SimpleAuthManager.is_authorized_dag = is_authorized_dag  # type: ignore[method-assign]


def airflow_3(tokens: Callable[[], dict[str, str]], *, cookies: bool) -> dict[str, Send]:
    """
    Return the ways to send to this Airflow's API server, with its plugins: by bearer, and by cookie where it takes one.

    :param tokens: makes a token for each who is somebody, once the app is there.
    """
    from airflow.api_fastapi.app import create_app
    from starlette.testclient import TestClient

    client = TestClient(create_app(), raise_server_exceptions=False, follow_redirects=False)
    made = tokens()

    def send(who: str, method: str, path: str, headers: dict[str, str], *, by_cookie: bool) -> Any:
        client.cookies.clear()
        given = dict(headers)
        if who in made:
            given |= {"Cookie": f"_token={made[who]}"} if by_cookie else {"Authorization": f"Bearer {made[who]}"}
        answer = client.request(method, path, headers=given)
        return answer.status_code, dict(answer.headers), answer.text

    ways = {"bearer": partial(send, by_cookie=False), "cookie": partial(send, by_cookie=True)}
    return ways if cookies else {"bearer": ways["bearer"]}


def simple_tokens() -> dict[str, str]:
    """Make tokens of SimpleAuthManager's users."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    roles = {STRANGER: ("stranger", "viewer"), VIEWER: ("v", "viewer"), EDITOR: ("e", "user"), ADMIN: ("a", "admin")}
    manager: Any = get_auth_manager()
    return {
        who: manager.generate_jwt(SimpleAuthManagerUser(username=name, role=role.upper()))
        for who, (name, role) in roles.items()
    }


# ---- FAB, on Airflow 2 and 3

_ROLES = {STRANGER: "OneDag", VIEWER: "Viewer", EDITOR: "User", ADMIN: "Admin"}
_PASSWORD = "a-long-password"


def fab_users(manager: Any) -> dict[str, Any]:
    """Add a user for each who is somebody; one has a role that reads one DAG only."""
    role = manager.add_role("OneDag")
    for action, resource in (
        ("can_read", f"DAG:{OTHER}"),
        ("can_read", "DAG Runs"),
        ("can_read", "Task Instances"),
        ("can_read", "XComs"),
        ("can_read", "Website"),
    ):
        manager.add_permission_to_role(role, manager.create_permission(action, resource))
    users = {}
    for who, name in _ROLES.items():
        login = re.sub(r"\W", "_", who)
        users[who] = manager.add_user(
            login, login, login, f"{login}@example.com", manager.find_role(name), password=_PASSWORD
        )
        if not users[who]:
            raise RuntimeError(f"FAB took no user for {who}")
    return users


def fab_tokens() -> dict[str, str]:
    """Make tokens of FAB's users, on Airflow 3."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder

    manager: Any = get_auth_manager()
    with get_application_builder() as appbuilder:
        return {who: manager.generate_jwt(user) for who, user in fab_users(appbuilder.sm).items()}


def airflow_2() -> Send:
    """Return how to send to Airflow 2's webserver, by the session of a browser."""
    from airflow.www.app import create_app

    from airflow_spot.config import airflow_base

    login_page = f"{airflow_base()}/login/"
    app: Any = create_app(testing=False)
    app.config["SERVER_NAME"] = None
    with app.app_context():
        fab_users(app.appbuilder.sm)
    clients: dict[str, Any] = {NOBODY: app.test_client()}
    for who in _ROLES:
        client = clients[who] = app.test_client()
        form = client.get(login_page).get_data(as_text=True)
        token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', form)
        login = {"username": re.sub(r"\W", "_", who), "password": _PASSWORD, "csrf_token": token[1] if token else ""}
        answer = client.post(login_page, data=login)
        if answer.status_code != 302 or "login" in answer.headers.get("Location", ""):
            raise RuntimeError(f"no login as {who}: {answer.status_code}")

    def send(who: str, method: str, path: str, headers: dict[str, str]) -> tuple[int, dict[str, str], str]:
        answer = clients[who].open(path, method=method, headers=headers)
        return answer.status_code, dict(answer.headers), answer.get_data(as_text=True)

    return send


@contextmanager
def acting() -> Iterator[list[tuple[str, str]]]:
    """Have actions noted and not carried out: what they do to a job is tested elsewhere."""
    from airflow_spot.ui import actions

    done: list[tuple[str, str]] = []

    def act(name: str, viewed: Any) -> str:
        done.append((name, viewed.task_id))
        return "Asked for."

    theirs, actions.carry_out = actions.carry_out, act  # type: ignore[assignment]
    try:
        yield done
    finally:
        actions.carry_out = theirs


def audited(database: Any, times: int) -> Iterator[str]:
    """Yield what is missing in Airflow's audit log after so many walks."""
    found = [(event, dag, run_id, task, index) for event, dag, run_id, task, index, _ in database.audit()]
    wanted = [(f"airflow_spot.{name}", MINE, RUN, "train", -1) for name in ("stop", "stop", "on-demand", "on-demand")]
    if found != wanted * times:
        yield f"the audit log has {found}"
    if not all(owner for *_, owner in database.audit()):
        yield "the audit log does not say who"


def main(auth: str) -> int:
    """Walk on this Airflow, whose home is new; returns 0 where all is as it has to be."""
    os.environ.setdefault("AIRFLOW__API_AUTH__JWT_SECRET", "a-secret-of-the-walk-" * 4)
    if auth == "fab":
        os.environ["AIRFLOW__CORE__AUTH_MANAGER"] = "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager"
    from tests.ui.rows import AIRFLOW_2, Database, migrate

    migrate()
    from airflow_spot import config
    from airflow_spot.compat.access import token_by_script

    shells = not AIRFLOW_2 and token_by_script()
    database = Database()
    fill(database)
    wrong: list[str] = []
    with acting() as done:
        if AIRFLOW_2:
            ways = {"session": airflow_2()}
        else:
            if auth != "fab":
                PerDag.install()
            ways = airflow_3(fab_tokens if auth == "fab" else simple_tokens, cookies=not shells)
        for way, send in ways.items():
            wrong += [f"{way}: {one}" for one in walk(send, config.pages_base(), shells=shells)]
            wrong += [f"{way}: {one}" for one in unchanged(send, config.pages_base())]
    wrong += audited(database, len(ways))
    if len(done) != 4 * len(ways):
        wrong.append(f"{len(done)} actions were carried out")
    by = " and by ".join(ways)
    print(f"{len(STEPS)} requests as each of {len(WHO)}, {auth}, by {by}: {len(wrong)} wrong", *wrong, sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "simple"))
