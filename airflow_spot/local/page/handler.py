"""The web page: ``GET /`` of the service in a browser of this machine.

Any web site can make a browser send requests to this page, which must not do anything for it:

- only this machine is answered, under its own name: ``Host`` has to be a loopback name or the address that the service
  listens on, so that a foreign name that was made to resolve to this machine (DNS rebinding) gets nothing;
- a change needs a POST whose ``Origin`` (or, without one, ``Referer``) is the page's own, and a token that is made for
  each start of the service and is nowhere but in the page's forms;
- nothing can frame it, and its answers are not for other origins to read.

``GET /`` is S3's ListBuckets too. A client of S3 signs it, or at least does not ask for ``text/html``.
"""

from __future__ import annotations

import hmac
import logging
import math
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from markupsafe import Markup
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Request, Response

from airflow_spot.local.api.access import PREFIX as CONTROL
from airflow_spot.local.api.access import is_loopback
from airflow_spot.local.api.call import Call
from airflow_spot.local.backend import Backend
from airflow_spot.local.errors import ServiceError
from airflow_spot.local.page import content, life
from airflow_spot.local.page.rendering import HEADERS, STYLE, render
from airflow_spot.local.training.job import TRAINING_JOBS
from airflow_spot.local.training.operations import stop_training_job

log = logging.getLogger(__name__)

#: No bucket can be called so.
PREFIX = f"{CONTROL}page/"
PAUSED = "refresh=off"
MOST_BYTES = 16 * 1024
MAX_CAPACITY_GAP_SECONDS = 86_400
MESSAGE_CHARACTERS = 500
REFRESH_SECONDS = 2
#: Jobs of which it is remembered what a button asked last.
MOST_ASKED = 200
#: The newest jobs of the list have a small timeline: it is loaded every two seconds.
MOST_LANES = 60
ALL_JOBS = ("/", "all jobs")


@dataclass(frozen=True)
class Context:
    """What every template needs of the page.

    :param links: pairs of path and text, for its top.
    :param token: for its forms.
    :param back: where its forms send the browser back to.
    :param refresh_seconds: after which the browser loads it again, if it does.
    """

    links: list[tuple[str, str]]
    token: str = ""
    back: str = "/"
    refresh_seconds: int | None = None
    prefix: str = PREFIX
    max_capacity_gap: int = MAX_CAPACITY_GAP_SECONDS
    style: Markup = STYLE


class Page:
    """The page of one service."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._token = secrets.token_urlsafe(32)
        self._asked: dict[tuple[str, str], tuple[str, int]] = {}

    @staticmethod
    def wants(environ: dict[str, Any]) -> bool:
        """Return whether a request is for the page."""
        if environ.get("PATH_INFO", "").startswith(PREFIX):
            return True
        return (
            environ.get("PATH_INFO") == "/"
            and environ.get("REQUEST_METHOD") == "GET"
            and environ.get("QUERY_STRING", "") in ("", PAUSED)
            and "HTTP_AUTHORIZATION" not in environ
            and "text/html" in environ.get("HTTP_ACCEPT", "")
        )

    def answer(self, request: Request) -> Response:
        """Answer one request that :meth:`wants` is true for."""
        try:
            self._check(request)
            if request.method == "POST":
                return self._act(request)
            if request.method != "GET":
                raise _Refused("only GET and POST are allowed", 405)
            return self._show(request)
        except _Refused as refused:
            return self._message(str(refused), refused.status)
        except ServiceError as error:
            return self._message(error.message, 400)
        except HTTPException as error:
            return self._message(error.description or error.name, error.code or 400)
        except Exception as error:
            log.exception("the page failed")
            return self._message(f"{type(error).__name__}: see the service's log", 500)

    # Who is allowed.

    def _check(self, request: Request) -> None:
        if not is_loopback(request.remote_addr):
            raise _Refused("only this machine is allowed")
        if not self._is_own_host(request.host):
            raise _Refused("unknown host name: use http://127.0.0.1 or localhost")
        if request.method == "POST":
            source = request.headers.get("Origin") or request.headers.get("Referer", "")
            if not self._is_own_origin(source, request):
                raise _Refused("the form comes from another origin")
            request.max_content_length = MOST_BYTES
            # As bytes: compare_digest takes no text outside of ASCII.
            if not hmac.compare_digest(request.form.get("token", "").encode(), self._token.encode()):
                raise _Refused("form token expired (service restarted): reload the page")
        elif "Origin" in request.headers:
            raise _Refused("cross-origin requests are not allowed")

    def _is_own_host(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return is_loopback(name) or (name != "" and name in ("localhost", self._backend.settings.host.lower()))

    @staticmethod
    def _is_own_origin(source: str, request: Request) -> bool:
        try:
            parts = urlsplit(source)
        except ValueError:
            return False
        return (parts.scheme, parts.netloc.lower()) == (request.scheme, request.host.lower())

    # Pages.

    def _show(self, request: Request) -> Response:
        paused = request.query_string == PAUSED.encode()
        if request.path == "/":
            return self._index(paused)
        kind, *rest = request.path.removeprefix(PREFIX).split("/")
        if kind == "training" and len(rest) == 2:
            return self._job(rest[0], rest[1], paused)
        raise _Refused(f"there is no page {request.path}", 404)

    def _index(self, paused: bool) -> Response:
        jobs, older = content.training_jobs(self._backend)
        return render(
            "index.html",
            page=self._context("/", paused),
            jobs=[
                (job, life.lane(job) if place < MOST_LANES else "", self._asked_of(job))
                for place, job in enumerate(jobs)
            ],
            tiles=content.tiles(jobs),
            older=older,
            sections=content.other_resources(self._backend),
            markets=content.markets(self._backend),
        )

    def _job(self, region: str, name: str, paused: bool) -> Response:
        job = self._backend.store.table(TRAINING_JOBS).find(region, name)
        if job is None:
            raise _Refused(f"there is no training job {name} in {region}", 404)
        view = content.JobView.of(job, self._backend.clock.now())
        return render(
            "job.html",
            page=self._context(PREFIX + view.path, paused, changes=not view.terminal),
            job=view,
            asked=self._asked_of(view),
            picture=life.picture(view, self._backend.audit.path) if view.transitions else None,
            steps=content.steps(view),
            log=list(content.log_tails(self._backend, view)),
            markets=content.markets(self._backend),
        )

    def _message(self, text: str, status: int) -> Response:
        return render("message.html", status, page=Context([ALL_JOBS]), text=text[:MESSAGE_CHARACTERS])

    def _context(self, path: str, paused: bool, *, changes: bool = True) -> Context:
        """Return what the templates need beside the content.

        :param path: of the page, which its forms send the browser back to.
        :param paused: the page does not load itself again.
        :param changes: what it shows may change.
        """
        links = [] if path == "/" else [ALL_JOBS]
        if changes:
            links.append((path, "auto-refresh") if paused else (f"{path}?{PAUSED}", "pause refresh"))
        return Context(
            links,
            token=self._token,
            back=f"{path}?{PAUSED}" if paused else path,
            refresh_seconds=None if paused or not changes else REFRESH_SECONDS,
        )

    # Actions.

    def _asked_of(self, view: content.JobView) -> str:
        """Return what a button asked of a job that has not happened yet: it takes the service a moment."""
        name, transitions = self._asked.get((view.region, view.name), ("", 0))
        return f"{name} asked for" if name and not view.terminal and len(view.transitions) <= transitions else ""

    def _act(self, request: Request) -> Response:
        name = request.path.removeprefix(PREFIX)
        action = ACTIONS.get(name)
        if action is None:
            raise _Refused(f"there is no action {name}", 404)
        region, job_name = request.form.get("region", ""), request.form.get("job", "")
        job = self._backend.store.table(TRAINING_JOBS).find(region, job_name)
        action(self._backend, request.form)
        if job is not None:
            self._asked = dict(list(self._asked.items())[-MOST_ASKED:])
            self._asked[region, job_name] = (name, len(job.transitions))
        self._backend.audit.write("page", action=name, job=request.form.get("job"))
        back = request.form.get("back", "/")
        if not re.fullmatch(rf"(/|{PREFIX}[^?]*)(\?{PAUSED})?", back):
            back = "/"
        return Response(status=303, headers={**HEADERS, "Location": back})


class _Refused(Exception):
    """The request is refused; the message is the reason."""

    def __init__(self, message: str, status: int = 403) -> None:
        super().__init__(message)
        self.status = status


def _interrupt(backend: Backend, form: Mapping[str, str]) -> None:
    try:
        gap = float(form.get("capacity_gap") or 0)
    except ValueError:
        gap = math.nan
    if not 0 <= gap <= MAX_CAPACITY_GAP_SECONDS:
        raise _Refused(f"the seconds without capacity must be a number from 0 to {MAX_CAPACITY_GAP_SECONDS}", 400)
    backend.engine.interrupt(form.get("region", ""), form.get("job", ""), gap)


def _stop(backend: Backend, form: Mapping[str, str]) -> None:
    call = Call("StopTrainingJob", {"TrainingJobName": form.get("job", "")}, form.get("region", ""))
    stop_training_job(backend, call)


def _capacity_off(backend: Backend, form: Mapping[str, str]) -> None:
    backend.capacity.switch(spot=True, on=False)
    backend.engine.wake_all()


def _capacity_on(backend: Backend, form: Mapping[str, str]) -> None:
    backend.capacity.switch(spot=True, on=True)
    backend.engine.wake_all()


ACTIONS: dict[str, Callable[[Backend, Mapping[str, str]], None]] = {
    "interrupt": _interrupt,
    "stop": _stop,
    "capacity-off": _capacity_off,
    "capacity-on": _capacity_on,
}
