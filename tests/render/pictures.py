"""Pictures of pages, by a real browser: at 1280 and 400 pixels, light and dark."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.support.browser import Browser

WIDTHS = (1280, 400)
#: What of a page is wider than the window, or whose words are cut off.
_FAULTS = """
const found = [], page = document.documentElement;
const cut = '.tile b, .tile i, h1, .chip, th, .lab b, .lab .sub';
if (page.scrollWidth > page.clientWidth) found.push('scrolls: ' + page.scrollWidth);
document.querySelectorAll('.scroll').forEach(e => {
  if (e.scrollWidth > e.clientWidth + 1) found.push('a table scrolls: ' + e.scrollWidth + ' in ' + e.clientWidth); });
document.querySelectorAll(cut).forEach(e => {
  if (e.offsetParent && e.scrollWidth > e.clientWidth + 1) found.push('cut: ' + e.textContent.slice(0, 40)); });
return found;
"""


#: What axe-core finds, folded parts opened.
_AXE = """
document.querySelectorAll('details').forEach(each => { each.open = true; });
return axe.run(document, {resultTypes: ['violations']}).then(found => found.violations.flatMap(
  rule => rule.nodes.map(node => rule.id + ': ' + node.html.slice(0, 160) + ' ' + (node.any[0] || {}).message)));
"""


def take(pages: Sequence[Path], *, dark: bool = True, axe: Path | None = None) -> list[str]:
    """
    Write pictures beside the pages; return what is too wide or cut off.

    :param axe: axe-core's ``axe.min.js``, which then looks at each page too.
    """
    faults = []
    with tempfile.TemporaryDirectory() as profile, Browser(Path(profile)) as browser:
        for page in pages:
            for width in WIDTHS:
                for is_dark in (False, True) if dark else (False,):
                    picture = page.with_name(f"{page.stem}-{width}-{'dark' if is_dark else 'light'}.png")
                    browser.look(page.as_uri(), picture, width=width, dark=is_dark)
                    if axe is not None:
                        browser.run(axe.read_text(encoding="utf-8"))
                        faults += [f"{picture.stem}: {fault}" for fault in browser.run(_AXE)]
                    if not is_dark:
                        faults += [f"{page.stem} at {width}: {fault}" for fault in browser.run(_FAULTS)]
    for fault in faults:
        print(fault)
    return faults
