"""
The pages as a person meets them: in Airflow's own frame, in Chromium, with trainings in every state.

One Airflow for all: what is asked of a run is asked last of it.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, FrameLocator, Page, expect

from tests.browser import scenario as made
from tests.browser.scenario import Scenario, trainings, until
from tests.browser.visitor import (
    FRAMED,
    NARROW,
    PATIENCE,
    WIDE,
    Visitor,
    axe,
    chromium,
    too_wide,
    visitor,
)
from tests.support.browser import browser_command

pytestmark = [
    pytest.mark.slow,
    pytest.mark.airflow,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(browser_command() is None, reason="no Chromium here"),
]

LINKS = ("SageMaker Training Job", "SageMaker Training Logs", "SageMaker Checkpoints", "Spot timeline")
MODEL = "SageMaker Model"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scenario]:
    with trainings(tmp_path_factory.mktemp("browser")) as started:
        yield started


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE)
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def somebody(browser: Browser, runs: Scenario) -> Iterator[Visitor]:
    with visitor(browser, runs.airflow.url) as logged_in:
        yield logged_in


@pytest.fixture(autouse=True)
def _nothing_goes_wrong(somebody: Visitor) -> Iterator[None]:
    """No error in the console, no violation of the policy, no answer of 400 and above; and no page stays open."""
    somebody.wrong.clear()
    yield
    for page in somebody.context.pages:
        page.close()
    assert somebody.wrong == []


def everything(runs: Scenario) -> dict[str, str]:
    """Every page by its name."""
    pages = {dag_id: runs.page(dag_id) for dag_id in made.ALL if dag_id != made.SWEEP}
    sweep = {"sweep": runs.run_page(made.SWEEP), "failed member": runs.page(made.SWEEP, made.FAILED_MEMBER)}
    return {**pages, **sweep, "one run": runs.run_page(made.RANKING), "fleet": runs.fleet_page()}


def said(page: Page) -> str:
    """What a person reads, with one space between words."""
    return " ".join(page.locator("main").inner_text().split())


def story(page: Page) -> list[str]:
    """The sentences of what happened, and why."""
    return [" ".join(one.split()) for one in page.locator("ol.story li").all_inner_texts()]


def framed(page: Page, heading: str) -> FrameLocator:
    """The page within Airflow's frame, once it has that heading."""
    frame = page.frame_locator("iframe")
    frame.get_by_role("heading", name=heading, exact=True).wait_for()
    return frame


# ---- in Airflow's frame


def test_a_tasks_tab_shows_its_timeline(somebody: Visitor, runs: Scenario) -> None:
    page = somebody.open(runs.in_airflow(made.RANKING))
    page.get_by_role("link", name="Spot", exact=True).click()
    frame = framed(page, f"Spot training of {made.TASK}")
    expect(frame.locator("header .chip")).to_have_text("Completed")
    expect(frame.locator(".plot svg .I")).to_have_count(2)
    # Airflow's own address of it, which can be sent to somebody.
    assert page.url == f"{runs.in_airflow(made.RANKING)}/plugin/spot-training".replace("%3A", ":").replace("%2B", "+")
    # A link to Airflow's own pages leaves the frame.
    frame.get_by_role("link", name=made.RANKING, exact=True).click()
    page.wait_for_url(f"**/dags/{made.RANKING}**")


def test_a_dag_runs_tab_shows_its_trainings(somebody: Visitor, runs: Scenario) -> None:
    page = somebody.open(runs.in_airflow(made.SWEEP, task=False))
    page.get_by_role("link", name="Spot", exact=True).click()
    frame = framed(page, f"Spot trainings of {made.TASK}")
    expect(frame.locator("tbody tr")).to_have_count(made.MEMBERS)
    # To one of them, in the frame.
    frame.get_by_role("link", name=f"{made.TASK} [3]", exact=True).click()
    expect(framed(page, f"Spot training of {made.TASK}").locator("header")).to_contain_text("map index 3")


def test_the_navigation_leads_to_all_trainings(somebody: Visitor, runs: Scenario) -> None:
    page = somebody.open(runs.airflow.url)
    page.get_by_role("button", name="Browse").click()
    page.get_by_text("Spot trainings", exact=True).click()
    frame = framed(page, "Spot trainings")
    now = frame.locator("section", has=page.get_by_role("heading", name="Now", exact=True))
    expect(now.locator("tbody tr")).to_have_count(3)
    # A filter is a form in the frame.
    frame.get_by_label("DAG").select_option(made.CHURN)
    frame.get_by_role("button", name="Show", exact=True).click()
    expect(frame.locator("#runs tbody tr")).to_have_count(1)
    expect(frame.locator("#runs tbody tr")).to_contain_text(made.CHURN)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_frame_is_as_light_or_dark_as_airflow(somebody: Visitor, runs: Scenario, scheme: Any) -> None:
    page = somebody.open()
    page.emulate_media(color_scheme=scheme)
    page.goto(f"{runs.in_airflow(made.RANKING)}/plugin/spot-training")
    framed(page, f"Spot training of {made.TASK}")
    expect(page.locator("html")).to_have_class(re.compile(rf"\b{scheme}\b"))
    expect(page.frame_locator("iframe").locator("html")).to_have_class(re.compile(rf"\b{scheme}\b"))
    # One scroll bar: the frame's content, and not the frame in a page that scrolls too.
    page.wait_for_function("document.documentElement.scrollHeight <= innerHeight")
    inside = next(frame for frame in page.frames if "/airflow-spot/" in frame.url)
    assert too_wide(inside) == []
    assert axe(inside) == []


# ---- each run shows what happened to it


def test_interruptions_and_a_move_to_on_demand(somebody: Visitor, runs: Scenario) -> None:
    page = somebody.look(runs.page(made.RANKING))
    told = story(page)
    assert sum("Interruption" in line for line in told) == 2
    assert any("Interruption 1 after" in line and "training again after" in line for line in told), told
    assert any("Interruption 2 after" in line and "no other instance came" in line for line in told), told
    reason = "no capacity for ml.g5.2xlarge spot; same checkpoint"
    assert any("Attempt 2" in line and reason in line for line in told), told
    rows = page.locator("table tbody tr").all_inner_texts()
    assert "spot" in rows[0] and "no capacity" in rows[0]
    assert "on-demand" in rows[1] and reason in rows[1] and "completed" in rows[1]
    expect(page.locator(".plot .row", has_text="on-demand")).to_have_count(1)
    expect(page.locator(".tile", has_text="Interruptions").locator("b")).to_have_text("2")
    expect(page.locator(".tile", has_text="Progress").locator("i")).to_have_text("step 60 of 60")


def test_why_a_run_failed(somebody: Visitor, runs: Scenario) -> None:
    page = somebody.look(runs.page(made.CHURN))
    expect(page.locator("header .chip")).to_have_text("Failed")
    notice = page.locator(".notice.bad")
    expect(notice).to_contain_text("the training script failed")
    expect(notice).to_contain_text("loss is nan at step 18")
    told = story(page)
    assert any("the script ended with exit code 1" in line for line in told), told
    # What it cost, though it failed.
    expect(page.locator(".tile", has_text="Cost").locator("b")).to_contain_text("$0.0")


def test_a_lane_for_each_of_twenty(somebody: Visitor, runs: Scenario) -> None:
    page = somebody.look(runs.run_page(made.SWEEP))
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(made.MEMBERS)
    expect(rows.locator("td.strip svg")).to_have_count(made.MEMBERS)
    names = [text.splitlines()[0].strip() for text in rows.all_inner_texts()]
    assert names == [f"{made.TASK} [{index}]" for index in range(made.MEMBERS)]
    expect(page.locator(".tile", has_text="Completed").locator("b")).to_have_text(
        f"{made.MEMBERS - 1} of {made.MEMBERS}"
    )
    expect(rows.nth(made.FAILED_MEMBER)).to_contain_text("Failed")
    expect(rows.nth(made.FAILED_MEMBER)).to_contain_text("the training script failed")


def test_both_generations_of_a_cleared_run(somebody: Visitor, runs: Scenario) -> None:
    page = somebody.look(runs.page(made.FORECAST))
    page.get_by_role("heading", name="Timeline of generation 2").wait_for()
    expect(page.locator("header")).to_contain_text("try 2")
    older = page.locator("#generation-1")
    expect(older).to_contain_text("1 attempt · completed")
    assert not older.get_by_role("heading", name="Attempts").is_visible()
    older.locator("summary").first.click()
    assert older.get_by_role("heading", name="Attempts").is_visible()
    jobs = set(re.findall(r"demand-forecast-afspot-\w+-\d-\d", said(page)))
    assert len(jobs) == 2, jobs


def test_a_live_page_moves_without_a_reload(somebody: Visitor, runs: Scenario) -> None:
    page = somebody.look(runs.page(made.SPEECH))
    taken = page.locator(".tile", has_text="Interruptions").locator("b")
    expect(taken).to_have_text("1")
    page.evaluate("window.notReloaded = true")
    page.locator("#act-stop summary").click()
    runs.market(made.SPEECH, made.DOWN)
    expect(taken).to_have_text("2")
    expect(page.locator("header .chip")).to_contain_text("Waiting")
    expect(page.locator("ol.story")).to_contain_text("Interruption 2")
    runs.market(made.SPEECH, made.UP)
    expect(page.locator("header .chip")).to_contain_text("Training")
    assert page.evaluate("window.notReloaded") is True
    # What was opened by the person stays open.
    assert page.locator("#act-stop").get_attribute("open") is not None


# ---- links


@pytest.mark.parametrize("dag_id", [made.RANKING, made.CHURN, made.SPEECH, made.FORECAST])
def test_each_link_once(somebody: Visitor, runs: Scenario, dag_id: str) -> None:
    """On tasks that succeeded, failed, wait, and were cleared: on Airflow's page once, and one row in XCom."""
    is_done = dag_id in (made.RANKING, made.FORECAST)
    page = somebody.open(f"{runs.in_airflow(dag_id)}/details")
    links = page.get_by_role("link")
    for name in LINKS:
        expect(links.filter(has_text=re.compile(f"^{name}$"))).to_have_count(1)
    expect(links.filter(has_text=re.compile(f"^{MODEL}$"))).to_have_count(1 if is_done else 0)
    address = links.filter(has_text=re.compile("^Spot timeline$")).get_attribute("href") or ""
    assert somebody.context.request.get(f"{runs.airflow.url}{address}" if address.startswith("/") else address).ok
    # Local SageMaker is on this machine, so that is where the job's link leads.
    job = links.filter(has_text=re.compile(f"^{LINKS[0]}$")).get_attribute("href") or ""
    assert job.startswith(runs.sagemaker.endpoint_url)
    with metadata(runs) as database:
        query = "select key, count(*) from xcom where dag_id = ? and key like 'sagemaker_spot_%' group by key"
        rows = dict(database.execute(query, (dag_id,)).fetchall())
    assert rows == dict.fromkeys(rows, 1)
    assert len(rows) >= len(LINKS)


# ---- for everybody


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_nothing(somebody: Visitor, runs: Scenario, dark: bool) -> None:
    found = {}
    for name, address in everything(runs).items():
        page = somebody.look(address, dark=dark)
        found[name] = axe(page)
        page.close()
    assert {name: faults for name, faults in found.items() if faults} == {}


@pytest.mark.parametrize("width", [WIDE, FRAMED, NARROW])
def test_nothing_is_wider_than_its_window(somebody: Visitor, runs: Scenario, width: int) -> None:
    found = {}
    for name, address in everything(runs).items():
        page = somebody.look(address, width=width)
        found[name] = too_wide(page)
        page.close()
    assert {name: faults for name, faults in found.items() if faults} == {}


# ---- what can be asked of a run


def ask(page: Page, action: str, button: str) -> None:
    """Ask as a person does: open the action, read what it does, press the button."""
    page.locator(f"#act-{action} summary").click()
    page.get_by_role("button", name=button, exact=True).click()


def audited(runs: Scenario, event: str) -> list[tuple[str, str, str, str]]:
    """Who asked for it, and of what, by Airflow's audit log."""
    entries = runs.airflow.api("GET", f"/eventLogs?event={event}")["event_logs"]
    return [(entry["owner"], entry["dag_id"], entry["run_id"], entry["task_id"]) for entry in entries]


def test_a_run_is_stopped_from_its_page(somebody: Visitor, runs: Scenario) -> None:
    job = runs.job(made.LABELS)
    page = somebody.look(runs.page(made.LABELS))
    ask(page, "stop", "Stop the training")
    expect(page.locator("#note")).to_contain_text(f"Stopping {job}")
    sagemaker = runs.sagemaker.client("sagemaker")
    until(lambda: sagemaker.describe_training_job(TrainingJobName=job)["TrainingJobStatus"] == "Stopped", "its end")
    assert runs.airflow.wait(made.LABELS, runs.runs[made.LABELS], made.PATIENCE_SECONDS) == "failed"
    expect(page.locator("header .chip")).to_have_text(re.compile("Stopped|Failed"))
    expect(page.locator("#act-stop")).to_have_count(0)
    assert audited(runs, "airflow_spot.stop") == [("admin", made.LABELS, runs.runs[made.LABELS], made.TASK)]


def test_a_run_goes_to_on_demand_from_its_page(somebody: Visitor, runs: Scenario) -> None:
    job = runs.job(made.FRAUD)
    page = somebody.look(runs.page(made.FRAUD))
    ask(page, "on-demand", "Go to on-demand")
    expect(page.locator("#note")).to_contain_text(f"Stopping {job}")
    expect(page.locator("table tbody")).to_contain_text("ml.c5.2xlarge on-demand")
    runs.release(made.FRAUD)
    assert runs.airflow.wait(made.FRAUD, runs.runs[made.FRAUD], made.PATIENCE_SECONDS) == "success"
    expect(page.locator("header .chip")).to_have_text("Completed")
    sagemaker = runs.sagemaker.client("sagemaker")
    found = sagemaker.list_training_jobs(NameContains="fraud-scores")["TrainingJobSummaries"]
    jobs = [sagemaker.describe_training_job(TrainingJobName=one["TrainingJobName"]) for one in found]
    spot = sorted((one["EnableManagedSpotTraining"], one["TrainingJobStatus"]) for one in jobs)
    assert spot == [(False, "Completed"), (True, "Stopped")]
    # From the checkpoint, and not anew.
    restored = [one for one in runs.sagemaker.audit if one["event"] == "checkpoint" and one["action"] == "restore"]
    assert any(one["job"] != job and one["job"].startswith("fraud-scores") for one in restored)
    assert audited(runs, "airflow_spot.on-demand") == [("admin", made.FRAUD, runs.runs[made.FRAUD], made.TASK)]


# ---- secrets


def metadata(runs: Scenario) -> Any:
    """Airflow's own database."""
    return sqlite3.connect(runs.airflow.home / "airflow.db")


def fetched(somebody: Visitor, runs: Scenario) -> dict[str, str]:
    """Every page there is, what changes of each, and the CSV."""
    addresses = [*everything(runs).values(), *(runs.page(made.SWEEP, index) for index in range(made.MEMBERS))]
    addresses += [address.replace("/airflow-spot/run", "/airflow-spot/fragment/run") for address in addresses]
    addresses += [f"{runs.fleet_page()}fleet.csv", f"{runs.fleet_page()}fragment/fleet"]
    return {address: somebody.context.request.get(address).text() for address in addresses}


def logs(runs: Scenario) -> dict[str, str]:
    """What tasks, triggerer, API server and all others have logged."""
    files = [*(runs.airflow.home / "logs").rglob("*.log*"), runs.airflow.log_path]
    return {str(file): file.read_text(errors="replace") for file in files if file.is_file()}


def test_no_secret_is_seen(somebody: Visitor, runs: Scenario) -> None:
    """The scripts print what is in their hyperparameters and environment, and one fails with it."""
    printed = "\n".join(output(runs))
    assert runs.secrets["hyperparameters"] in printed and runs.secrets["environment"] in printed
    written = logs(runs)
    assert any("triggerer" in text for text in written.values()) and len(written) > made.MEMBERS
    with metadata(runs) as database:
        rows = database.execute("select dag_id, task_id, map_index, key, value from xcom").fetchall()
    assert {"airflow_spot", "airflow_spot_timeline", "return_value"} <= {row[3] for row in rows}
    pages = fetched(somebody, runs)
    for where, secret in runs.secrets.items():
        assert [name for name, text in pages.items() if secret in text] == [], where
        assert [row[:4] for row in rows if secret in _text(row[4])] == [], where
        assert [name for name, text in written.items() if secret in text] == [], where
    # What they printed was told, without the values.
    assert any("loss is nan at step 18: token=***" in text for text in written.values())


def output(runs: Scenario) -> Iterator[str]:
    """What the training scripts have printed."""
    client = runs.sagemaker.client("logs")
    group = "/aws/sagemaker/TrainingJobs"
    for stream in client.describe_log_streams(logGroupName=group)["logStreams"]:
        name = stream["logStreamName"]
        for event in client.get_log_events(logGroupName=group, logStreamName=name, startFromHead=True)["events"]:
            yield str(event["message"])


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
