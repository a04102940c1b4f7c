"""
The pages in a real browser, under the policy that they are sent with: the script looks again, dresses as Airflow does,
opens links out of a frame, and asks for an action with the header that another site's form cannot send.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from airflow_spot.render import assets
from airflow_spot.render.fleet import fleet, fleet_page
from airflow_spot.render.pages import shell
from airflow_spot.render.run import run_fragment, run_page
from airflow_spot.render.values import Actions, FleetFilter, Viewed, Where
from tests.local.jobs import until
from tests.render import examples
from tests.support.browser import Browser, driver_command

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(driver_command() is None, reason="no chromedriver and Chromium here"),
]

WHERE = Where("/spot")
PATH = "/spot/run/nightly_ranking/r/fit/-1"
FRAME = (
    '<!doctype html><html class="dark"><body><iframe src="{}" width="900" height="700" '
    'sandbox="allow-scripts allow-same-origin allow-forms"></iframe></body></html>'
)


class Site:
    """What Airflow serves, in little. ``now`` is the time that pages are made for."""

    def __init__(self) -> None:
        self.now = examples.T0 + 5_000
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        made = examples.cleared()
        made["state"], made["since"] = "training", made["updated"] - 60
        self.now = made["t0"] + made["updated"] + 60
        self.views = [examples.viewed(made, run_id="r")]
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked.append(("GET", self.path, dict(self.headers)))
                stale = self.headers.get("Authorization") == "Bearer stale"
                self.send(*(401, b"", "text/plain") if stale else site.get(self.path))

            def do_POST(self) -> None:
                site.asked.append(("POST", self.path, dict(self.headers)))
                self.send(200, b"The job is asked to stop.", "text/plain")

            def send(self, status: int, body: bytes, kind: str) -> None:
                self.send_response(status)
                for name, value in {**assets.HEADERS, "Content-Type": kind}.items():
                    if not self.path.startswith("/frame"):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def get(self, path: str) -> tuple[int, bytes, str]:
        path = path.partition("?")[0]
        if path.startswith("/spot/static/"):
            found = assets.asset(path.rpartition("/")[2])
            return (200, *found) if found else (404, b"", "text/plain")
        if path == "/frame":
            return 200, FRAME.format(PATH).encode(), "text/html"
        if path == "/spot/shell":
            return 200, shell(WHERE, f"/spot/fragment{PATH.removeprefix('/spot')}").encode(), "text/html"
        if path == "/spot/fleet.csv":
            return 200, b"a,b", "text/csv"
        if path == "/spot/":
            view = fleet(examples.fleet_rows(3, self.now), FleetFilter(), self.now)
            return 200, fleet_page(view, WHERE).encode(), "text/html"
        make = run_fragment if path.startswith("/spot/fragment/") else run_page
        return 200, make(self.views, WHERE, Actions(allowed=True), self.now).encode(), "text/html; charset=utf-8"


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    with Browser(tmp_path / "profile") as opened:
        yield opened


def test_a_page_looks_again_and_keeps_what_is_open(site: Site, browser: Browser) -> None:
    browser.open(site.url + PATH)
    assert "Training · 2 min" in browser.text
    browser.click("//details[@id='generation-1']/summary")
    site.now += 3_600
    until(lambda: "Training · 1 h 2 min" in browser.text, "the page has looked again")
    assert browser.run("return document.getElementById('generation-1').open") is True
    assert browser.run("return document.getElementById('note').textContent") == ""
    # Nothing is inline: the browser would have refused it.
    assert browser.run("return getComputedStyle(document.querySelector('.tiles')).display") == "grid"
    site.server.shutdown()
    site.server.server_close()
    until(lambda: "What is shown may be old." in browser.text, "the page says that it cannot")


def test_an_action_is_asked_for_by_the_script(site: Site, browser: Browser) -> None:
    browser.open(site.url + PATH)
    browser.click("//details[@id='act-stop']/summary")
    browser.click("//button[text()='Stop the training']")
    until(lambda: "The job is asked to stop." in browser.text, "the answer is shown")
    ((_, path, headers),) = [each for each in site.asked if each[0] == "POST"]
    assert path == "/spot/act/run/nightly_ranking/r/fit/-1/stop"
    assert headers["X-Airflow-Spot"] == "stop"
    assert browser.url.endswith(PATH)


def test_a_shell_asks_with_the_token_that_airflow_keeps(site: Site, browser: Browser) -> None:
    browser.open(site.url + "/spot/shell")
    browser.run("localStorage.setItem('token', 'abc')")
    browser.open(site.url + "/spot/shell")
    until(lambda: "Spot training of fit" in browser.text, "the content is there")
    fragments = [headers for _, path, headers in site.asked if path.startswith("/spot/fragment/")]
    assert "Bearer abc" in [headers.get("Authorization") for headers in fragments]


def test_a_token_of_an_older_airflow_is_not_in_the_cookies_way(site: Site, browser: Browser) -> None:
    browser.open(site.url + "/spot/shell")
    browser.run("localStorage.setItem('token', 'stale')")
    browser.open(site.url + "/spot/shell")
    until(lambda: "Spot training of fit" in browser.text, "the content is there")


@pytest.mark.parametrize("token", ["abc", ""])
def test_a_file_is_saved_with_the_token_that_airflow_keeps(site: Site, browser: Browser, token: str) -> None:
    browser.open(site.url + "/spot/")
    browser.run(f"localStorage.setItem('token', '{token}')")
    browser.click("//a[@download]")
    until(lambda: any(path.startswith("/spot/fleet.csv") for _, path, _ in site.asked), "the file is asked for")
    asked = [headers.get("Authorization") for _, path, headers in site.asked if path.startswith("/spot/fleet.csv")]
    assert asked[0] == (f"Bearer {token}" if token else None)
    assert browser.run("return document.getElementById('note').textContent") == ""
    assert len(asked) == 1


def test_in_a_frame_it_is_as_dark_as_what_is_around_it(site: Site, browser: Browser) -> None:
    browser.open(site.url + "/frame")
    inner = "document.querySelector('iframe').contentDocument"

    def background() -> str:
        found: str = browser.run(f"return {inner}.body && getComputedStyle({inner}.body).backgroundColor")
        return found

    until(lambda: background() == "rgb(23, 30, 44)", "the frame is dark")
    browser.run("document.documentElement.className = 'light'")
    until(lambda: background() == "rgb(255, 255, 255)", "the frame is light")
    assert "embedded" in browser.run(f"return {inner}.documentElement.className")


def test_a_link_out_of_a_frame_opens_a_window(site: Site, browser: Browser) -> None:
    site.views = [
        Viewed("nightly_ranking", "r", "fit", timeline=site.views[0].timeline, links=(("Logs", "/spot/logs"),))
    ]
    browser.open(site.url + "/frame")
    inner = "document.querySelector('iframe').contentDocument"
    until(lambda: browser.run(f"return !!({inner}.querySelector && {inner}.querySelector('.links a'))"), "it is there")
    # A click of the script's own opens a window only where popups are allowed; that it is Airflow's document's is seen.
    browser.run("document.addEventListener('click', e => { window.seen = e.target.href; e.preventDefault(); });")
    browser.run(f"{inner}.querySelector('.links a').click()")
    until(lambda: str(browser.run("return window.seen")).endswith("/spot/logs"), "Airflow's document is clicked")
    # Airflow's document has no policy: nothing is clicked there that could run.
    browser.run(
        f"window.seen = null; const a = {inner}.querySelector('.links a');"
        "a.href = 'javascript:parent.ran=1'; a.click()"  # in one: a new look at the run brings the link of before
    )
    assert browser.run("return [window.seen, window.ran || null]") == [None, None]
