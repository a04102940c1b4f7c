"""The scenarios on a real Airflow: what a user, a crash or the market does to a run, and what must come of it."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from functools import partial

from airflow_spot.core.marks import StopMark
from tests.matrix.real import API_SERVER, Real, expect, until
from tests.matrix.signals import (
    in_modes,
    marked_before_deferring,
    marked_while_resuming,
    marked_while_starting,
    retries_lowered,
    script_failed,
    variable_deleted,
)

_WAITS = {"": "deferred", "_sync": "running"}


def interrupted(real: Real) -> None:
    """A run passes, and its one job was interrupted once; a function's result gets to the task behind it."""
    _interrupted(real, "interrupted", "interrupted_sync", "taskflow")


def taskflow(real: Real) -> None:
    """A function that is interrupted once resumes from its checkpoint, and the task behind it has its result."""
    _interrupted(real, "taskflow")


def _interrupted(real: Real, *dag_ids: str) -> None:
    def play(dag_id: str) -> None:
        run_id = real.start(dag_id)
        real.service.interrupt(real.training(dag_id, run_id)["TrainingJobName"])
        real.ends(dag_id, run_id)
        (job,) = real.jobs(dag_id, run_id)
        statuses = [transition["Status"] for transition in job["SecondaryStatusTransitions"]]
        expect(job["TrainingJobStatus"] == "Completed" and statuses.count("Interrupted") == 1, f"{statuses}")

    in_modes(dag_ids, play)


def marked_failed(real: Real) -> None:
    """A task that a user marks failed stops its job, with one marked stop."""

    def play(mode: str) -> None:
        dag_id = f"marked_failed{mode}"
        run_id = real.start(dag_id)
        job = real.training(dag_id, run_id)
        name = job["TrainingJobName"]
        # A mark before the trigger has begun runs no code of ours on any Airflow, see docs/decisions.
        real.watched(dag_id, run_id, name, state=_WAITS[mode])
        real.airflow.mark(dag_id, run_id, "train", "failed")
        until(lambda: real.stops(name), "StopTrainingJob after the task was marked failed")
        until(lambda: real.attempts(dag_id, run_id) == [(1, 1, "Stopped")], "the stop")
        expect(real.mark_of(name) == "killed 1", f"the mark is {real.mark_of(name)!r}")
        expect(len(real.stops(name)) == 1, "more than one StopTrainingJob")
        real.ends(dag_id, run_id, "failed")

    _in_both_modes(play)


def cleared(real: Real) -> None:
    """A run that is cleared after it has delivered trains anew: a second generation, from nothing."""

    def play(mode: str) -> None:
        dag_id = f"cleared{mode}"
        run_id = real.start(dag_id)
        real.ends(dag_id, run_id)
        expect(real.attempts(dag_id, run_id) == [(1, 1, "Completed")], f"{real.attempts(dag_id, run_id)}")
        real.clear(dag_id, run_id)
        real.ends(dag_id, run_id)
        attempts = real.attempts(dag_id, run_id)
        expect(attempts == [(1, 1, "Completed"), (2, 1, "Completed")], f"{attempts}")
        newest = real.jobs(dag_id, run_id)[-1]["TrainingJobName"]
        expect(not real.checkpoints(newest, "restore"), "the second generation began with the first one's checkpoints")

    _in_both_modes(play)


def cleared_failure(real: Real) -> None:
    """A run whose job a person stopped fails; cleared, it resumes from the checkpoint in a second attempt."""

    def play(mode: str) -> None:
        dag_id = f"cleared_failure{mode}"
        run_id = real.start(dag_id)
        name = real.training(dag_id, run_id)["TrainingJobName"]
        real.sagemaker.stop_training_job(TrainingJobName=name)
        real.ends(dag_id, run_id, "failed")
        expect(real.attempts(dag_id, run_id) == [(1, 1, "Stopped")], f"{real.attempts(dag_id, run_id)}")
        real.clear(dag_id, run_id)
        real.ends(dag_id, run_id)
        attempts = real.attempts(dag_id, run_id)
        expect(attempts == [(1, 1, "Stopped"), (1, 2, "Completed")], f"{attempts}")
        newest = real.jobs(dag_id, run_id)[-1]["TrainingJobName"]
        expect(bool(real.checkpoints(newest, "restore")), "the second attempt began without a checkpoint")

    _in_both_modes(play)


def worker_killed(real: Real) -> None:
    """A worker that is killed, between create and deferral or while it waits, costs a try and no second job."""

    def play(mode: str) -> None:
        dag_id = f"worker_killed{mode}"
        run_id = real.start(dag_id)
        name = real.training(dag_id, run_id)["TrainingJobName"]
        if mode:  # the deferrable one kills itself: its worker lives for moments only
            real.kill_worker(dag_id)
        real.ends(dag_id, run_id)
        _one_job(real, dag_id, run_id, name)
        expect(real.tries(dag_id, run_id) == 2, f"try {real.tries(dag_id, run_id)}: the worker's death went unseen")

    _in_both_modes(play)


def timed_out(real: Real) -> None:
    """A task whose ``execution_timeout`` is over fails and has stopped its job, wherever it waits."""
    _gives_up(real, "timed_out")


def dagrun_timed_out(real: Real) -> None:
    """A task stops its job before the ``dagrun_timeout`` of its DAG run ends it without a word."""
    _gives_up(real, "dagrun_timed_out")


def reaped(real: Real) -> None:
    """Jobs that were left running by tasks that a user marked failed are found by the reaper, and stopped."""
    names = []
    for mode, state in _WAITS.items():
        dag_id = f"reaped{mode}"
        run_id = real.start(dag_id)
        names.append(name := real.training(dag_id, run_id)["TrainingJobName"])
        real.watched(dag_id, run_id, name, state=state)
        real.airflow.mark(dag_id, run_id, "train", "failed")
        real.airflow.wait(dag_id, run_id, timeout=300)
    time.sleep(5)  # what would stop them by itself would have done so
    expect(not any(real.stops(name) for name in names), "a job was stopped in spite of stop_on_kill=False")
    run_id = real.start("reaper")
    state = real.airflow.wait("reaper", run_id, timeout=300)
    expect(state == "success", f"the reaper's run is {state}")
    for name in names:
        until(partial(_is_stopped, real, name), f"{name} to stop")
        expect(real.mark_of(name) == "orphan 1", f"the mark is {real.mark_of(name)!r}")
        expect(len(real.stops(name)) == 1, "more than one StopTrainingJob")


def triggerer_restarted(real: Real) -> None:
    """A triggerer that ends in order and comes back stops nothing, and the run passes."""
    _without_triggerer(real, "triggerer_restarted", signal.SIGTERM)


def triggerer_killed(real: Real) -> None:
    """A triggerer that is killed and replaced stops nothing, and the run passes."""
    _without_triggerer(real, "triggerer_killed", signal.SIGKILL)


def scheduler_killed(real: Real) -> None:
    """
    A scheduler is killed and replaced while runs of both modes wait; both pass.

    Its workers live on as zombies. The new scheduler takes their tasks for lost and starts them again, so that each
    sync run has two workers at once. The zombie, told to end, may stop the job as long as no successor owns it; the
    successor then resumes from the checkpoint.
    """
    runs = {f"scheduler_killed{mode}": "" for mode in _WAITS}
    names = {}
    for dag_id in runs:
        runs[dag_id] = real.start(dag_id)
    for mode, state in _WAITS.items():
        dag_id = f"scheduler_killed{mode}"
        names[dag_id] = real.training(dag_id, runs[dag_id])["TrainingJobName"]
        real.watched(dag_id, runs[dag_id], names[dag_id], state=state)
    real.end_component("scheduler", signal.SIGKILL)
    real.start_component("scheduler")
    for dag_id, run_id in runs.items():
        _goes_on(real, dag_id, run_id, names[dag_id], may_stop=dag_id.endswith("_sync"))


def api_server_away(real: Real) -> None:
    """
    For a minute no API server answers, while runs of both modes wait; both pass.

    The worker's supervisor then ends a task that waits in it, which stops its job: the next try continues.
    """
    waiting = {}
    for mode, state in _WAITS.items():
        dag_id = f"api_server_away{mode}"
        run_id = real.start(dag_id)
        name = real.training(dag_id, run_id)["TrainingJobName"]
        real.watched(dag_id, run_id, name, state=state)
        waiting[dag_id] = run_id, name
    real.end_component(API_SERVER, signal.SIGKILL)
    time.sleep(60)
    real.start_component(API_SERVER)
    until(real.airflow._healthy, "the API server to answer")
    for dag_id, (run_id, name) in waiting.items():
        _goes_on(real, dag_id, run_id, name, may_stop=dag_id.endswith("_sync"))


def _goes_on(real: Real, dag_id: str, run_id: str, name: str, *, may_stop: bool) -> None:
    """The run passes with its one job, or, where a worker may have been told to end, with the next one after a stop."""
    real.ends(dag_id, run_id)
    attempts = real.attempts(dag_id, run_id)
    if not may_stop or len(attempts) == 1:
        _one_job(real, dag_id, run_id, name)
        return
    expect(attempts == [(1, 1, "Stopped"), (1, 2, "Completed")], f"{attempts}")
    stopped, completed = real.jobs(dag_id, run_id)
    mark, tries = StopMark.parse(real.mark_of(stopped["TrainingJobName"])), real.tries(dag_id, run_id)
    # Airflow 3 may tell the second try to end too, before a third one is the last.
    expect(mark is not None and mark.reason == "killed" and mark.try_number < tries, f"the mark is {mark}, {tries}")
    expect(bool(real.checkpoints(completed["TrainingJobName"], "restore")), "attempt 2 began without a checkpoint")


def _gives_up(real: Real, dag_id: str) -> None:
    def play(mode: str) -> None:
        run_id = real.start(dag_id + mode)
        name = real.training(dag_id + mode, run_id)["TrainingJobName"]
        real.ends(dag_id + mode, run_id, "failed")
        until(partial(_is_stopped, real, name), f"{name} to stop")
        attempts = real.attempts(dag_id + mode, run_id)
        expect(attempts == [(1, 1, "Stopped")], f"{attempts}")
        expect(real.mark_of(name) is not None, "the stop has no mark")
        expect(len(real.stops(name)) == 1, "more than one StopTrainingJob")

    _in_both_modes(play)


def _is_stopped(real: Real, name: str) -> bool:
    return bool(real.sagemaker.describe_training_job(TrainingJobName=name)["TrainingJobStatus"] == "Stopped")


def _without_triggerer(real: Real, dag_id: str, number: signal.Signals) -> None:
    run_id = real.start(dag_id)
    name = real.training(dag_id, run_id)["TrainingJobName"]
    real.watched(dag_id, run_id, name, state="deferred")
    real.end_component("triggerer", number)
    real.start_component("triggerer")
    real.ends(dag_id, run_id)
    _one_job(real, dag_id, run_id, name)


def _one_job(real: Real, dag_id: str, run_id: str, name: str) -> None:
    attempts = real.attempts(dag_id, run_id)
    expect(attempts == [(1, 1, "Completed")], f"{attempts}")
    expect(not real.stops(name), "the job was stopped")


def _in_both_modes(play: Callable[[str], None]) -> None:
    """Play the deferrable DAG and its sync sibling at once."""
    in_modes(tuple(_WAITS), play)


#: What a change is not merged without: few, since it is played on every version within minutes.
BOUNDED = (marked_failed, marked_before_deferring, taskflow)
#: What every version and Python is played.
SUPPORTED = (interrupted, marked_failed)
#: Then those which end processes of Airflow itself come last.
RECOVERY = (
    cleared,
    cleared_failure,
    retries_lowered,
    script_failed,
    variable_deleted,
    marked_before_deferring,
    marked_while_starting,
    marked_while_resuming,
    timed_out,
    dagrun_timed_out,
    reaped,
    worker_killed,
    triggerer_restarted,
    triggerer_killed,
    scheduler_killed,
)
#: Airflow 2 has no API server that its tasks would need.
RECOVERY_3 = (*RECOVERY, api_server_away)
