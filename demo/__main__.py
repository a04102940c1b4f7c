"""The end-to-end demo on this machine, without an AWS account: `make demo`, or `python -m demo` in a checkout.

Local SageMaker with a scripted spot market, the example pipeline in a real Airflow, told as it happens, and a table of
what it came to. Everything lives in a scratch folder and ends with the command.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
import webbrowser
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import quote

from airflow_spot.local import LocalSageMaker
from demo.market import SCRIPT, ScriptedMarket
from demo.report import Report, read_report
from demo.standalone import FINAL_STATES, PASSWORD, USER, StandaloneAirflow, StandaloneError
from demo.story import EventsFile, Story

DAG_ID = "spot_training_pipeline"
DAGS = Path(__file__).resolve().parents[1] / "dags"
PARAMS: Mapping[str, Any] = {"rounds": 60, "checkpoint_every": 5, "seconds_per_round": 0.25}
RUN_SECONDS = 900
#: Where Airflow shows the pages of airflow_spot: what its plugin says, which the suite compares.
FLEET_VIEW, TIMELINE_TAB = "spot-trainings", "spot-training"
#: The task whose timeline it is, and the states in which there is something to see of it.
TRAINS, SEEN = "train", frozenset({"running", "deferred"})
LOGIN = f"user {USER}, password {PASSWORD}"


class DemoError(RuntimeError):
    """The demo did not go as it should; the message says how."""


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run the demo.

    :return: the exit code: 0, 1 if it failed, 2 if it could not begin, 130 if it was interrupted.
    """
    parser = argparse.ArgumentParser(
        prog="python -m demo",
        description="Runs the example pipeline in a real Airflow against Local SageMaker, whose instances go away.",
    )
    parser.add_argument(
        "--ui", action="store_true", help="open the run's timeline in Airflow, which stays until Ctrl-C"
    )
    parser.add_argument("--keep", action="store_true", help="leave the scratch folder: logs, database, audit log")
    parser.add_argument("--dags", type=Path, default=DAGS, help="the folder of the DAG; default: the checkout's dags/")
    parser.add_argument(
        "--port", type=int, default=0, help="of the Airflow UI; default: 8080 with --ui, else a free one"
    )
    args = parser.parse_args(argv)
    if not (args.dags / f"{DAG_ID}.py").is_file():
        print(f"demo: there is no {DAG_ID}.py in {args.dags}: name its folder with --dags", file=sys.stderr)
        return 2
    return _run(args)


def _run(args: argparse.Namespace) -> int:
    scratch = Path(tempfile.mkdtemp(prefix="airflow-spot-demo-"))
    keep = bool(args.keep)
    try:
        with _sigterm_as_ctrl_c():
            _demo(args, scratch)
        return 0
    except KeyboardInterrupt:
        print("\nInterrupted; everything has been ended.", file=sys.stderr)
        return 130
    except (DemoError, StandaloneError, OSError, RuntimeError) as error:
        keep = True
        print(f"\nThe demo failed: {error}\nIts logs are in {scratch}", file=sys.stderr)
        return 1
    finally:
        if keep:
            print(f"Kept: {scratch}")
        else:
            shutil.rmtree(scratch, ignore_errors=True)


def _demo(args: argparse.Namespace, scratch: Path) -> None:
    story, events_file = Story(), scratch / "events.jsonl"
    story.tell("demo", f"Local SageMaker, whose spot market {SCRIPT}; instances go without a warning")
    with contextlib.ExitStack() as stack:
        # From here to the end of the clearing up, a second Ctrl-C must not leave something running.
        stack.callback(signal.signal, signal.SIGINT, signal.getsignal(signal.SIGINT))
        # As AWS, which answers no more ListTrainingJobs a second.
        sagemaker = LocalSageMaker(dir=scratch / "sagemaker", reclaim="kill", list_rate=2)
        stack.enter_context(sagemaker)
        airflow = StandaloneAirflow(
            home=scratch / "airflow",
            dags_folder=args.dags,
            environ={
                **sagemaker.environ,
                "AIRFLOW_CONN_AWS_DEFAULT": "aws://",
                "AIRFLOW__AIRFLOW_SPOT__CHECK_INTERVAL": "5",
                "AIRFLOW__AIRFLOW_SPOT__AWS_PRICES": "True",
                "AIRFLOW__AIRFLOW_SPOT__PREFLIGHT": "warn",
                "AIRFLOW__AIRFLOW_SPOT__EVENTS_FILE": str(events_file),
            },
            port=args.port or (_port_for_people() if args.ui else 0),
        )
        story.tell("demo", "airflow standalone is starting: database, scheduler, triggerer, API server")
        stack.enter_context(airflow)
        stack.callback(signal.signal, signal.SIGINT, signal.SIG_IGN)
        airflow.unpause(DAG_ID)
        story.tell("demo", f"Airflow is ready; running {DAG_ID}")
        run_id = airflow.trigger(DAG_ID, PARAMS)
        timeline = timeline_address(airflow.url, run_id)
        # While it trains there is most to see: the page continues by itself.
        trains = partial(_show, timeline, story) if args.ui else _nobody_looks
        with ScriptedMarket(sagemaker).open():
            state = _watch(airflow, sagemaker, run_id, story, EventsFile(events_file), trains)
        if state != "success":
            raise DemoError(_what_failed(airflow, run_id, state))
        report = read_report(airflow, sagemaker, DAG_ID, run_id)
        print(report)
        _check(report)
        if args.ui:
            print(f"\nThe run's timeline in Airflow: {timeline}  ({LOGIN})")
            print(f"All spot trainings: {airflow.url}/plugin/{FLEET_VIEW}")
            print(f"Local SageMaker's jobs: {sagemaker.endpoint_url}\nCtrl-C ends both.", flush=True)
            while True:
                signal.pause()


def timeline_address(url: str, run_id: str) -> str:
    """Return the address of the run's timeline inside Airflow: the tab of its training task."""
    return f"{url}/dags/{DAG_ID}/runs/{quote(run_id, safe='')}/tasks/{TRAINS}/plugin/{TIMELINE_TAB}"


def open_in_browser(address: str) -> bool:
    """Open an address in the user's browser, if there is a desktop: a browser of the terminal's would hide the demo."""
    is_desktop = sys.platform == "darwin" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    with contextlib.suppress(OSError, webbrowser.Error):
        return bool(is_desktop) and webbrowser.open(address)
    return False


def _show(address: str, story: Story) -> None:
    opened = "your browser opens" if open_in_browser(address) else "open"
    story.tell("demo", f"{opened} the run's timeline: {address}  ({LOGIN})")


def _nobody_looks() -> None:
    """Nothing is shown without --ui."""


def _watch(
    airflow: StandaloneAirflow,
    sagemaker: LocalSageMaker,
    run_id: str,
    story: Story,
    run_events: EventsFile,
    trains: Callable[[], None],
) -> str:
    """
    Tell what happens until the DAG run ends; returns its state.

    :param trains: called once, as soon as there is something to see of the training task.
    """
    begun = False
    deadline = time.monotonic() + RUN_SECONDS
    while True:
        state = airflow.run_state(DAG_ID, run_id)
        tasks = airflow.task_states(DAG_ID, run_id)
        # The audit log first: what the run decided of what it shows is then in the events file.
        audit = sagemaker.audit
        story.happened(audit, run_events.new())
        story.tasks(tasks)
        if not begun and tasks.get(TRAINS) in SEEN:
            begun = True
            trains()
        if state in FINAL_STATES:
            return state
        if time.monotonic() > deadline:
            raise DemoError(f"the DAG run is still {state} after {RUN_SECONDS} s: {tasks}")
        time.sleep(0.5)


def _what_failed(airflow: StandaloneAirflow, run_id: str, state: str) -> str:
    lines = [f"the DAG run is {state}"]
    for task_id, task_state in airflow.task_states(DAG_ID, run_id).items():
        if task_state == "failed":
            lines += [f"task {task_id} failed; its last lines:"]
            lines += [f"    {line}" for line in airflow.task_log(DAG_ID, run_id, task_id)[-15:]]
    return "\n".join(lines)


def _check(report: Report) -> None:
    """Hold the demo to what it promises to show.

    :raises DemoError: if it did not happen.
    """
    if report.interruptions < 2 or len(report.attempts) < 2:
        raise DemoError(
            f"{report.interruptions} interruptions and {len(report.attempts)} attempts: at least two of each were due"
        )


def _port_for_people() -> int:
    """8080 where it is free, since that is where people look for Airflow; else any."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", 8080))
        except OSError:
            return 0
        return 8080


@contextlib.contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    """Inside, SIGTERM ends the demo as Ctrl-C does: with all that it started."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    sys.exit(main())
