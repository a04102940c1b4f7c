"""Who looks at the pages: Debian's Chromium, driven by Playwright; notes what goes wrong meanwhile."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Frame, Page, sync_playwright

from demo.standalone import PASSWORD, USER
from tests.support.browser import browser_command

#: Ends a wait that is in vain, in milliseconds.
PATIENCE = 120_000
#: A page of its own, one in Airflow's frame beside its grid, and one on a telephone.
WIDE, FRAMED, NARROW = 1280, 912, 400
#: Whose faults are ours: Airflow's own pages have some of their own.
OURS = "/airflow-spot/"

_TELL_OF_POLICY = """
document.addEventListener('securitypolicyviolation', event =>
  console.error('policy: ' + event.violatedDirective + ' ' + event.blockedURI + ' of ' + location.pathname));
"""
_OPEN_ALL = "document.querySelectorAll('details').forEach(each => { each.open = true; })"
#: What of a page is wider than the window, or whose words are cut off.
_TOO_WIDE = """() => {
const found = [], page = document.documentElement;
if (page.scrollWidth > page.clientWidth) found.push('the page scrolls: ' + page.scrollWidth);
document.querySelectorAll('.scroll').forEach(each => {
  if (each.scrollWidth > each.clientWidth + 1) found.push('a table scrolls: ' + each.scrollWidth); });
document.querySelectorAll('.tile b, .tile i, h1, .chip, th').forEach(each => {
  if (each.offsetParent && each.scrollWidth > each.clientWidth + 1) found.push('cut: ' + each.textContent); });
document.querySelectorAll('td .chip').forEach(each => {
  const cell = each.closest('td').getBoundingClientRect();
  if (each.offsetParent && each.getBoundingClientRect().right > cell.right + 1)
    found.push('beyond its cell: ' + each.textContent); });
return found; }"""


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """The machine's own: no browser is downloaded."""
    with sync_playwright() as playwright:
        # Root has no sandbox; a container's /dev/shm is small.
        flags = ["--no-sandbox", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=browser_command(), args=flags)
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Visitor:
    """
    Somebody with a browser of their own, who is logged in.

    :ivar wrong: errors in the console, violations of the policy and answers of 400 and above, of our own pages.
    """

    context: BrowserContext
    wrong: list[str] = field(default_factory=list)

    def open(self, address: str = "") -> Page:
        """Return a new page, at an address."""
        page = self.context.new_page()
        if address:
            page.goto(address)
        return page

    def look(self, address: str, *, dark: bool = False, width: int = WIDE) -> Page:
        """Return a new page, light or dark as a person's system has it, at a width."""
        page = self.context.new_page()
        page.emulate_media(color_scheme="dark" if dark else "light", reduced_motion="reduce")
        page.set_viewport_size({"width": width, "height": 900})
        page.goto(address)
        return page

    def _note(self, message: Any) -> None:
        where = str(message.location.get("url", ""))
        if message.type == "error" and (OURS in where or message.text.startswith("policy:")):
            self.wrong.append(f"{where}: {message.text}")

    def _answered(self, response: Any) -> None:
        if OURS not in response.url:
            return
        if response.status >= 400:
            self.wrong.append(f"{response.url}: {response.status}")

    def _failed(self, error: Any) -> None:
        if OURS in str(error.page.url):
            self.wrong.append(f"{error.page.url}: {error.error}")


@contextlib.contextmanager
def visitor(browser: Browser, airflow_url: str, *, scale: float = 1.0) -> Iterator[Visitor]:
    """
    Log in as a person does, by Airflow's form.

    :param scale: pixels of a picture for each of a page.
    """
    context = browser.new_context(viewport={"width": WIDE, "height": 900}, device_scale_factor=scale)
    context.set_default_timeout(PATIENCE)
    context.add_init_script(_TELL_OF_POLICY)
    made = Visitor(context)
    try:
        page = context.new_page()
        page.goto(airflow_url)
        page.locator("input[name=username]").fill(USER)
        page.locator("input[name=password]").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("button", name="Browse").wait_for()
        page.close()
        context.on("console", made._note)
        context.on("response", made._answered)
        context.on("weberror", made._failed)
        yield made
    finally:
        context.close()


def axe(page: Page | Frame) -> list[str]:
    """Return what axe-core finds on a page, its folded parts opened."""
    page.evaluate(_OPEN_ALL)
    found = Axe().run(page)  # type: ignore[arg-type]  # a frame evaluates as a page does
    return [
        f"{rule['id']}: {node['html'][:160]} {node.get('failureSummary', '')}"
        for rule in found.response["violations"]
        for node in rule["nodes"]
    ]


def too_wide(page: Page | Frame) -> list[str]:
    """Return what of a page is wider than its window, or cut off."""
    return list(page.evaluate(_TOO_WIDE))
