"""
The web page in a real browser: headless Chromium opens it and presses its buttons while a job really trains.

It also takes the picture in the docs::

    AIRFLOW_SPOT_SCREENSHOTS=docs/images python -m pytest tests/local/page/test_page_browser.py
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_spot.local import LocalSageMaker
from tests.local.jobs import COUNTER, Jobs, statuses, until
from tests.support.browser import Browser, driver_command

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(driver_command() is None, reason="no chromedriver and Chromium here"),
]

#: It counts until a file is there: not to its end while a slow browser comes to press a button.
SCRIPT = COUNTER.replace("count < STEPS", "not os.path.exists(RELEASE)")


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    with Browser(tmp_path / "profile") as opened:
        yield opened


@pytest.mark.local_sagemaker(grace_seconds=1, checkpoint_seconds=0.2)
def test_what_spot_does_is_seen_and_done_in_a_browser(local_sagemaker: LocalSageMaker, browser: Browser) -> None:
    jobs = Jobs(local_sagemaker)
    release = local_sagemaker.dir / "release"
    name = jobs.start(SCRIPT.replace("RELEASE", repr(str(release))))
    browser.open(local_sagemaker.endpoint_url)
    # The page loads itself anew.
    until(lambda: f"{name} 1 x ml.m5.large, spot · us-east-1 InProgress: Training" in browser.text, "it trains")
    jobs.wait_for_checkpoint(name)

    browser.click("//a[text()='pause refresh']")
    browser.click("//button[text()='interrupt']")
    jobs.reach(name, "Interrupted")
    browser.click(f"//a[text()='{name}']")
    assert browser.url.endswith(f"/training/us-east-1/{name}")

    def continues(text: str, starts: int) -> bool:
        return text.count("Training image download completed") == starts and text.count("Interrupted") >= starts - 1

    # Each look is at one text: between two, the page may be loading itself anew, and be empty.
    until(lambda: continues(browser.text, 2), "the job continues")

    browser.click("//a[text()='pause refresh']")
    browser.click("//button[text()='capacity off']")
    until(lambda: statuses(jobs.describe(name)).count("Interrupted") == 2, "its instances go")
    browser.click("//a[text()='auto-refresh']")
    until(lambda: "Insufficient capacity error" in browser.text, "the job waits")
    browser.click("//a[text()='pause refresh']")
    browser.click("//button[text()='capacity on']")
    browser.click("//a[text()='auto-refresh']")
    until(lambda: continues(browser.text, 3), "the job continues")
    if folder := os.environ.get("AIRFLOW_SPOT_SCREENSHOTS"):
        browser.click("//a[text()='pause refresh']")
        browser.screenshot(Path(folder) / "local-sagemaker.png")
        browser.click("//a[text()='auto-refresh']")
    release.touch()
    jobs.end(name)
    # The page of a job that has ended is no more loaded anew.
    until(lambda: "Training job completed" in browser.text, "the page shows the end")
    assert browser.count("//*[name()='path'][@class='I']") == 1 + 2  # the legend's too
    model = jobs.model(name)
    assert f"step {model.pop('count').decode()}" in browser.text
    assert model == {}
