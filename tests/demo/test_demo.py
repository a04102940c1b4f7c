"""The demo: its story and its table from given facts, and once as a user runs it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args
from urllib.parse import unquote

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_spot.core.events import (
    AttemptAttached,
    AttemptCreated,
    AttemptDecided,
    AttemptFound,
    CapacityAwaited,
    CheckpointMissing,
    CheckpointsNotSeen,
    CheckpointsSeen,
    CreateRefused,
    Event,
    GenerationBegan,
    JobStopped,
    Paused,
    ProgressMissing,
    RunFailed,
    RunSucceeded,
    ScriptProgressed,
    ServiceErrorsRepeated,
    StartEnded,
    TrainedLong,
    Transitioned,
    as_line,
)
from airflow_spot.core.findings import NothingYet, NotSeen, StartEnd, Stuck
from airflow_spot.core.identity import JobName
from airflow_spot.core.money.totals import RunTotals
from airflow_spot.core.script_progress import ScriptProgress
from airflow_spot.core.service_errors import SeenFolder
from airflow_spot.core.stop_reasons import StopReason
from airflow_spot.local.serving.ports import free_port
from demo.__main__ import LOGIN, _watch, main, open_in_browser, timeline_address
from demo.market import DOWN_SECONDS, ScriptedMarket, round_of
from demo.report import Report, Start, read_start
from demo.story import EventsFile, Story
from tests.core.cases import NOW, RUN, attempt, refusal
from tests.operators.test_endings import operator, ti
from tests.support.browser import Browser, _Gone, driver_command
from tests.support.sagemaker import DictionarySageMaker

ROOT = Path(__file__).parents[2]
# A shell's background jobs ignore SIGINT, and so would a demo that such a pytest starts.
BOOT = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); " + (
    "from demo.__main__ import main; sys.exit(main(sys.argv[1:]))"
)
DEMO = [sys.executable, "-c", BOOT]


JOB = str(JobName("digits", RUN.key, 1, 2))


def state(job: str, secondary: str | None, status: str = "InProgress", message: str | None = None) -> dict[str, Any]:
    return at(0, event="state", job=job, status=status, secondary=secondary, message=message)


def at(seconds: float, **fields: Any) -> dict[str, Any]:
    """A line of the audit log, so many seconds after NOW."""
    return {"time": NOW.timestamp() + seconds, **fields}


def line(event: Event, seconds: float = 0) -> dict[str, Any]:
    """A line of the events file, as an observer writes it."""
    written: dict[str, Any] = json.loads(json.dumps(as_line(event, RUN.key, NOW + timedelta(seconds=seconds))))
    return written


def told(capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    """Who told what."""
    return [text.split(" s  ", 1)[1].split(maxsplit=1) for text in capsys.readouterr().out.splitlines()]


def test_the_story_tells_each_thing_once(capsys: pytest.CaptureFixture[str]) -> None:
    story = Story()
    events = [
        at(0, event="call", operation="CreateTrainingJob"),
        state(JOB, "Training"),
        at(0, event="checkpoint", action="upload", job=JOB, key="round-000005-0123456789abcdef.ubj"),
        at(0, event="checkpoint", action="upload", job=JOB, key="another-file"),
        at(0, event="checkpoint", action="delete", job=JOB, key="round-000005-0123456789abcdef.ubj"),
        at(0, event="capacity", action="reclaimed", job=JOB),
        state(JOB, "Failed", "Failed", "CapacityError: none\nmore of it"),
        state("served", None, "InService"),
    ]
    for known in (4, 8, 8):
        story.happened(events[:known], [])
    for tasks in ({"train": None}, {"train": "running"}, {"train": "running"}):
        story.tasks(tasks)
    assert told(capsys) == [
        ["sagemaker", "attempt 2: Training"],
        ["sagemaker", "attempt 2: checkpoint of round 5 is in S3"],
        ["sagemaker", "attempt 2: the spot instance is taken back"],
        ["sagemaker", "attempt 2: Failed (CapacityError: none)"],
        ["sagemaker", "served: InService"],
        ["airflow", "train: running"],
    ]


def test_what_the_run_decided_stands_where_it_happened(capsys: pytest.CaptureFixture[str]) -> None:
    """Both files are read at once, so what is new in both is sorted by time; the job is named once."""
    decided = AttemptDecided(2, "ml.m5.large spot", JOB, "attempt 1: no capacity")
    Story().happened(
        [at(3, event="state", job=JOB, status="InProgress", secondary="Starting", message=None)],
        [line(Paused(NOW, "attempt 1: no capacity; again in 3 s"), 1), line(decided, 2)],
    )
    assert told(capsys) == [
        ["operator", "attempt 1: no capacity; again in 3 s"],
        ["operator", f"attempt 2 on ml.m5.large spot (attempt 1: no capacity): training job {JOB}"],
        ["sagemaker", "attempt 2: Starting"],
    ]


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (AttemptAttached(attempt(2, None)), "attempt 2: attached to its training job, which is there"),
        (CapacityAwaited(JOB, "attempt 2", NOW, NOW, "none left"), "attempt 2: still waiting for capacity (none left)"),
        (CreateRefused(replace(refusal(2), message="the quota is 0")), "attempt 2: refused (the quota is 0)"),
        (JobStopped(JOB, StopReason.KILLED, "killed by Airflow"), "attempt 2: stopped (killed by Airflow)"),
        (
            JobStopped(JOB, StopReason.KILLED, "killed by Airflow", "it is Completed already"),
            "attempt 2: not stopped, it is Completed already (killed by Airflow)",
        ),
        (
            ServiceErrorsRepeated(2, 2, SeenFolder("s3://bucket/checkpoints", 9, 9)),
            "attempt 2: SageMaker internal error, 2 in a row",
        ),
        (RunSucceeded((), RunTotals(2, 1)), "the run succeeded: 0 attempts, 1 interruption"),
        (RunFailed(None, "the task's time is up", RunTotals()), "the run failed: the task's time is up"),
    ],
)
def test_an_event_is_told(event: Event, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    Story().happened([], [line(event)])
    assert told(capsys) == [["operator", text]]


@pytest.mark.parametrize(
    "event",
    [
        GenerationBegan(RUN.key, 1, "s3://bucket/checkpoints"),
        AttemptFound(attempt(2, None)),
        AttemptCreated(attempt(2, None)),
        Transitioned(JOB, "attempt 2", "Training"),
        # The demo's script keeps its checkpoints; what an interruption lost is told in the log, twice where it was
        # deferred, and in the demo's own table.
        StartEnded(JOB, "s3://b/c", StartEnd(1, NOW, 9.0, 2.4, NOW)),
        CheckpointsSeen(JOB, "s3://b/c", (NOW,)),
        CheckpointMissing(JOB, "s3://b/c", NothingYet(9.0)),
        CheckpointsNotSeen(JOB, "s3://b/c", NotSeen("denied")),
        ProgressMissing(JOB, "s3://b/c", Stuck(3, 9.0)),
        TrainedLong(9.0, 4),
        ScriptProgressed(JOB, ScriptProgress(1, 2, {}, NOW)),  # its script does not use the library
    ],
)
def test_what_another_line_tells_is_not_told_again(event: Event, capsys: pytest.CaptureFixture[str]) -> None:
    Story().happened([], [line(event)])
    assert told(capsys) == []


def test_every_event_is_told_or_left_out_by_a_test() -> None:
    here = Path(__file__).read_text()
    assert [kind.__name__ for kind in get_args(Event) if f"{kind.__name__}(" not in here] == []


def test_a_line_that_is_being_written_is_read_once_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    file = EventsFile(path)
    assert file.new() == []
    path.write_text('{"event": "one"}\n{"event": "t')
    assert file.new() == [{"event": "one"}]
    assert file.new() == []
    with path.open("a") as more:
        more.write('wo"}\n')
    assert file.new() == [{"event": "two"}]


def test_the_operator_writes_what_the_story_reads(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A try creates a job, the next one attaches to it and is killed."""
    path = tmp_path / "events.jsonl"
    monkeypatch.setenv("AIRFLOW__AIRFLOW_SPOT__EVENTS_FILE", str(path))
    service, story, file = DictionarySageMaker(), Story(), EventsFile(path)
    for number in (1, 2):
        context: Any = {"ti": ti(number, retries=3)}
        task = operator(service)
        with pytest.raises(TaskDeferred):
            task.execute(context)
    task.on_kill()
    capsys.readouterr()
    story.happened([], file.new())
    (job,) = service.jobs
    assert told(capsys) == [
        ["operator", f"attempt 1 on ml.m5.xlarge spot (first attempt): training job {job}"],
        ["operator", "attempt 1: attached to its training job, which is there"],
        ["operator", "attempt 1: stopped (killed by Airflow)"],
    ]


@pytest.mark.parametrize(
    ("key", "number"),
    [("round-000010-0123456789abcdef.ubj", 10), ("round-x-0.ubj", 0), ("model.tar.gz", 0), ("round-", 0)],
)
def test_a_checkpoint_tells_its_round(key: str, number: int) -> None:
    assert round_of(key) == number


class Instances:
    """What the market sees and does: the audit log's lines, and each interruption that was asked for."""

    def __init__(self) -> None:
        self.audit: list[dict[str, Any]] = []
        self.taken: list[dict[str, Any]] = []
        self.busy = False
        sagemaker: Any = self
        self._market = ScriptedMarket(sagemaker)

    def interrupt(self, job: str, **how: Any) -> None:
        self.taken.append({"job": job, "after": round_of(self.audit[-1]["key"]), **how})
        if self.busy:
            raise RuntimeError("it holds no instances")
        self.audit.append(at(0, event="capacity", action="reclaimed", job=JOB))

    def trains(self, *rounds: int) -> None:
        """The job has saved these rounds by the market's next look."""
        keys = [f"round-{each:06d}-0123456789abcdef.ubj" for each in rounds]
        start = sum(line["event"] == "capacity" for line in self.audit) + 1
        self.audit += [at(0, event="checkpoint", action="upload", job=JOB, key=key, start=start) for key in keys]
        self._market.follow(self.audit)


GAP = {"job": JOB, "capacity_gap": DOWN_SECONDS}


def test_the_market_takes_each_instance_once_its_checkpoint_is_there() -> None:
    """A call that finds the job between two instances is made again; the third time the job gets no other."""
    instances = Instances()
    for number in (5, 10, 15, 20):
        instances.trains(number)
    instances.busy = True
    instances.trains(25)
    instances.busy = False
    for number in (25, 30, 35, 45):
        instances.trains(number)
    assert instances.taken == [
        {**GAP, "after": 10},
        {**GAP, "after": 25},
        {**GAP, "after": 25},
        {"job": JOB, "after": 45, "refuse": True},
    ]


def test_a_market_that_comes_late_lets_each_start_train() -> None:
    instances = Instances()
    instances.trains(*range(1, 45))
    instances.trains()
    for number in (45, 46):
        instances.trains(number)
    assert instances.taken == [{**GAP, "after": 44}, {**GAP, "after": 45}, {"job": JOB, "after": 46, "refuse": True}]


def test_a_start_is_read_from_what_the_script_printed() -> None:
    lines = [
        "[0] WARNING: round=9",
        "resume_from_round=10",
        "round=11 validation-mlogloss:0.1",
        "round=12 validation-mlogloss:0.1",
        "checkpoint_round=12 file=round-000012-0.ubj",
        "round=thirteen",
        "",
    ]
    assert read_start(lines) == Start(10, (11, 12))
    assert read_start(["round=11"]) is None


def test_the_table_counts_what_was_trained_twice() -> None:
    sums = {
        "interruptions": 2,
        "waited_seconds": 7,
        "training_seconds": 30,
        "billable_seconds": 12,
        "spot_discount_percent": 60.0,
        "savings_percent": 50.0,
        "cost": {"amount": "0.0004", "currency": "USD"},
        "on_demand_cost": {"amount": "0.0008", "currency": "USD"},
        "saved": {"amount": "0.0004", "currency": "USD"},
    }
    prices = {"currency": "USD", "hourly": {"ml.m5.large": "0.115"}, "source": "pricing:GetProducts", "read": None}
    one = {
        "job_name": "digits-1",
        "instance_type": "ml.m5.large",
        "instance_count": 1,
        "spot": True,
        "outcome": "no_capacity",
        **sums,
    }
    model = "s3://bucket/output/digits-1/output/model.tar.gz"
    spot = {**sums, "attempts": [one], "prices": prices, "model_artifacts": model}
    starts = (Start(0, (1, 2, 3, 4)), Start(2, (3, 4, 5)), Start(5, (6,)))
    report = Report(spot, starts, 0.959)
    assert report.trained_twice == 2
    text = str(report)
    unknown = str(Report({**spot, "cost": None, "saved": None, "prices": None}, starts, 0.959))
    assert "cost                   -\n" in unknown
    assert "  no capacity  " in text
    for row in (
        "rounds at each resume  2, 5",
        "rounds of the model    6",
        "rounds trained twice   2",
        "waiting for instances  7 s",
        "spot discount          60.0 %",
        "cost                   0.0004 USD, by ml.m5.large 0.115 USD an hour on-demand (pricing:GetProducts)",
        "on-demand would cost   0.0008 USD",
        "saved                  0.0004 USD, 50.0 %",
        "model                  s3://bucket/output/digits-1/output/model.tar.gz",
        "accuracy               95.9 % of the test digits, predicted by the endpoint",
    ):
        assert row in text.splitlines()


def test_it_runs_as_a_module_of_the_checkout() -> None:
    said = subprocess.run(
        [sys.executable, "-m", "demo", "--help"], check=True, cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert said.stdout.startswith("usage: python -m demo")


def test_a_folder_without_the_dag_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--dags", str(tmp_path)]) == 2
    assert "--dags" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("platform", "environ", "opened"),
    [
        ("linux", {}, False),
        ("linux", {"DISPLAY": ":0"}, True),
        ("linux", {"WAYLAND_DISPLAY": "wayland-0"}, True),
        ("darwin", {}, True),
    ],
)
def test_a_browser_is_opened_where_there_is_a_desktop(
    platform: str, environ: dict[str, str], opened: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def opens(address: str) -> bool:
        asked.append(address)
        return True

    monkeypatch.setattr("webbrowser.open", opens)
    monkeypatch.setattr(sys, "platform", platform)
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert open_in_browser("http://127.0.0.1:8080/x") is opened
    assert asked == ["http://127.0.0.1:8080/x"] * opened


def test_the_timeline_is_shown_once_as_soon_as_the_training_task_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    shown: list[dict[str, Any]] = []
    states: list[dict[str, Any]] = [
        {},
        {"train": None},
        {"train": "queued"},
        {"train": "running"},
        {"train": "deferred"},
        {"train": "success"},
    ]
    left = list(states)

    class Airflow:
        def run_state(self, *ids: str) -> str:
            return "success" if len(left) == 1 else "running"

        def task_states(self, *ids: str) -> Any:
            return left.pop(0)

    class NothingHappens:
        audit: tuple[Any, ...] = ()

    airflow: Any = Airflow()
    sagemaker: Any = NothingHappens()

    def trains() -> None:
        shown.append(states[len(states) - len(left) - 1])

    assert _watch(airflow, sagemaker, "a run", Story(), EventsFile(Path("/none")), trains) == "success"
    assert shown == [{"train": "running"}]


def leftovers(scratch: Path) -> list[str]:
    """Processes that have the folder in their environment or command line."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            text = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if str(scratch).encode() in text and int(entry.name) != os.getpid():
            found.append(f"{entry.name}: {(entry / 'cmdline').read_bytes()!r}")
    return found


@pytest.mark.slow
@pytest.mark.airflow
@pytest.mark.timeout(1200)
def test_the_demo_shows_what_it_promises_and_leaves_nothing(tmp_path: Path) -> None:
    result = subprocess.run(
        DEMO,
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=1100,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    story, _, table = result.stdout.rpartition("\n\n")
    figures = {row[:21].strip(): row[23:].strip() for row in table.splitlines()}
    assert int(figures["interruptions"]) >= 2
    assert int(figures["attempts"]) >= 2
    assert len(figures["rounds at each resume"].split(",")) >= 2
    assert figures["rounds of the model"] == "60"
    assert float(figures["spot discount"].rstrip(" %")) > 30
    assert float(figures["cost"].split()[0]) > 0
    assert "by ml.m5.large 0.115 USD an hour on-demand (pricing:GetProducts)" in figures["cost"]
    # The run's own lines, in order, each of them after what it follows from.
    order = [
        "operator  attempt 1 on ml.m5.large spot (first attempt): training job digits-afspot-",
        "sagemaker attempt 1: Training",
        "sagemaker attempt 1: the spot instance is taken back",
        "sagemaker attempt 1: Failed (CapacityError",
        "operator  attempt 2 on ml.m5.large spot (attempt 1: no capacity",
        "sagemaker attempt 2: Training",
        "sagemaker attempt 2: Completed",
        "operator  the run succeeded: 2 attempts, 3 interruptions",
    ]
    places = [story.find(f" s  {words}") for words in order]
    assert -1 not in places and places == sorted(places), story
    # What is told on some machines only: a look that falls into the seconds without an instance, and the pause before
    # the second attempt, which is over where Airflow resumes the task later than that.
    sometimes = ("still waiting for capacity", "no capacity for ml.m5.large spot; same checkpoint; again in ")
    rows = [row for row in story.splitlines() if " s  operator  " in row]
    assert sum(1 for row in rows if not any(words in row for words in sometimes)) == 3, story
    assert all(places[3] < story.find(row) < places[4] for row in rows if sometimes[1] in row), story
    for number in (1, 2):
        assert story.partition("\n\n")[0].count(f"-1-{number}") == 1, "a training job is named once"
    assert list(tmp_path.iterdir()) == []
    assert leftovers(tmp_path) == []


def wait_for(condition: Callable[[], Any]) -> None:
    """Return once a condition holds of a page that may go at any moment; the test has a time limit."""
    while True:
        with contextlib.suppress(_Gone):
            if condition():
                return
        time.sleep(0.2)


def log_in(browser: Browser, address: str) -> None:
    """Open an address, and log in as the demo says: Airflow then goes on to the address."""
    user, password = LOGIN.removeprefix("user ").split(", password ")
    browser.open(address)
    wait_for(lambda: browser.count("//input[@name='password']") == 1)
    typed = """
        const [name, text] = arguments, input = document.querySelector(`input[name=${name}]`);
        Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set.call(input, text);
        input.dispatchEvent(new Event("input", {bubbles: true}));
    """
    for name, text in (("username", user), ("password", password)):
        browser.run(typed.replace("arguments", json.dumps([name, text])))
    browser.click("//button[@type='submit']")


def in_frame(browser: Browser) -> str:
    """Return what is read in the frame of Airflow's page."""
    script = "const frame = document.querySelector('iframe'); return frame ? frame.contentDocument.body.innerText : ''"
    return " ".join(str(browser.run(f"try {{ {script} }} catch {{ return '' }}")).split())


@pytest.mark.slow
@pytest.mark.airflow
@pytest.mark.timeout(1200)
@pytest.mark.skipif(driver_command() is None, reason="needs chromium and chromium-driver")
def test_with_ui_the_address_that_it_tells_shows_the_timeline_of_a_run_that_goes_on(tmp_path: Path) -> None:
    scratch, profile = tmp_path / "scratch", tmp_path / "profile"
    scratch.mkdir()
    process = started(scratch)
    try:
        told = told_line(process, "the run's timeline: ")
        address, _, login = told.partition("the run's timeline: ")[2].partition("  ")
        assert login.strip() == f"({LOGIN})"
        assert address == timeline_address(address.partition("/dags/")[0], unquote(address.split("/")[6]))
        with Browser(profile, width=1400, height=1000) as browser:
            log_in(browser, address)
            wait_for(lambda: "What happened, and why" in in_frame(browser))
            assert browser.url == address
            assert "Spot training of train" in in_frame(browser)
        end(process, signal.SIGINT)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(60)
    assert list(scratch.iterdir()) == []
    assert leftovers(scratch) == []


def started(scratch: Path) -> subprocess.Popen[str]:
    """Start the demo with --ui, on a machine without a desktop."""
    desktop = ("DISPLAY", "WAYLAND_DISPLAY")
    environ = {name: value for name, value in os.environ.items() if name not in desktop}
    return subprocess.Popen(
        [*DEMO, "--ui", "--port", str(free_port())],
        cwd=ROOT,
        env={**environ, "TMPDIR": str(scratch)},
        stdout=subprocess.PIPE,
        text=True,
    )


def told_line(process: subprocess.Popen[str], words: str) -> str:
    """Read what the demo tells up to the first line with these words, and return that."""
    assert process.stdout is not None
    for line in process.stdout:
        if words in line:
            return line
    pytest.fail(f"the demo ended with exit code {process.wait()} before it told: {words}")


def end(process: subprocess.Popen[str], number: int) -> None:
    process.send_signal(number)
    assert process.stdout is not None
    process.stdout.read()  # what it tells while it ends must not fill the pipe
    assert process.wait(60) == 130


@pytest.mark.slow
@pytest.mark.airflow
@pytest.mark.timeout(1200)
def test_the_demo_ends_with_all_that_it_started_when_it_is_ended(tmp_path: Path) -> None:
    process = started(tmp_path)
    told_line(process, "Airflow is ready")
    time.sleep(2)
    assert leftovers(tmp_path)
    end(process, signal.SIGTERM)
    assert list(tmp_path.iterdir()) == []
    assert leftovers(tmp_path) == []
