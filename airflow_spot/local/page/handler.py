"""The web page: ``GET /`` of the service in a browser of this machine.

A page that anybody's site could make a browser send requests to must not be able to do anything for that site:

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
import re
import secrets
from collections.abc import Callable, Mapping
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
from airflow_spot.local.page import content as page_jobs
from airflow_spot.local.page import html
from airflow_spot.local.training.job import TRAINING_JOBS
from airflow_spot.local.training.operations import stop_training_job

log = logging.getLogger(__name__)

#: No bucket can be called so.
PREFIX = f"{CONTROL}page/"
STILL = "live=off"
MOST_BYTES = 16 * 1024
MOST_DOWN_SECONDS = 86_400


class Page:
    """The page of one service."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._token = secrets.token_urlsafe(32)

    @staticmethod
    def wants(environ: dict[str, Any]) -> bool:
        """Whether a request is for the page."""
        if environ.get("PATH_INFO", "").startswith(PREFIX):
            return True
        return (
            environ.get("PATH_INFO") == "/"
            and environ.get("REQUEST_METHOD") == "GET"
            and environ.get("QUERY_STRING", "") in ("", STILL)
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
                raise _Refused("the page knows GET and POST", 405)
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

    # Who may ask.

    def _check(self, request: Request) -> None:
        if not is_loopback(request.remote_addr):
            raise _Refused("the page answers to this machine only")
        if not self._is_own_host(request.host):
            raise _Refused("the page answers under the names of this machine only: try http://127.0.0.1")
        if request.method == "POST":
            source = request.headers.get("Origin") or request.headers.get("Referer", "")
            if not self._is_own_origin(source, request):
                raise _Refused("this form is not one of the page's own")
            request.max_content_length = MOST_BYTES
            # As bytes: compare_digest takes no text outside of ASCII.
            if not hmac.compare_digest(request.form.get("token", "").encode(), self._token.encode()):
                raise _Refused("this form is of an earlier start of the service: load the page anew")
        elif "Origin" in request.headers:
            raise _Refused("the page is for people, not for other pages")

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

    # What is shown.

    def _show(self, request: Request) -> Response:
        still = request.query_string == STILL.encode()
        if request.path == "/":
            return self._index(still)
        kind, *rest = request.path.removeprefix(PREFIX).split("/")
        if kind == "training" and len(rest) == 2:
            return self._job(rest[0], rest[1], still)
        raise _Refused(f"there is no page {request.path}", 404)

    def _index(self, still: bool) -> Response:
        button = self._buttons("/", still)
        return html.document(
            "Jobs",
            html.heading("Training jobs"),
            page_jobs.training_jobs(self._backend, PREFIX, button),
            *page_jobs.other_resources(self._backend),
            html.heading("Capacity"),
            *page_jobs.markets(self._backend, button),
            links=[_other("/", still)],
            live=not still,
        )

    def _job(self, region: str, name: str, still: bool) -> Response:
        job = self._backend.store.table(TRAINING_JOBS).find(region, name)
        if job is None:
            raise _Refused(f"there is no training job {name} in {region}", 404)
        view = page_jobs.JobView.of(job, self._backend.clock.now())
        path = PREFIX + view.path
        button = self._buttons(path, still)
        return html.document(
            name,
            *page_jobs.training_job(self._backend, view, button),
            html.heading("Capacity"),
            *page_jobs.markets(self._backend, button),
            links=[html.link("/", "all jobs"), *([] if view.terminal else [_other(path, still)])],
            live=not still and not view.terminal,
        )

    def _message(self, text: str, status: int) -> Response:
        shown = html.paragraph(html.clean(text, 500))
        response = html.document("Local SageMaker", shown, links=[html.link("/", "all jobs")])
        response.status_code = status
        return response

    def _buttons(self, path: str, still: bool) -> page_jobs.Button:
        """
        What makes the buttons of one page.

        :param path: of that page, which the browser is sent back to.
        """
        back = f"{path}?{STILL}" if still else path

        def button(label: str, fields: dict[str, str]) -> Markup:
            hidden = {"token": self._token, "back": back, **fields}
            return html.button(PREFIX + label.replace(" ", "-"), label, hidden, _MORE.get(label, ""))

        return button

    # What is done.

    def _act(self, request: Request) -> Response:
        name = request.path.removeprefix(PREFIX)
        action = ACTIONS.get(name)
        if action is None:
            raise _Refused(f"there is no action {name}", 404)
        action(self._backend, request.form)
        self._backend.audit.write("page", action=name, job=request.form.get("job"))
        back = request.form.get("back", "/")
        if not re.fullmatch(rf"(/|{PREFIX}[^?]*)(\?{STILL})?", back):
            back = "/"
        return Response(status=303, headers={**html.HEADERS, "Location": back})


def _other(path: str, still: bool) -> Markup:
    """A link to the same page, which does or does not load itself anew."""
    return html.link(path, "follow") if still else html.link(f"{path}?{STILL}", "hold still")


_MORE = {
    "interrupt": Markup(
        '<label>no capacity for <input type="number" name="down" value="5" min="0" max="86400"> s</label>'
    )
}


class _Refused(Exception):
    """The request is not answered as it wants; the message says why."""

    def __init__(self, message: str, status: int = 403) -> None:
        super().__init__(message)
        self.status = status


def _interrupt(backend: Backend, form: Mapping[str, str]) -> None:
    try:
        down = float(form.get("down") or 0)
    except ValueError:
        down = -1.0
    if not 0 <= down <= MOST_DOWN_SECONDS:
        raise _Refused(f"the seconds without capacity have to be a number from 0 to {MOST_DOWN_SECONDS}", 400)
    backend.engine.interrupt(form.get("region", ""), form.get("job", ""), down)


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
