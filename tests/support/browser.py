"""A real browser for tests: headless Chromium, driven over W3C WebDriver, which needs no package of Python's."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any

#: For an element that is there at once: a busy machine loads its page slowly.
CLICK_SECONDS = 60.0
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # WebDriver's own name for a reference to one
FLAGS = (
    "--headless=new",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--force-device-scale-factor=1.5",
)


def driver_command() -> str | None:
    """ChromeDriver, if the machine has it and Chromium: Debian's packages chromium and chromium-driver."""
    return shutil.which("chromedriver") if browser_command() else None


def browser_command() -> str | None:
    return shutil.which("chromium") or shutil.which("google-chrome")


class _Gone(Exception):
    """An element is not there, or not any more."""


class _NoDriver(Exception):
    """ChromeDriver ended before it took a port."""


def is_gone(error: str, message: str) -> bool:
    """
    Whether a driver's error says that the element is not there.

    ChromeDriver has no error of its own for a page that goes between its look for the element and its click: it
    passes on what DevTools says of the node, the frame or the script's context.
    """
    if error in ("no such element", "stale element reference"):
        return True
    return error == "unknown error" and any(words in message for words in ("inspector error", "aborted by navigation"))


class Browser:
    """
    One browser with an empty profile. A context manager: it ends with everything that it started.

    :param folder: for its profile.
    """

    def __init__(self, folder: Path, *, width: int = 1180, height: int = 1250) -> None:
        self._folder = folder
        self._size = f"--window-size={width},{height}"

    def __enter__(self) -> Browser:
        # Its port has to be free on IPv4 and IPv6; the one that it picked may not be.
        for attempt in range(3):
            try:
                self._start()
                break
            except _NoDriver:
                if attempt == 2:
                    raise
        return self

    def _start(self) -> None:
        driver = driver_command()
        assert driver is not None
        self._driver = subprocess.Popen(
            [driver, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )
        try:
            self._session = self._begin()
        except BaseException:
            self._end()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._call("DELETE", "")
        finally:
            self._end()

    def _begin(self) -> str:
        assert self._driver.stdout is not None
        said = []
        for line in self._driver.stdout:
            said.append(line)
            if match := re.search(r"successfully on port (\d+)", line):
                break
        else:
            raise _NoDriver("".join(said))
        port = match[1]
        self._session = f"http://127.0.0.1:{port}/session"
        flags = [*FLAGS, self._size, f"--user-data-dir={self._folder}"]
        if os.getuid() == 0:
            flags.append("--no-sandbox")  # root has none
        options = {"binary": browser_command(), "args": flags}
        wanted = {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}}
        return f"{self._session}/{self._call('POST', '', wanted)['sessionId']}"

    def _end(self) -> None:
        self._driver.terminate()
        self._driver.communicate(timeout=120)

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        data = json.dumps(body or {}).encode() if method == "POST" else None
        request = urllib.request.Request(
            self._session + path, data, {"Content-Type": "application/json"}, method=method
        )
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=310) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            told = json.load(error)["value"]
            kind = _Gone if is_gone(told["error"], told["message"]) else AssertionError
            raise kind(f"{method} {path}: {told['error']}: {told['message']}") from None

    def open(self, url: str) -> None:
        """Go to a page and wait until it is loaded."""
        self._call("POST", "/url", {"url": url})

    @property
    def url(self) -> str:
        return str(self._call("GET", "/url"))

    @property
    def text(self) -> str:
        """What a person can read, with one space between words; nothing while a page loads."""
        script = "return document.body ? document.body.innerText : ''"
        with contextlib.suppress(_Gone):
            return " ".join(self._call("POST", "/execute/sync", {"script": script, "args": []}).split())
        return ""

    def click(self, xpath: str) -> None:
        """Click on the first such element, once it is there: a page that loads itself again may take it away."""
        deadline = time.monotonic() + CLICK_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(_Gone):
                self._call("POST", f"/element/{self._find(xpath)}/click")
                return
            time.sleep(0.1)
        raise AssertionError(f"there is no {xpath} in {self.text}")

    def count(self, xpath: str) -> int:
        """How many such elements there are."""
        return len(self._call("POST", "/elements", {"using": "xpath", "value": xpath}))

    def _find(self, xpath: str) -> str:
        return str(self._call("POST", "/element", {"using": "xpath", "value": xpath})[ELEMENT])

    def run(self, script: str) -> Any:
        """Run a script in the page; what it returns."""
        return self._call("POST", "/execute/sync", {"script": script, "args": []})

    def devtools(self, command: str, **params: Any) -> Any:
        """Send a command of the browser's DevTools protocol, for what WebDriver does not have."""
        return self._call("POST", "/goog/cdp/execute", {"cmd": command, "params": params})

    def look(self, url: str, path: Path, *, width: int, dark: bool, scale: float = 1.0) -> None:
        """Open a page at a width, light or dark as a person's system has it, and write a PNG of its whole length."""
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.devtools("Emulation.setEmulatedMedia", features=scheme)
        mobile = {"deviceScaleFactor": scale, "mobile": False}
        self.devtools("Emulation.setDeviceMetricsOverride", width=width, height=900, **mobile)
        self.open(url)
        height = min(int(self.run("return document.documentElement.scrollHeight")), 12_000)
        self.devtools("Emulation.setDeviceMetricsOverride", width=width, height=height, **mobile)
        shot = self.devtools("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(shot["data"]))

    def screenshot(self, path: Path) -> None:
        """Write what is seen as a PNG."""
        path.write_bytes(base64.b64decode(self._call("GET", "/screenshot")))
