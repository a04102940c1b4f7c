"""
Pictures of the pages in a real Airflow, for the docs and to be looked at: ``python -m tests.browser.pictures OUT``.

The same trainings as the tests look at; and a fleet with a past, which is made up (see ``history.py``).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import FloatRect, Page

from tests.browser import scenario as made
from tests.browser.scenario import Scenario, trainings, until
from tests.browser.visitor import NARROW, WIDE, Visitor, chromium, visitor

ROOT = Path(__file__).parents[2]
SCHEMES = ("light", "dark")
#: Airflow's window in a picture; beside its grid there is room for the page.
_WINDOW = {"width": 1280, "height": 960}


def take(runs: Scenario, somebody: Visitor, out: Path) -> Iterator[Path]:
    """Write every picture, and yield its file."""
    runs.market(made.SPEECH, made.DOWN)  # so that it waits in its picture
    until(lambda: runs.told(made.SPEECH).get("state") == "waiting", "it waits")
    pages = {
        "moved": runs.page(made.RANKING),
        "failed": runs.page(made.CHURN),
        "live": runs.page(made.SPEECH),
        "cleared": runs.page(made.FORECAST),
        "mapped": runs.run_page(made.SWEEP),
    }
    for scheme in SCHEMES:
        dark = scheme == "dark"
        for name, address in pages.items():
            for width in (WIDE, NARROW):
                yield whole(somebody.look(address, dark=dark, width=width), out / f"{name}-{width}-{scheme}.png")
        one, several = "Spot training of train", "Spot trainings of train"
        for name, address, heading in (
            ("timeline", runs.in_airflow(made.RANKING), one),
            ("live", runs.in_airflow(made.SPEECH), one),
            ("mapped", runs.in_airflow(made.SWEEP, task=False), several),
        ):
            yield in_airflow(somebody, address, heading, scheme, out / f"{name}-in-airflow-{scheme}.png")
    runs.market(made.SPEECH, made.UP)
    subprocess.run(
        [sys.executable, "-m", "tests.browser.history"], check=True, cwd=ROOT, env=runs.airflow.environ, timeout=300
    )
    # A look at a year has what was before the looks at a month.
    fleet = f"{runs.fleet_page()}?days=90"
    for scheme in SCHEMES:
        for width in (WIDE, NARROW):
            page = somebody.look(fleet, dark=scheme == "dark", width=width)
            yield whole(page, out / f"fleet-{width}-{scheme}.png")
        address = f"{runs.airflow.url}/plugin/spot-trainings/airflow-spot/?days=90"
        yield in_airflow(somebody, address, "Spot trainings", scheme, out / f"fleet-in-airflow-{scheme}.png")


def whole(page: Page, path: Path) -> Path:
    """Write a picture of a page's whole length, and close it."""
    page.locator("main h1").wait_for()
    length = min(int(page.evaluate("document.body.scrollHeight")), 4_000)
    page.set_viewport_size({"width": int(page.evaluate("innerWidth")), "height": length})
    page.screenshot(path=path)
    page.close()
    return path


def small(path: Path) -> None:
    """Write a picture again with 256 colours, which halves it, where Pillow is there (extra "plot")."""
    try:
        from PIL import Image
    except ImportError:
        return
    with Image.open(path) as taken:
        taken.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


def in_airflow(somebody: Visitor, address: str, heading: str, scheme: str, path: Path) -> Path:
    """Write a picture of Airflow's window with a page in its frame."""
    page = somebody.open()
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce")
    page.set_viewport_size({"width": _WINDOW["width"], "height": _WINDOW["height"]})
    page.goto(address)
    if "/plugin/" not in address:
        page.get_by_role("link", name="Spot", exact=True).click()
    frame = page.frame_locator("iframe")
    frame.get_by_role("heading", name=heading, exact=True).wait_for()
    frame.locator(f"html.{scheme}").wait_for(state="attached")
    page.evaluate("document.fonts.ready")
    page.screenshot(path=path, clip=FloatRect(x=0, y=0, width=_WINDOW["width"], height=_WINDOW["height"]))
    page.close()
    return path


def main() -> int:
    parser = argparse.ArgumentParser(description="Takes pictures of the pages in a real Airflow.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--scale", type=float, default=1.0, help="pixels of a picture for each of a page")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="airflow-spot-pictures-") as folder,
        trainings(Path(folder)) as runs,
        chromium() as browser,
        visitor(browser, runs.airflow.url, scale=args.scale) as somebody,
    ):
        for path in take(runs, somebody, args.out):
            small(path)
            print(f"{path.stat().st_size:>9,} bytes  {path}", flush=True)
        for wrong in somebody.wrong:
            print(wrong, file=sys.stderr)
        return 1 if somebody.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
