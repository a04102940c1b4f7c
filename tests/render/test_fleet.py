"""The fleet: what is summed up, what the filters leave, and that text of others stays text."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_spot.render import fleet_charts
from airflow_spot.render.fleet import FleetView, fleet, fleet_csv, fleet_fragment, fleet_page
from airflow_spot.render.fleet_sums import by_day, by_hour
from airflow_spot.render.reading import read_summary
from airflow_spot.render.values import FleetFilter, FleetRow, Where
from tests.render import examples, strategies
from tests.render.checks import Document, check

NOW = examples.T0 + 40_000.0
WHERE = Where("/af/airflow-spot")
DAY = 86_400


def row(dag: str = "ranking", state: str = "success", **told: Any) -> FleetRow:
    """A run that completed an hour ago, unless something else is told."""
    made: Any = {
        **(examples.fleet_rows(1, NOW, live=0)[0].summary or {}),
        "state": "completed", "began": NOW - 10_800, "ended": NOW - 3_600, "updated": NOW - 3_600, "since": NOW - 3_600,
        "type": "ml.g5.xlarge", "attempts": 1, "interruptions": 0, "interrupted": [], "waited": 600,
        "trained": 6_600, "billed": 2_640, "twice": 0,
        "cost": examples.dollars(1.0), "on_demand_cost": examples.dollars(4.0), "saved": examples.dollars(3.0),
        **told,
    }  # fmt: skip
    return FleetRow(dag, f"run_{made['began']}", "fit", -1, state, NOW, made, owners=("ml",), tags=("gpu",))


def view(*rows: FleetRow, **wanted: Any) -> FleetView:
    return fleet(rows, FleetFilter(**wanted), NOW)


def shown(*rows: FleetRow, **wanted: Any) -> Document:
    return check(fleet_fragment(view(*rows, **wanted), WHERE))


def live(**told: Any) -> FleetRow:
    money = {"cost": None, "on_demand_cost": None, "saved": None, "billed": None}
    return row(
        state="deferred", **{"state_": 0, **money, "ended": None, "updated": NOW - 60, "since": NOW - 1_200, **told}
    )


def waiting(**told: Any) -> FleetRow:
    one = live(**told)
    assert one.summary is not None
    return replace(one, summary={**one.summary, "state": "waiting"})  # type: ignore[typeddict-item]


def test_sums() -> None:
    text = shown(row(), row(began=NOW - 20_000), row("other", interruptions=2)).text
    for words in (
        "Saved $9.00 75.0 % of $12.00",
        "Spent $3.00",
        "Interruptions 2 36.4 in 100 h",
        "Runs 3 100.0 % completed",
    ):
        assert words in text


def test_of_a_trifle_seconds_tell_what_was_saved() -> None:
    """Money has four digits: the half of $0.0002 is anything from a third to two thirds of it."""
    money = {"cost": "0.0001", "on_demand_cost": "0.0002", "saved": "0.0001"}
    one = row(trained=7, billed=3, twice=0, **{key: {"amount": each, "currency": "USD"} for key, each in money.items()})
    made = view(one)
    assert round(made.facts[0].savings or 0, 1) == round(made.sums.savings or 0, 1) == 57.1


def test_interruptions_in_little_training_have_no_rate() -> None:
    assert "Interruptions 2 in less than an hour of training" in shown(row(trained=60, interruptions=2)).text
    assert "Interruptions 0 none" in shown(row(trained=60)).text


def test_a_margin_stands_where_there_is_a_deadline() -> None:
    assert " margin " not in shown(waiting()).text
    assert " margin " in shown(waiting(deadline=NOW + 7_200, forecast=[NOW + 60] * 3)).text


@pytest.mark.parametrize(
    ("cost", "axis"),
    [("0.0115", ["$0", "$0.0050", "$0.0100", "$0.0150"]), ("10", ["$0", "$2.50", "$5", "$7.50", "$10"])],
)
def test_the_axis_of_days_tells_amounts(cost: str, axis: list[str]) -> None:
    bars = by_day(view(row(cost={"amount": cost, "currency": "USD"}, saved=None)).facts, "USD", 7, NOW)
    told = re.findall(r">(\$[^<]*)</text>", fleet_charts.by_day(bars, "USD"))
    assert told == axis


def test_money_that_is_not_known_is_told() -> None:
    unknown = row(cost=None, on_demand_cost=None, saved=None)
    assert "Spent $2.00 cost of 2 of 5 runs known" in shown(row(), row(), unknown, unknown, unknown).text
    assert "no price is known" in shown(unknown).text
    assert "no price is known" not in shown(row(), unknown).text
    # A live run has not been billed: that it has no cost is no gap.
    assert "runs known" not in shown(row(), waiting()).text


def test_different_currencies_are_never_added() -> None:
    euros = {name: {"amount": "10.0000", "currency": "EUR"} for name in ("cost", "on_demand_cost", "saved")}
    document = shown(row(), row(**euros))
    assert "Spent 10.00 EUR + $1.00" in document.text
    for words in ("Spent and saved in EUR, by day", "Spent and saved in USD, by day"):
        assert words in document.text


def test_what_runs_now_comes_first_and_what_is_at_risk_before_it() -> None:
    fine = waiting(deadline=NOW + 7_200, forecast=[NOW + 100, NOW + 200, NOW + 3_600])
    late = replace(waiting(deadline=NOW + 7_200, forecast=[NOW, NOW + 7_000, NOW + 9_000]), dag_id="late")
    text = shown(row(), fine, late).text
    assert "Now 2 2 waiting · 1 at risk" in text
    assert text.index("late / fit") < text.index("ranking / fit")
    assert "Waiting for capacity · 20 min at risk" in text
    assert "−30 min" in text  # noqa: RUF001 - a minus
    assert "1 h" in text


def test_a_run_whose_task_is_over_in_airflow_does_not_run() -> None:
    ended = replace(waiting(), state="failed")
    found = view(ended)
    assert [(fact.state, fact.live) for fact in found.facts] == [("failed", False)]


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        ({}, 4),
        ({"days": 7}, 3),
        ({"days": 0}, 4),
        ({"dag": "other"}, 1),
        ({"owner": "ml"}, 4),
        ({"owner": "nobody"}, 0),
        ({"tag": "gpu", "type": "ml.p3.2xlarge"}, 1),
        ({"state": "live"}, 1),
        ({"state": "waiting"}, 1),
        ({"state": "at-risk"}, 0),
    ],
)
def test_filters(wanted: dict[str, Any], count: int) -> None:
    rows = [
        row(),
        row("other", ended=NOW - 8 * DAY, updated=NOW - 8 * DAY, began=NOW - 9 * DAY),
        row(type="ml.p3.2xlarge"),
        waiting(began=NOW - 40 * DAY),
    ]
    found = view(*rows, **wanted)
    assert len(found.facts) == count
    # What can be chosen is what there is, whatever is chosen.
    assert found.choices["dag"] == ["other", "ranking"]
    check(fleet_page(found, WHERE))


def test_filters_are_a_form_that_keeps_the_rest() -> None:
    document = shown(row(), days=90, sort="-runs.cost", dag="ranking")
    form = next(each for each in document.all("form"))
    assert (form["method"], form["action"]) == ("get", "/af/airflow-spot/")
    hidden = {each["name"]: each["value"] for each in document.all("input")}
    assert hidden == {"days": "90", "sort": "-runs.cost"}
    links = [str(each["href"]) for each in document.all("a")]
    csv_link = next(link for link in links if "fleet.csv" in link)
    assert parse_qs(urlsplit(csv_link).query)["dag"] == ["ranking"]


def test_tables_are_sorted_by_links() -> None:
    rows = [row("a", trained=7_200, began=NOW - 11_000), row("b", trained=3_600), row("c", trained=10_800)]

    def order(**wanted: Any) -> list[str]:
        text = fleet_fragment(view(*rows, **wanted), WHERE)
        table = text[text.index('<section id="dags">') :]
        return [name for name in "abc" if f">{name}</a>" in table] and sorted(
            "abc", key=lambda name: table.index(f">{name}</a>")
        )

    assert order() == ["c", "a", "b"]
    assert order(sort="dags.trained") == ["b", "a", "c"]
    assert order(sort="dags.name") == ["a", "b", "c"]
    assert order(sort="-dags.name") == ["c", "b", "a"]
    assert order(sort="dags.<script>") == ["c", "a", "b"]
    heads = [each for each in shown(*rows, sort="dags.trained").all("th") if each.get("aria-sort")]
    assert [each["aria-sort"] for each in heads] == ["descending", "ascending", "descending"]


def test_by_day_is_when_runs_ended() -> None:
    found = view(row(), row(), row(began=NOW - 4 * DAY, ended=NOW - 3 * DAY, updated=NOW - 3 * DAY), days=7)
    bars = by_day(found.facts, "USD", 7, NOW)
    assert [(bar.runs, str(bar.cost)) for bar in bars] == [
        (0, "0"), (0, "0"), (0, "0"), (1, "1.0000"), (0, "0"), (2, "2.0000"), (0, "0"),
    ]  # fmt: skip
    weeks = by_day(found.facts, "USD", 365, NOW)
    assert {bar.days for bar in weeks} == {7}
    assert sum(bar.runs for bar in weeks) == 3


def test_by_hour_counts_what_was_taken_where_it_was() -> None:
    at = (int(NOW) // DAY) * DAY - DAY
    one = row(
        began=at, ended=at + 7_200, trained=7_200, interruptions=2,
        interrupted=[[at + 10, "ml.g5.xlarge"], [at + 3_700, "ml.p3.2xlarge"]],
    )  # fmt: skip
    hours = by_hour(view(one).facts)
    assert [(cell.taken, cell.trained) for cell in hours["ml.g5.xlarge"][:3]] == [(1, 3600.0), (0, 3600.0), (0, 0.0)]
    assert [(cell.taken, cell.rate) for cell in hours["ml.p3.2xlarge"][:3]] == [(0, None), (1, None), (0, None)]


def test_days_of_training_are_spread_over_all_hours() -> None:
    hours = by_hour(view(row(began=NOW - 3 * DAY, ended=NOW, updated=NOW, trained=3 * DAY)).facts)
    assert {round(cell.trained) for cell in hours["ml.g5.xlarge"]} == {10_800}


def test_rows_that_cannot_be_read_are_told() -> None:
    rows = [
        row(),
        replace(row("broken"), summary=None, problem="the XCom backend answered AccessDenied"),
        replace(row("odd"), summary={"v": 1}),  # type: ignore[typeddict-item]
    ]
    text = shown(*rows).text
    assert "broken / fit" in text
    assert "AccessDenied" in text
    assert "odd / fit" in text
    assert "Runs 1" in text


def test_an_empty_fleet_says_how_to_start() -> None:
    document = check(fleet_page(view(), WHERE))
    assert "There is none yet." in document.text
    assert "SageMakerSpotTrainingOperator" in document.text
    assert 'data-every="10"' in fleet_fragment(view(), WHERE)


def test_where_the_filters_leave_nothing_it_says_so() -> None:
    assert "No run is as the filters ask for." in shown(row(), dag="none").text


HOSTILE = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>"


def test_every_text_is_escaped() -> None:
    one = waiting(type=HOSTILE, interrupted=[[NOW - 5_000, HOSTILE]], interruptions=1, key=HOSTILE, job=HOSTILE)
    one = replace(one, dag_id=HOSTILE, run_id=HOSTILE, task_id=HOSTILE, owners=(HOSTILE,), tags=(HOSTILE,))
    assert one.summary is not None
    strange = replace(one, summary={**one.summary, "state": HOSTILE})  # type: ignore[typeddict-item]
    unread = replace(one, summary=None, problem=HOSTILE)
    wanted = FleetFilter(owner=HOSTILE, sort=HOSTILE)
    for rows in ([one, strange, unread], [unread]):
        page = fleet_page(fleet(rows, wanted, NOW), WHERE)
        check(page)
        assert "<script>alert" not in page
        assert "<img" not in page


def test_csv_has_every_run_and_no_formula() -> None:
    bad = replace(row(), dag_id="=HYPERLINK(1)", run_id="+1", task_id="-2", owners=("@SUM(A1)",), tags=("a", "b"))
    unread = replace(row("broken"), summary=None, problem="=1+1")
    negative = row(saved=examples.dollars(-1.0))
    rows = list(csv.DictReader(io.StringIO(fleet_csv(view(row(), bad, negative, unread)))))
    assert len(rows) == 4
    by_dag = {one["dag_id"]: one for one in rows}
    defused = by_dag["'=HYPERLINK(1)"]
    assert (defused["run_id"], defused["task_id"], defused["owners"]) == ("'+1", "'-2", "'@SUM(A1)")
    assert by_dag["broken"]["problem"] == "'=1+1"
    assert {one["saved"] for one in rows} == {"3.0000", "-1.0000", ""}
    assert (rows[0]["cost"], rows[0]["currency"], rows[0]["interruptions"]) == ("1.0000", "USD", "0")
    assert rows[0]["ended"].endswith("Z")


def test_a_large_fleet_is_a_small_page() -> None:
    found = fleet(examples.fleet_rows(3_000, NOW), FleetFilter(days=90), NOW)
    assert len(fleet_page(found, WHERE)) < 300_000


@settings(deadline=None)
@given(st.lists(strategies.summaries, max_size=4), st.sampled_from(["deferred", "success", ""]), st.floats(0, 3e9))
def test_any_summaries_render(summaries: list[Any], state: str, now: float) -> None:
    read: Any = [read_summary(one) for one in summaries]
    rows = [FleetRow("dag", "run", "task", -1, state, 0.0, one) for one in read]
    found = fleet(rows, FleetFilter(days=0), now)
    check(fleet_page(found, WHERE)).text.encode()
    fleet_csv(found).encode()
    assert len(list(csv.reader(io.StringIO(fleet_csv(found))))) == 1 + len(rows)
