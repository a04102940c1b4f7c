"""Looks at a checkpoint folder: what counts, what is new, what an interruption lost, and when nothing comes of it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_spot.checkpoint import PROGRESS_NAME, Checkpointer
from airflow_spot.core.events import of_finding
from airflow_spot.core.findings import KEPT, Finding, NothingYet, NotSeen, StartEnd, Stuck, pack, unpack
from airflow_spot.core.folder_look import HALF_WRITTEN, LOOK_LIMIT, FolderLook, is_checkpoint, mark_of, step_of
from airflow_spot.core.log_messages import lines
from airflow_spot.core.progress import Progress, ProgressRules, WatchedStarts, explain, needs_look, next_look, take_in
from airflow_spot.core.run_state import WatchedFolder
from airflow_spot.core.starts import Start
from tests.core.cases import FOLDER, NOW, later

RULES = ProgressRules(warning_after=600.0, max_starts=3)


def start(begin: float, end: float | None = None) -> Start:
    """A start that trained from one minute to another."""
    moments = [None if at is None else later(minutes=at) for at in (begin, end)]
    return Start(moments[0], moments[0], moments[0], lost=moments[1], ended=moments[1])


WAITS = Start(NOW)


def job(*starts: Start, **more: Any) -> WatchedStarts:
    return WatchedStarts(**{"number": 1, "uri": FOLDER, "starts": starts, **more})


def item(key: str, minute: float, *, size: int = 10, etag: str = '"e"') -> dict[str, Any]:
    return {"Key": f"c/{key}", "Size": size, "ETag": etag, "LastModified": later(minutes=minute)}


def seen(at: float, *items: dict[str, Any]) -> FolderLook:
    return FolderLook.of(items, later(minutes=at))


def kinds(found: tuple[Finding, ...]) -> list[str]:
    return [type(each).__name__ for each in found]


@pytest.mark.parametrize(
    ("name", "size", "counts"),
    [
        ("step-1.pt", 1, True),
        ("step-1.pt", 0, False),
        ("rank0/.metadata", 5, True),
        ("airflow-spot-run.json", 100, False),
        (PROGRESS_NAME, 100, False),
        ("step-1.pt.sagemaker-uploading", 5, False),
        ("step-1.pt.sagemaker-uploaded", 5, False),
        ("data.sagemaker-ignore", 5, False),
        ("step-1.pt.tmp", 5, False),
        ("step-1.part", 5, False),
        ("folder/", 5, False),
        ("runs/Jan02_host/events.out.tfevents.1700000000.host.1.0", 88, False),
        ("lightning_logs/version_3/hparams.yaml", 3, False),
        ("metrics.csv", 5, True),
    ],
)
def test_what_may_be_part_of_a_checkpoint(name: str, size: int, counts: bool) -> None:
    assert is_checkpoint(f"run/g0001/{name}", size) is counts
    assert bool(seen(0, item(name, 0, size=size)).objects) is counts


def test_new_is_another_key_size_or_etag() -> None:
    marks = {mark_of(*of) for of in (("k", 1, "e"), ("l", 1, "e"), ("k", 2, "e"), ("k", 1, "f"))}
    assert len(marks) == 4
    assert mark_of("k", 1, "e") in marks


@pytest.mark.parametrize(
    "again", [item("other", 25), item("a", 25, size=11), item("a", 25, etag='"f"')], ids=["key", "size", "etag"]
)
def test_what_is_new_begins_the_count_again(again: dict[str, Any]) -> None:
    progress = replace(Progress(), barren=2, seen=(mark_of("c/a", 10, '"e"'),), longest=60.0)
    known, found = take_in(progress, RULES, job(start(20, 30), WAITS), seen(31, again))
    assert known.barren == 0
    assert kinds(found) == ["StartEnd"]


def test_the_same_again_written_later_is_nothing_new() -> None:
    """A script that cannot read what it wrote writes it again."""
    progress, found = take_in(Progress(), RULES, job(start(0, 30), WAITS), seen(31, item("a", 1)))
    for number, begin in enumerate((40, 80, 120), 1):
        starts = [start(0, 30), *(start(at, at + 30) for at in (40, 80, 120)[:number])]
        progress, found = take_in(progress, RULES, job(*starts, WAITS), seen(begin + 31, item("a", begin + 1)))
        assert progress.barren == number
    assert kinds(found) == ["StartEnd", "Stuck"]
    assert found[-1] == Stuck(3, RULES.warning_after)
    assert progress.is_stuck(RULES)


def test_a_small_file_of_the_first_seconds_ends_no_run_that_checkpoints_rarely() -> None:
    """Such as the script's arguments: the same in each start, and written at once."""
    progress, starts = Progress(), []
    for begin in (0, 20, 40, 60):
        starts.append(start(begin, begin + 9))
        progress, _ = take_in(progress, RULES, job(*starts, WAITS), seen(begin + 9.1, item("args.json", begin + 0.1)))
    assert progress.barren == 0


def test_a_start_has_more_than_the_longest_interval() -> None:
    """Another rung may be slower, and no two epochs take the same time."""
    progress = replace(Progress(), longest=1200.0)
    assert progress.counts_from(RULES) == pytest.approx(1320.0)
    assert Progress().counts_from(RULES) == RULES.warning_after


def test_a_start_on_demand_counts_for_nothing() -> None:
    progress, _ = take_in(Progress(), RULES, job(start(0, 60), WAITS, spot=False), seen(61))
    assert progress.barren == 0


def test_the_logs_of_tensorboard_are_no_checkpoints() -> None:
    """Each start has a file of its own, written all along: in the folder that Transformers' ``output_dir`` names."""
    progress, starts, files = Progress(lost=0.0), [], []
    for begin in (0, 40, 80):
        starts.append(start(begin, begin + 30))
        files.append(item(f"runs/{begin}/events.out.tfevents.{begin}.host.1.0", begin + 29))
        progress, _ = take_in(progress, RULES, job(*starts, WAITS), seen(begin + 31, *files))
    assert progress.is_stuck(RULES)
    assert progress.lost == 3 * 30 * 60


def test_three_starts_that_left_nothing() -> None:
    progress, told = Progress(lost=0.0), []
    starts: list[Start] = []
    for begin in (0, 40, 80):
        starts.append(start(begin, begin + 30))
        progress, found = take_in(progress, RULES, job(*starts, WAITS), seen(begin + 31))
        told += kinds(found)
    assert told == ["StartEnd", "StartEnd", "StartEnd", "Stuck"]
    assert progress.is_stuck(RULES)
    assert progress.lost == 3 * 30 * 60
    assert not progress.is_stuck(ProgressRules(600.0, None))


def test_several_starts_between_two_looks_are_judged_by_one() -> None:
    starts = (start(0, 30), start(40, 70), start(80, 110), WAITS)
    progress, found = take_in(Progress(lost=0.0), RULES, job(*starts), seen(111))
    assert progress.barren == 3
    assert kinds(found) == ["StartEnd"] * 3 + ["Stuck"]
    # The second wrote, and the third not: what the first two lost is not known any more.
    progress, found = take_in(Progress(lost=0.0), RULES, job(*starts), seen(111, item("a", 45)))
    assert progress.barren == 1
    assert [each.lost for each in found if isinstance(each, StartEnd)] == [None, 25 * 60, 30 * 60]
    assert progress.lost is None


@pytest.mark.parametrize(("minutes", "counts"), [(9, False), (10, False), (11, True)])
def test_where_no_interval_was_seen_a_start_counts_from_the_warning_on(minutes: float, counts: bool) -> None:
    progress, _ = take_in(Progress(), RULES, job(start(0, minutes), WAITS), seen(minutes + 1))
    assert progress.barren == int(counts)


@pytest.mark.parametrize(("minutes", "counts"), [(21, False), (23, True)])
def test_else_from_beyond_the_longest_interval_on(minutes: float, counts: bool) -> None:
    """From the begin to the first, 20 min, and between the others, 15 min; between two starts nothing is one."""
    wrote = [item("a", 20), item("b", 35), item("c", 45)]
    progress, _ = take_in(Progress(), RULES, job(start(0, 50), WAITS), seen(51, *wrote))
    assert progress.longest == 20 * 60
    progress, _ = take_in(progress, RULES, job(start(0, 50), start(90, 90 + minutes), WAITS), seen(140, *wrote))
    assert progress.barren == int(counts)


def test_a_short_start_neither_counts_nor_ends_a_row() -> None:
    progress = replace(Progress(), barren=2)
    progress, found = take_in(progress, RULES, job(start(0, 5), WAITS), seen(6))
    assert progress.barren == 2
    assert kinds(found) == ["StartEnd"]


def test_a_start_without_training_is_none() -> None:
    never = Start(NOW, NOW, None, lost=later(minutes=90), ended=later(minutes=90))
    assert not needs_look(Progress(), RULES, job(never, WAITS), later(minutes=91))


def test_how_old_the_newest_checkpoint_is_and_what_was_lost() -> None:
    wrote = [item("a", 10), item("b", 22)]
    _, (end,) = take_in(Progress(lost=0.0), RULES, job(start(0, 30), WAITS), seen(31, *wrote))
    assert isinstance(end, StartEnd)
    assert (end.start, end.trained, end.age, end.lost) == (1, 1800.0, 480.0, 480.0)
    # The next start wrote nothing: the checkpoint is older than it, and all of it is lost.
    known, _ = take_in(Progress(lost=0.0), RULES, job(start(0, 30), WAITS), seen(31, *wrote))
    known, (end,) = take_in(known, RULES, job(start(0, 30), start(40, 45), WAITS), seen(46, *wrote))
    assert isinstance(end, StartEnd)
    assert (end.start, end.age, end.lost) == (2, 23 * 60.0, 300.0)
    assert known.lost == 780.0


def test_what_was_there_before_the_run_is_no_checkpoint_of_it() -> None:
    """A seed, or a folder that is used as it is."""
    progress, _ = take_in(Progress(), RULES, job(start(0, 30), WAITS), seen(31, item("seed", -60)))
    assert progress.barren == 1


@pytest.mark.parametrize(
    ("look", "why"),
    [
        (FolderLook(later(minutes=31), problem="AccessDenied at ListObjectsV2"), "AccessDenied"),
        (FolderLook.of([item("a", 1)], later(minutes=31), more=True), f"more than {LOOK_LIMIT:,} objects"),
    ],
)
def test_not_seen_is_not_absent(look: FolderLook, why: str) -> None:
    progress = replace(Progress(lost=0.0), barren=2)
    progress, found = take_in(progress, RULES, job(start(0, 30), WAITS), look)
    assert (progress.barren, progress.lost) == (0, None)
    (line,) = found
    assert isinstance(line, NotSeen)
    assert why in line.problem
    # It is said once, however often it is tried.
    again = replace(look, at=later(minutes=71))
    assert take_in(progress, RULES, job(start(0, 30), start(40, 70), WAITS), again)[1] == ()


@pytest.mark.parametrize("end", HALF_WRITTEN)
def test_checkpoints_with_the_names_of_half_written_files_end_no_run(end: str) -> None:
    """A name proves neither that a start left something nor that it left nothing: one line says so."""
    progress, told, starts, files = Progress(lost=0.0), [], [], [item("args.json", 0.1)]
    for begin in (0, 40, 80, 120, 160):
        trains = job(*starts, start(begin))
        progress, found = take_in(progress, RULES, trains, seen(begin + 12, *files))
        told += found
        starts.append(start(begin, begin + 30))
        files.append(item(f"step-{begin}{end}", begin + 25))
        progress, found = take_in(progress, RULES, job(*starts, WAITS), seen(begin + 31, *files))
        told += found
    assert progress.barren == 0
    assert [each for each in told if isinstance(each, Stuck)] == []
    assert sum(isinstance(each, NotSeen) for each in told) <= len(starts)
    assert progress.lost is None


def test_one_that_trains_and_writes_them_is_not_warned_of() -> None:
    progress, found = take_in(Progress(), RULES, job(start(0)), seen(11, item("step-1.part", 9)))
    assert kinds(found) == ["NotSeen"]
    assert "half-written" in found[0].problem  # type: ignore[union-attr]
    assert not progress.warned


def test_what_was_half_written_before_a_start_says_nothing_of_it() -> None:
    """A leftover of a start that was cut off while it saved, or a seed's; and SageMaker's own, whenever written."""
    progress, starts = Progress(lost=0.0), []
    left = [item("step.pt.tmp", -5), item("step.pt.sagemaker-uploading", 130), item("new.tmp", 130, size=0)]
    for begin in (0, 40, 80):
        starts.append(start(begin, begin + 30))
        progress, _ = take_in(progress, RULES, job(*starts, WAITS), seen(begin + 31, *left))
    assert progress.is_stuck(RULES)
    assert progress.lost == 3 * 30 * 60


def test_where_nothing_is_to_be_looked_at_one_line_says_why() -> None:
    own = job(start(0), why_not="use_checkpoints=False")
    assert needs_look(Progress(), RULES, own, NOW)
    progress, found = take_in(Progress(), RULES, own, FolderLook(NOW, problem="use_checkpoints=False"))
    assert found == (NotSeen("use_checkpoints=False"),)
    assert not needs_look(progress, RULES, own, later(days=9))
    assert next_look(progress, RULES, own) is None


# ---- while it trains


def test_a_look_now_and_then_while_a_start_trains_and_one_when_there_should_be_a_checkpoint() -> None:
    rules = ProgressRules(warning_after=720.0, max_starts=3)
    trains, progress, due, told = job(start(0)), Progress(), [], []
    for _ in range(4):
        at = next_look(progress, rules, trains)
        assert at is not None
        assert not needs_look(progress, rules, trains, at - timedelta(seconds=1))
        assert needs_look(progress, rules, trains, at)
        progress, found = take_in(progress, rules, trains, FolderLook.of((), at))
        due.append(at)
        told.append(found)
    assert due == [later(minutes=each) for each in (5, 10, 12, 17)]
    assert told == [(), (), (NothingYet(720.0),), ()]
    on_demand = replace(trains, spot=False)
    assert next_look(Progress(), RULES, on_demand) is None


def test_one_that_has_written_is_not_warned_of() -> None:
    trains = job(start(0))
    progress, found = take_in(Progress(), RULES, trains, seen(10, item("a", 4)))
    assert found == ()
    # It resumes from there, and what the look had seen counts for the start whose end is looked at later.
    progress, (end,) = take_in(progress, RULES, job(start(0, 40), WAITS), seen(41, item("a", 4)))
    assert isinstance(end, StartEnd)
    assert end.lost == 36 * 60
    assert progress.barren == 0


def test_a_start_that_may_still_be_before_its_first_checkpoint_is_not_warned_of() -> None:
    progress, trains = replace(Progress(), longest=3600.0), job(start(0))
    while (due := next_look(progress, RULES, trains)) is not None and due < later(minutes=66):
        progress, found = take_in(progress, RULES, trains, FolderLook.of((), due))
        assert found == ()
    assert due == later(minutes=66)
    assert kinds(take_in(progress, RULES, trains, FolderLook.of((), due + timedelta(seconds=1)))[1]) == ["NothingYet"]


@pytest.mark.parametrize("looked", [1, 10])
def test_a_folder_that_cannot_be_seen_is_not_looked_at_now_and_then(looked: int) -> None:
    trains = job(start(0))
    denied = FolderLook(later(minutes=looked), problem="AccessDenied")
    progress, found = take_in(Progress(), RULES, trains, denied)
    assert found == (NotSeen("AccessDenied"),)
    assert next_look(progress, RULES, trains) == (later(minutes=10) if looked < 10 else None)


def test_what_the_last_start_of_a_success_wrote_is_looked_at_where_the_folder_was_seen_before() -> None:
    completed = job(start(0, 30), over=True, completed=True, ended=later(minutes=30))
    assert not needs_look(Progress(), RULES, completed, later(minutes=31))
    before, _ = take_in(Progress(lost=0.0), RULES, job(start(0)), seen(5, item("a", 4)))
    assert needs_look(before, RULES, completed, later(minutes=31))
    denied, _ = take_in(before, RULES, job(start(0)), FolderLook(later(minutes=10), problem="AccessDenied"))
    assert not needs_look(denied, RULES, completed, later(minutes=31))
    look = seen(31, item("a", 4), item("b", 25))
    assert look.new_since(before.seen) == ((later(minutes=25), None),)
    after, found = take_in(before, RULES, completed, look)
    assert (found, after.lost) == ((), 0.0)
    assert not needs_look(after, RULES, completed, later(days=1))


def test_a_healthy_run_whose_intervals_vary_a_little_is_not_warned_of() -> None:
    """It is looked at when its checkpoint is a tenth late, not at the very moment of the latest so far."""
    progress, files, starts, at = Progress(), [], [], 0
    for number, interval in enumerate((61, 62, 60, 63, 64)):
        begin, at = at, at + interval + 5
        due = next_look(progress, RULES, job(*starts, start(begin)))
        if due is not None and number and due < later(minutes=begin + interval):
            look = FolderLook.of(files, due)
            progress, found = take_in(progress, RULES, job(*starts, start(begin)), look)
            assert found == ()
        files.append(item(f"step-{number}", begin + interval))
        starts.append(start(begin, at))
        progress, found = take_in(progress, RULES, job(*starts, WAITS), seen(at, *files))
        assert kinds(found) == ["StartEnd"]


@pytest.mark.parametrize(
    ("max_run", "after"), [(86400, 3600.0), (7200, 1800.0), (3600, 900.0), (600, 600.0), (60, 600.0)]
)
def test_the_default_is_an_hour_or_a_quarter_of_max_run_and_ten_minutes_at_least(max_run: int, after: float) -> None:
    assert ProgressRules.of(None, 3, max_run) == ProgressRules(after, 3)
    assert ProgressRules.of(60, None, max_run) == ProgressRules(60, None)


# ---- the end of an attempt


def test_the_last_start_of_a_job_that_failed_is_lost_and_of_one_that_completed_not() -> None:
    over = job(start(0, 30), start(40, 70), over=True, ended=later(minutes=70))
    progress, found = take_in(Progress(lost=0.0), RULES, over, seen(71))
    assert kinds(found) == ["StartEnd", "StartEnd"]
    completed = replace(over, completed=True)
    progress, found = take_in(Progress(lost=0.0), RULES, completed, seen(71))
    assert kinds(found) == ["StartEnd"]
    assert progress.lost == 1800.0
    assert not needs_look(progress, RULES, completed, later(days=1))


def test_a_row_goes_on_over_attempts() -> None:
    progress = Progress(lost=0.0)
    for number in (1, 2, 3):
        begin = 100 * number
        over = job(start(begin, begin + 30), number=number, over=True)
        progress, found = take_in(progress, RULES, over, seen(begin + 31))
    assert kinds(found) == ["StartEnd", "Stuck"]


# ---- what a deferral carries


def test_it_is_carried_and_bounded() -> None:
    many = [item(f"step-{i}", i / 1000) for i in range(LOOK_LIMIT)]
    progress, _ = take_in(Progress(lost=1.5), RULES, job(start(0, 30), WAITS), seen(31, *many))
    few = [item(f"later-{i}", 40) for i in range(3)]
    again, _ = take_in(progress, RULES, job(start(0, 30), start(35, 50), WAITS), seen(51, *few))
    for one, most in ((progress, 6_500), (again, 3_000)):
        text = json.dumps(one.to_json())
        assert len(text) <= most
        read = Progress.from_json({**json.loads(text), "of_a_newer_version": 1})
        assert read is not None
        assert read.to_json() == one.to_json()
    # What lies there is remembered whatever it is; of what is gone, the newest.
    assert set(FolderLook.of(few, NOW).objects) <= set(again.seen)


@pytest.mark.parametrize("value", [None, {}, [], "text", {"seen": "", "attempt": "x", "starts": 1}, {"seen": ""}])
def test_what_cannot_be_read_begins_anew(value: Any) -> None:
    assert Progress.from_json(value) is None


def test_begun_anew_it_holds_nothing_against_the_run() -> None:
    starts = (start(0, 30), start(40, 70), start(80, 110))
    trains = job(*starts, start(120))
    progress = Progress.anew(trains, trained=True)
    assert progress.lost is None
    assert not needs_look(progress, RULES, trains, later(minutes=121))
    progress, _ = take_in(progress, RULES, job(*starts, start(120, 150), WAITS), seen(151))
    assert progress.barren == 1
    assert Progress.anew(None, trained=False) == Progress(lost=0.0)


def test_findings_are_handed_on() -> None:
    found = [StartEnd(1, NOW, 5.0, None, NOW), NotSeen("no"), NothingYet(1.0), Stuck(3, 2.0)]
    assert unpack(json.loads(json.dumps(pack(found)))) == tuple(found)
    assert len(pack(found * 100)) == KEPT
    for value in (None, 5, [5], [{"kind": "of_a_newer_version"}], [{"kind": "stuck", "starts": 1, "other": 2}]):
        assert unpack(value) == ()


# ---- whatever happens


@st.composite
def lives(draw: st.DrawFn) -> tuple[list[tuple[float, float, list[float]]], list[bool]]:
    """Starts, each with when it wrote a new checkpoint; and after which of them it was looked."""
    at, starts = 0.0, []
    for _ in range(draw(st.integers(1, 12))):
        at += draw(st.integers(1, 120))
        length = draw(st.integers(1, 120))
        wrote = draw(st.lists(st.integers(0, length - 1), max_size=3, unique=True))
        starts.append((at, at + length, sorted(at + each + 0.5 for each in wrote)))
        at += length
    return starts, draw(st.lists(st.booleans(), min_size=len(starts), max_size=len(starts)))


@given(lives(), st.booleans())
def test_nobody_is_ended_who_left_something_new_in_the_last_three_starts(
    life: tuple[list[tuple[float, float, list[float]]], list[bool]], keeps_one: bool
) -> None:
    """However rarely it is looked, however much the script deletes, and also where what was known is lost."""
    starts, looked = life
    for lost_after in (None, len(starts) // 2):
        progress, files = Progress(lost=0.0), []
        for number, (begin, end, wrote) in enumerate(starts, 1):
            files = [*files, *(item(f"{at}", at) for at in wrote)][-1 if keeps_one else -1000 :]
            had = [start(a, b) for a, b, _ in starts[:number]]
            if looked[number - 1]:
                progress, _ = take_in(progress, RULES, job(*had, WAITS), seen(end + 0.1, *files))
                progress = Progress.from_json(json.loads(json.dumps(progress.to_json()))) or progress
            if number == lost_after:
                progress = Progress.anew(job(*had, WAITS), trained=True)
            if progress.is_stuck(RULES):
                assert not any(each for _, _, each in starts[max(0, number - 3) : number])
                assert end - begin > 0
                break  # it has been ended
            if progress.lost is not None and all(looked[:number]):
                whole = sum((b - max([a, *each])) * 60 for a, b, each in starts[:number])
                assert progress.lost == pytest.approx(whole, abs=number * 61)


@given(st.lists(st.integers(11, 60), min_size=3, max_size=8))
def test_whoever_leaves_nothing_three_times_is_ended(lengths: list[int]) -> None:
    at, had, progress = 0, [], Progress()
    for number, length in enumerate(lengths, 1):
        had.append(start(at, at + length))
        at += length + 5
        progress, found = take_in(progress, RULES, job(*had, WAITS), seen(at))
        assert progress.is_stuck(RULES) == (number >= 3)
        assert ("Stuck" in kinds(found)) == (number == 3)


ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.floats(allow_nan=True, allow_infinity=True),
    st.integers(-(10**30), 10**30),
    st.sampled_from([-1, 0, 1, 3.5, 1e15, 1e300, 253402300800, 10**400]),
    st.text(max_size=20),
    st.sampled_from(["2026-01-02", "2026-01-02T03:04:05", "9999-12-31T23:59:59+00:00", "3"]),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)
KEYS = [*Progress(seen=("abcdef",)).to_json(), "advanced", "newest", "objects", "longest", "barren", "looked", "unseen"]


@given(st.dictionaries(st.sampled_from([*KEYS, "warned", "told_long", "new"]), ODD), st.integers(0, 200))
def test_odd_values_of_a_row_are_dropped_and_raise_nothing_ever(odd: dict[str, Any], at: int) -> None:
    whole = Progress(("abcdef",), NOW, NOW, 1, 60.0, 1, 1, 1, NOW, 5.0, "denied", warned=True, told_long=True)
    progress = Progress.from_json({**whole.to_json(), **odd})
    if progress is None:
        assert {"seen", "attempt", "starts"} & set(odd)
        return
    assert Progress.from_json(json.loads(json.dumps(progress.to_json(), allow_nan=False))) is not None
    assert progress.longest >= 0 and progress.barren >= 0
    assert progress.lost is None or progress.lost >= 0
    for each in (job(start(0, at), WAITS), job(start(at))):
        needs_look(progress, RULES, each, later(minutes=at))
        next_look(progress, RULES, each)
        known, _ = take_in(progress, RULES, each, seen(at + 1, item("a", at)))
        explain(known, FOLDER)
        json.dumps(known.to_json(), allow_nan=False)


@given(ODD)
def test_what_is_no_mapping_is_nothing(odd: Any) -> None:
    Progress.from_json(odd)


@given(st.dictionaries(st.sampled_from(["uri", "number", "warning_after", "max_starts"]), ODD))
def test_odd_rules_of_a_row_are_none(odd: dict[str, Any]) -> None:
    folder = WatchedFolder.from_json({**WatchedFolder(FOLDER, 1, RULES).to_json(), **odd})
    if folder is not None:
        watched = folder.starts((start(0),))
        assert next_look(Progress(), folder.rules, watched) is not None
        assert take_in(Progress(), folder.rules, watched, seen(10))[0].is_stuck(folder.rules) is False


@given(st.dictionaries(st.sampled_from(["trained", "starts", "longer_than", "at", "lost", "newest", "start"]), ODD))
def test_odd_findings_raise_nothing_where_they_are_told(odd: dict[str, Any]) -> None:
    for whole in pack([StartEnd(1, NOW, 5.0, 2.0, NOW), NotSeen("no"), NothingYet(1.0), Stuck(3, 2.0)]):
        for found in unpack([{**whole, **odd, "kind": whole["kind"]}]):
            list(lines(of_finding(found, "train-afspot-abcdefghij-1-1", FOLDER)))


def test_what_a_look_shows_for_the_first_time_is_told_and_files_of_one_checkpoint_are_one() -> None:
    objects = {"a": NOW, "b": later(seconds=4), "c": later(seconds=8), "d": later(seconds=60), "e": later(seconds=90)}
    look = FolderLook(later(minutes=5), objects)
    assert look.new_since(()) == tuple((later(seconds=each), None) for each in (8, 60, 90))
    assert look.new_since(("a", "b", "c", "e")) == ((later(seconds=60), None),)
    assert look.new_since(objects) == ()
    many = FolderLook(NOW, {str(each): later(minutes=each) for each in range(500)})
    assert len(many.new_since(())) == 100
    assert many.new_since(())[-1] == (later(minutes=499), None)


def test_a_checkpoint_of_the_library_says_its_step(tmp_path: Path) -> None:
    checkpoints = Checkpointer(str(tmp_path), tell=lambda _: None)
    checkpoints.save(25, lambda path: Path(path).write_text("one file"))
    checkpoints.save(50, lambda path: [Path(path).mkdir(), (Path(path) / "weights").write_text("of a folder")])
    names = [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(step_of(f"run/g0001/{name}") or 0 for name in names) == [25, 25, 50, 50]
    for name in ("step-25.pt", "a-step-000000000025-0123456789ab.json", "step-000000000025-0123456789ab.json.part"):
        assert step_of(f"run/{name}") is None
    first, second = (sorted(name for name in names if f"{step:012d}" in name) for step in (25, 50))
    look = seen(5, item(first[0], 1), item(first[1], 1.05), item(second[0], 1.1), item(second[1], 1.1), item("x", 1.15))
    assert look.new_since(()) == ((later(minutes=1.05), 25), (later(minutes=1.15), 50))
