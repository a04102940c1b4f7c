"""The page of a run: what it says of each state, and that it holds whatever the ledger does."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_spot.render.run import run_fragment, run_page
from airflow_spot.render.values import Actions, Viewed, Where
from tests.render import examples, strategies
from tests.render.checks import check
from tests.render.gallery import pages

WHERE = Where("/airflow-spot")
NOW = examples.T0 + 40_000.0


def shown(made: Any, state: str = "deferred", now: float = NOW, **more: Any) -> str:
    return run_fragment([examples.viewed(made, state, **more)], WHERE, Actions(), now)


@pytest.mark.parametrize("name", sorted(pages()))
def test_every_page_of_the_gallery_is_sound(name: str) -> None:
    page = pages()[name]()
    document = check(page)
    assert len(page) < 300_000
    assert [link["href"] for link in document.all("link")] != []
    assert all(str(script["src"]).startswith("./static/spot.js") for script in document.all("script"))


def test_a_run_tells_its_figures() -> None:
    text = check(shown(examples.interrupted(), "success")).text
    for words in ("Completed", "Took 8 h 37 min 2 attempts", "Interruptions 2", "Trained 6 h 33 min", "Cost $7.11"):
        assert words in text


def test_the_story_is_in_the_order_of_time_and_names_what_was_lost() -> None:
    fragment = shown(examples.interrupted(), "success")
    story = fragment[fragment.index('<ol class="story">') :]
    heads = re.findall(r"<b>(.*?)</b>", story)
    assert heads == [
        "Attempt 1",
        "Interruption 1 after 2 h 36 min of training",
        "Wait",
        "Interruption 2 after 2 h 13 min of training",
        "Wait",
        "Attempt 1 ended",
        "Move to ml.g5.12xlarge spot",
        "Attempt 2",
        "Attempt 2 ended",
    ]
    assert "the checkpoint of step 900,000 stays; 6 min 40 s of it was lost and is trained again" in story
    assert "training again after 25 min" in story
    assert "no other instance came" in story


def test_the_reason_of_a_failure_comes_first() -> None:
    fragment = shown(examples.failed(), "failed")
    notice = fragment.index('<p class="notice bad"><b>Failed:</b> attempt 1: script error, exit code 1.')
    assert notice < fragment.index('<div class="tiles">')
    assert "could not convert string to float: &#39;n/a&#39;" in fragment


def test_a_live_run_has_now_deadline_and_forecast_and_asks_again() -> None:
    made = examples.live()
    fragment = shown(made, now=made["t0"] + made["updated"])
    assert 'data-every="5"' in fragment
    for words in ("now 19:16", "deadline 05:04", "forecast 02:37", "Waiting for capacity · 18 min", "probe 1 · ml.g5"):
        assert words in fragment
    assert "data-every" not in shown(made, "failed")
    assert "data-every" not in run_fragment([examples.viewed(made)], Where("", live=False), Actions(), NOW)


def test_a_live_run_goes_on_with_the_clock() -> None:
    made = examples.running()
    sooner, later = (shown(made, now=made["t0"] + seconds) for seconds in (5_000, 9_000))
    assert "Training · 1 h 16 min" in sooner
    assert "Training · 2 h 23 min" in later
    # The ledger was written after 4,420 seconds.
    assert "Trained 1 h 20 min" in check(sooner).text
    assert "Trained 2 h 27 min" in check(later).text
    waits = examples.waiting()
    assert "Waited 2 h" in check(shown(waits, now=waits["t0"] + 7_200)).text


def test_where_airflow_says_that_it_is_over_nothing_goes_on() -> None:
    fragment = shown(examples.running(), "failed", now=NOW)
    assert "Airflow&#39;s task is over: failed." in fragment
    assert "This is what was known of the run at 28 Nov, 14:17 UTC." in fragment
    assert "now " not in check(fragment).text


@pytest.mark.parametrize("make", [examples.failed, examples.interrupted])
@pytest.mark.parametrize(("state", "asks"), [("up_for_retry", True), ("running", True), ("failed", False), ("", False)])
def test_a_ledger_that_is_over_may_be_followed_by_a_retrys(make: Any, state: str, asks: bool) -> None:
    """Whoever looks on sees the retry without loading the page again."""
    assert ("data-every" in shown(make(), state)) is asks
    others = [examples.viewed(make(), state), examples.viewed(make(), "success")]
    assert ("data-every" in run_fragment(others, WHERE, Actions(), NOW)) is asks


def test_an_earlier_generation_is_folded_with_all_that_it_was() -> None:
    document = check(shown(examples.cleared(), "success"))
    assert [one["id"] for one in document.all("details")] == ["generation-1"]
    assert "Timeline of generation 2" in document.text
    assert "Generation 1 1 attempt · completed · trained 3 h 33 min" in document.text


def test_an_attempt_that_only_a_list_told_of_is_shown() -> None:
    made = copy.deepcopy(examples.cleared())
    old = made["attempts"][0]
    old.update(
        {"type": "", "count": 0, "outcome": None, "label": "in progress", "starts": [], "ticks": [], "again": []}
    )
    document = check(shown(made, "success"))
    assert "Generation 1 1 attempt · completed" in document.text


def test_decisions_are_told_with_their_generation() -> None:
    made = examples.cleared()
    first, second = (each["created"] for each in made["attempts"])
    ended = made["attempts"][0]["ended"] or 0.0
    made["decisions"] = [
        [first, "attempt 1", "the first"],
        [ended + 5, "failed", "late in the first"],
        [second - 20, "attempt 1", "the second"],
        [second + 9, "pause", "in the second"],
    ]
    newest, _, older = shown(made, "success").partition('<details class="section"')
    assert [why for why in ("the first", "late in", "the second", "in the second") if why in newest] == [
        "the second",
        "in the second",
    ]
    assert all(why in older for why in ("the first", "late in the first"))


def test_a_run_that_has_no_job_yet_has_its_reason_and_no_empty_table() -> None:
    made = examples.timeline([], "pausing", 0.0, reason="the quota for ml.m5.xlarge spot is used up; again in 13 s")
    made["decisions"] = [[0.0, "attempt 1 refused", "ResourceLimitExceeded"], [0.1, "pause", "the quota is used up"]]
    document = check(shown(made))
    assert "Waiting: the quota for ml.m5.xlarge spot is used up" in document.text
    assert "Attempt 1 refused : ResourceLimitExceeded" in document.text
    assert document.all("table") == []


def test_a_wait_for_capacity_is_said_once() -> None:
    made = examples.waiting()
    made["reason"] = "capacity"
    text = check(shown(made)).text
    assert "Waiting for capacity" in text
    assert "Waiting:" not in text


def test_many_attempts_fold() -> None:
    document = check(shown(examples.many(), "success"))
    ids = [one["id"] for one in document.all("details")]
    assert ids == ["fold-1", "older-1", "earlier-1"]
    assert "20 earlier attempts, 340 interruptions" in document.text
    assert "17 interruptions of attempt 30" in document.text


def test_tries_are_told_where_there_are_several() -> None:
    assert "try 2" in shown(examples.many(), "success")
    assert "· try" not in shown(examples.interrupted(), "success")


def test_mapped_tasks_have_a_lane_each_and_lead_to_their_pages() -> None:
    views = examples.mapped()
    document = check(run_fragment(views, WHERE, Actions(), NOW))
    dag, *links = [str(link["href"]) for link in document.all("a")]
    assert dag == "/airflow-spot/?dag=nightly_ranking"
    run = "scheduled__2026-11-28T13%3A00%3A00%2B00%3A00"
    assert links == [f"/airflow-spot/run/nightly_ranking/{run}/sweep/{index}" for index in range(20)]
    assert "Completed 16 of 20 1 failed" in document.text
    assert "known of 17 of 20" in document.text


def test_different_currencies_are_never_added() -> None:
    views = examples.mapped(3)
    for index, view in enumerate(views):
        assert view.timeline is not None
        currency = "USD" if index else "EUR"
        view.timeline["totals"].update(cost={"amount": "10.0000", "currency": currency})
    text = check(run_fragment(views, WHERE, Actions(), NOW)).text
    assert "Cost 10.00 EUR + $20.00" in text


@pytest.mark.parametrize("count", [0, 1])
def test_nothing_says_what_the_tab_is_for_and_how_to_start(count: int) -> None:
    views = [examples.viewed(None, "running")] * count
    document = check(run_page(views, WHERE, Actions(), NOW))
    assert "This tab shows the spot training of a task" in document.text
    assert "SageMakerSpotTrainingOperator" in document.text


def test_a_problem_is_shown() -> None:
    text = check(
        run_page([examples.viewed(None, problem="the XCom backend answered AccessDenied.")], WHERE, Actions(), NOW)
    ).text
    assert "The run's record cannot be shown. The XCom backend answered AccessDenied." in text


def test_a_timeline_that_cannot_be_read_is_told_and_not_raised() -> None:
    odd: Any = {"v": 1, "dag_id": "x"}
    assert "This timeline cannot be read: key is missing." in check(shown(odd)).text
    both = [examples.viewed(odd), examples.viewed(examples.running(), task_id="other")]
    assert "This timeline cannot be read" in check(run_fragment(both, WHERE, Actions(), NOW)).text


# Actions.


def test_actions_are_there_for_who_may_and_while_it_runs() -> None:
    live = [examples.viewed(examples.running())]
    document = check(run_fragment(live, WHERE, Actions(allowed=True), NOW))
    run = "nightly_ranking/scheduled__2026-11-28T13%3A00%3A00%2B00%3A00/fit/-1"
    assert [form["action"] for form in document.all("form")] == [
        f"/airflow-spot/act/run/{run}/on-demand",
        f"/airflow-spot/act/run/{run}/stop",
    ]
    assert "<form" not in run_fragment(live, WHERE, Actions(), NOW)
    over = [examples.viewed(examples.interrupted(), "success")]
    assert "<form" not in run_fragment(over, WHERE, Actions(allowed=True), NOW)


def test_without_aws_there_are_commands_instead_of_buttons() -> None:
    commands = (("Stop", "airflow-spot stop --run-key <key>"),)
    fragment = run_fragment([examples.viewed(examples.running())], WHERE, Actions(True, commands), NOW)
    assert "<code>airflow-spot stop --run-key &lt;key&gt;</code>" in fragment
    assert "<form" not in fragment


def test_one_that_is_on_demand_is_not_sent_there() -> None:
    made = examples.running()
    made["attempts"][-1]["spot"] = False
    fragment = run_fragment([examples.viewed(made)], WHERE, Actions(allowed=True), NOW)
    assert "/on-demand" not in fragment
    assert "/stop" in fragment


# Text of others.

HOSTILE = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>\u202e"


def hostile(value: Any) -> Any:
    """A ledger with such a text wherever there is one."""
    if isinstance(value, str):
        return HOSTILE
    if isinstance(value, list):
        return [hostile(item) for item in value]
    return {key: hostile(item) for key, item in value.items()} if isinstance(value, dict) else value


@pytest.mark.parametrize("state", ["failed", "waiting", "pausing", "completed", "left"])
@pytest.mark.parametrize("make", [examples.interrupted, examples.live, examples.cleared])
def test_every_text_is_escaped(make: Any, state: str) -> None:
    made = hostile(make())
    made["state"] = state
    for attempt in made["attempts"]:
        attempt["cost"] = None
    made["totals"] = {}
    ids = {"dag_id": HOSTILE, "run_id": HOSTILE, "task_id": HOSTILE}
    view = Viewed(**ids, state=HOSTILE, timeline=made, problem=HOSTILE, links=((HOSTILE, f"https://x/{HOSTILE}"),))
    actions = Actions(allowed=True, commands=((HOSTILE, HOSTILE),))
    for views in ([view], [view, view]):
        page = run_page(views, WHERE, actions, NOW)
        check(page)
        assert "<script>alert" not in page
        assert "<img" not in page
        assert "\u202e" not in page


def test_a_link_that_is_no_web_page_is_left_out() -> None:
    urls = (
        "javascript:alert(1)",
        "data:text/html,x",
        "//evil.example/",
        " JavaScript:x",
        "https://fine.example/",
        "/x",
    )
    view = Viewed("d", "r", "t", timeline=examples.running(), links=tuple((url, url) for url in urls))
    document = check(run_fragment([view], WHERE, Actions(), NOW))
    links = {str(link["href"]) for link in document.all("a") if link.get("target") == "_blank"}
    assert links == {"https://fine.example/", "/x"}


_PIECES = (
    "https",
    "http",
    "console",
    "aws",
    "amazon",
    "://",
    ":",
    "/",
    ".",
    "[",
    "@",
    "javascript:alert(1)//",
    "train-1",
)


@settings(deadline=None)
@given(st.lists(st.lists(st.sampled_from(_PIECES), min_size=1, max_size=3).map("".join), min_size=2, max_size=4))
def test_a_job_that_is_called_like_a_part_of_an_address_leads_to_no_other_place(names: list[str]) -> None:
    made = examples.many(len(names), 2)
    for line, name in zip(made["attempts"], names, strict=True):
        line["job"] = name
    job = ("Job", f"https://console.aws.amazon.com/sagemaker/home?region=x#/jobs/{names[-1]}")
    view = Viewed("dag", "run", "task", state="success", timeline=made, links=(job,))
    document = check(run_page([view], WHERE, Actions(), NOW))
    outside = [str(link["href"]) for link in document.all("a") if link.get("target") == "_blank"]
    assert outside
    assert all(url.startswith("https://console.aws.amazon.com/") for url in outside), outside


# Whatever the ledger holds.


@settings(deadline=None)
@given(strategies.timelines, st.sampled_from(["", "deferred", "success", "failed"]), st.floats(-1e9, 1e11))
def test_any_timeline_renders(made: dict[str, Any], state: str, now: float) -> None:
    view = Viewed("dag", "run", "task", state=state, timeline=made)  # type: ignore[arg-type]
    check(run_page([view], WHERE, Actions(allowed=True), now)).text.encode()
    check(run_fragment([view, view], WHERE, Actions(), now)).text.encode()
