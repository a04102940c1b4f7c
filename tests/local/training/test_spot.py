"""Capacity that comes and goes: interruptions, checkpoints, waits, and what they cost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_spot.local import LocalSageMaker
from airflow_spot.local.clock import Clock
from airflow_spot.local.faults.plan import Faults
from airflow_spot.local.market.capacity import Capacity
from airflow_spot.local.market.prices import spot_discount
from airflow_spot.local.settings import Settings
from airflow_spot.local.storage.audit import Audit
from airflow_spot.local.training.job import TrainingJob
from airflow_spot.local.training.lifecycle import Lifecycle
from airflow_spot.local.training.simulated_instances import SimulatedInstances
from tests.local.jobs import Jobs, counter, statuses, until

ODD_MARKET = "ml.c5.2xlarge=never;ml.c5.xlarge=script:fail=100;*=always"
SPOT_WAIT = {"MaxRuntimeInSeconds": 1, "MaxWaitTimeInSeconds": 1}


@pytest.fixture(scope="module")
def odd() -> Iterator[Jobs]:
    """A service whose markets differ by instance type, with hard kills."""
    with LocalSageMaker(
        market=ODD_MARKET,
        on_demand_market="ml.c5.2xlarge=never;*=always",
        reclaim="kill",
        pending_timeout_seconds=0.5,
        checkpoint_seconds=0.2,
        grace_seconds=1,
    ) as service:
        yield Jobs(service)


def on(instance_type: str) -> dict[str, Any]:
    return {"InstanceType": instance_type, "InstanceCount": 1, "VolumeSizeInGB": 1}


def prove_resumption(jobs: Jobs, name: str) -> None:
    """Every start began from exactly what the starts before it had uploaded, and one start at a time wrote."""
    in_s3: dict[str, str] = {}
    running: set[int] = set()
    restored: dict[int, dict[str, str]] = {}
    for line in [line for line in jobs.sm.audit if line.get("job") == name]:
        if line["event"] == "checkpoint":
            if line["action"] == "restore":
                restored.setdefault(line["start"], {})[line["key"]] = line["etag"]
            elif line["action"] == "upload":
                in_s3[line["key"]] = line["etag"]
            else:
                in_s3.pop(line["key"])
        elif line["event"] == "process" and line["action"] == "started":
            assert not running
            running.add(line["start"])
            assert restored.get(line["start"], {}) == in_s3
        elif line["event"] == "process":
            running.discard(line["start"])
    assert not running


def test_an_interruption_resumes_from_the_checkpoint_in_a_new_process(jobs: Jobs) -> None:
    name = jobs.start(counter(16, hold=8))
    # It waits there: SIGTERM cannot come between a checkpoint and its line.
    jobs.wait_for_line(name, "step 8")
    jobs.sm.interrupt(name)
    job = jobs.end(name)
    assert statuses(job) == [
        *("Starting", "Downloading", "Training", "Interrupted"),
        *("Starting", "Downloading", "Training", "Uploading", "Completed"),
    ]
    first, second = jobs.output(name)
    assert first[0] == "first 1"
    # The reclaim was gentle, so that the last upload has the last step.
    assert (first[-1], second[0], second[-1]) == ("step 8", "first 9", "step 16")
    pids = [line["pid"] for line in jobs.events("process", job=name, action="started")]
    assert len(set(pids)) == 2
    prove_resumption(jobs, name)


ENDLESS = """
    import os, time
    def load(name):
        return int(open(name).read()) if os.path.exists(name) else 0
    def save(name, number):
        with open(name + ".tmp", "w") as file:
            file.write(str(number))
        os.replace(name + ".tmp", name)
    os.chdir("/opt/ml/checkpoints")
    starts, count = load("starts") + 1, load("count")
    save("starts", starts)
    print(f"first {count + 1}")
    while True:
        time.sleep(0.05)
        count += 1
        print(f"step {count}")  # before its checkpoint: what was uploaded is in the log
        save("count", count)
        if starts == 3 and count >= 40:
            break
    save("/opt/ml/model/count", count)
"""
"""Counts to 40 or more, and in its first two starts on and on."""


def test_a_market_that_comes_and_goes_with_hard_kills(odd: Jobs) -> None:
    name = odd.start(ENDLESS)
    for start in (1, 2):
        # A few steps after the first upload, so that there is something to lose.
        uploads = {"job": name, "action": "upload", "start": start, "key": "count"}
        until(lambda uploads=uploads: len(odd.events("checkpoint", **uploads)) >= 3, "it trains")  # type: ignore[misc]
        odd.sm.set_market("never")
        until(lambda: waits(odd.describe(name)) == start, "it waits for capacity again")  # noqa: B023
        odd.sm.set_market(ODD_MARKET)
    job = odd.end(name)
    assert job["TrainingJobStatus"] == "Completed"
    assert statuses(job).count("Interrupted") == 2
    prove_resumption(odd, name)
    starts = [int(lines[0].split()[1]) for lines in odd.output(name)]
    ends = [int(lines[-1].split()[1]) for lines in odd.output(name)]
    assert odd.model(name) == {"count": str(ends[-1]).encode()}
    assert ends[-1] >= 40
    assert len(starts) == 3
    for start, end in zip(starts[1:], ends, strict=False):
        # A hard kill loses what was not uploaded, and never all.
        assert 1 < start <= end + 1


def waits(job: dict[str, Any]) -> int:
    """How often a job that waits for capacity was interrupted; 0 if it does not wait."""
    waiting = "Insufficient capacity" in job["SecondaryStatusTransitions"][-1]["StatusMessage"]
    return statuses(job).count("Interrupted") if waiting else 0


def test_times_add_up_over_restarts(odd: Jobs) -> None:
    name = odd.start(counter(50, hold=25))
    odd.wait_for_checkpoint(name)
    odd.sm.interrupt(name, capacity_gap=2.5)
    job = odd.end(name)
    spans, between = [], 0.0
    begin = None
    for transition in job["SecondaryStatusTransitions"]:
        if transition["Status"] == "Downloading":
            if begin is not None:
                between = (transition["StartTime"] - begin).total_seconds() - spans[0]
            begin = transition["StartTime"]
        if transition["Status"] in ("Interrupted", "Completed"):
            assert begin is not None
            spans.append((transition["StartTime"] - begin).total_seconds())
    assert len(spans) == 2
    assert abs(job["TrainingTimeInSeconds"] - sum(spans)) <= 1
    whole = (job["TrainingEndTime"] - job["TrainingStartTime"]).total_seconds()
    assert between > 0
    assert abs(whole - between - job["TrainingTimeInSeconds"]) <= 1
    assert abs(job["BillableTimeInSeconds"] - job["TrainingTimeInSeconds"] * (1 - spot_discount("ml.m5.large"))) <= 1


def test_on_demand_bills_all_and_is_not_interrupted(odd: Jobs) -> None:
    script = "import os, time\nwhile not os.path.exists('/opt/ml/input/go'):\n    time.sleep(0.02)\ntime.sleep(1.1)"
    name = odd.start(script, spot=False)
    odd.reach(name, "Training")
    with pytest.raises(RuntimeError, match="on-demand"):
        odd.sm.interrupt(name)
    odd.release(name)
    job = odd.end(name)
    assert job["TrainingJobStatus"] == "Completed"
    assert job["BillableTimeInSeconds"] == job["TrainingTimeInSeconds"] >= 1
    assert job["EnableManagedSpotTraining"] is False


def test_a_spot_job_that_never_gets_capacity(odd: Jobs) -> None:
    job = odd.run("pass", ResourceConfig=on("ml.c5.2xlarge"), StoppingCondition=SPOT_WAIT)
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "MaxWaitTimeExceeded")
    assert statuses(job) == ["Starting", "Stopping", "MaxWaitTimeExceeded"]
    for absent in ("TrainingStartTime", "TrainingEndTime", "FailureReason", "TrainingTimeInSeconds"):
        assert absent not in job
    assert odd.events("process", job=job["TrainingJobName"]) == []


def test_on_demand_without_capacity_fails(odd: Jobs) -> None:
    job = odd.run("pass", spot=False, ResourceConfig=on("ml.c5.2xlarge"))
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"] == (
        "CapacityError: Unable to provision requested ML compute capacity. "
        "Please retry using a different ML instance type."
    )
    assert "Pending" in statuses(job)
    assert "TrainingStartTime" not in job


def test_a_market_segment_that_fails(odd: Jobs) -> None:
    job = odd.run("pass", ResourceConfig=on("ml.c5.xlarge"))
    assert job["FailureReason"].startswith("CapacityError: ")


def test_one_interruption_may_end_without_another_instance(odd: Jobs) -> None:
    name = odd.start(counter(600))
    odd.wait_for_checkpoint(name)
    odd.sm.interrupt(name, refuse=True)
    job = odd.end(name)
    assert (job["TrainingJobStatus"], statuses(job)[-3:]) == ("Failed", ["Interrupted", "Starting", "Failed"])
    assert job["FailureReason"].startswith("CapacityError: ")
    # No other job is refused: the market has instances.
    assert odd.run("pass")["TrainingJobStatus"] == "Completed"


class HandClock(Clock):
    """A clock that stands until it is moved on."""

    def __init__(self) -> None:
        super().__init__()
        self.time = 1_000.0

    def now(self) -> float:
        return self.time


def life_of(clock: Clock, folder: Path, *, market: str, simulated: int, limits: dict[str, int]) -> Lifecycle:
    """A job of the simulated engine that nobody drives but the test."""
    backend: Any = SimpleNamespace(
        audit=Audit(folder / "audit.jsonl", clock),
        capacity=Capacity(clock, market, "always"),
        clock=clock,
        events=SimpleNamespace(changed=lambda *_: None),
        faults=Faults(""),
        journal=SimpleNamespace(changed=lambda _: None),
        settings=Settings("", reclaim="kill"),
        store=SimpleNamespace(tags={}),
    )
    request = {
        "EnableManagedSpotTraining": True,
        "HyperParameters": {"simulated_seconds": str(simulated)},
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/out"},
        "ResourceConfig": on("ml.m5.large"),
        "StoppingCondition": limits,
    }
    job = TrainingJob("us-east-1", "job", request, clock.now())
    return Lifecycle(backend, job, lambda job: SimulatedInstances(backend, job, folder))


STARTS = ["Starting", "Downloading", "Training"]


@pytest.mark.parametrize(
    ("trains", "then"),
    [
        (12, ["Interrupted", *STARTS]),  # its script ended after its instance had gone
        (8, ["Uploading"]),  # and here before
    ],
)
def test_a_service_that_looks_late_tells_an_interrupted_job_from_a_completed_one(
    tmp_path: Path, trains: int, then: list[str]
) -> None:
    """The instance is there for 10 s, and looked at after 30."""
    clock = HandClock()
    limits = {"MaxRuntimeInSeconds": 100, "MaxWaitTimeInSeconds": 200}
    life = life_of(clock, tmp_path, market="script:up=10,down=5,up=inf", simulated=trains, limits=limits)
    steps = life.run()
    for delay in steps:
        clock.time += 30 if life.job.secondary == "Training" else delay
        if statuses(life.job.describe(clock.now()))[3:] == then:
            break
    found = statuses(life.job.describe(clock.now()))
    assert found[: len(STARTS) + len(then)] == [*STARTS, *then]


def test_waiting_counts_to_max_wait_and_not_to_max_runtime(tmp_path: Path) -> None:
    clock = HandClock()
    limits = {"MaxRuntimeInSeconds": 100, "MaxWaitTimeInSeconds": 100}
    life = life_of(clock, tmp_path, market="always", simulated=3600, limits=limits)
    job = life.job
    for delay in life.run():
        if job.secondary == "Training":
            clock.time += 30
            life.request_reclaim(capacity_gap=600)
        else:
            clock.time += delay
    told = job.describe(clock.now())
    assert statuses(told) == [
        *("Starting", "Downloading", "Training", "Interrupted"),
        *("Starting", "Stopping", "MaxWaitTimeExceeded"),
    ]
    assert told["TrainingTimeInSeconds"] == 30
    assert clock.now() - job.creation_time == 100


def test_a_waiting_job_starts_when_capacity_comes_and_can_be_stopped(odd: Jobs) -> None:
    odd.sm.set_market("never")
    try:
        waiting, stopped = odd.start("print('ran')"), odd.start("pass")
        until(
            lambda: "Insufficient" in odd.describe(waiting)["SecondaryStatusTransitions"][-1]["StatusMessage"],
            "it says that it waits",
        )
        odd.sagemaker.stop_training_job(TrainingJobName=stopped)
        job = odd.end(stopped)
        assert (job["SecondaryStatus"], "TrainingStartTime" in job) == ("Stopped", False)
    finally:
        odd.sm.set_market(ODD_MARKET)
    assert odd.end(waiting)["TrainingJobStatus"] == "Completed"


def test_checkpoints_that_are_deleted_are_deleted_in_s3_and_folders_are_kept(jobs: Jobs) -> None:
    job = jobs.run(
        """
        import os, time
        os.makedirs("/opt/ml/checkpoints/deep/er")
        os.chdir("/opt/ml/checkpoints/deep/er")
        for number in range(4):
            open(f"{number}", "w").write("x" * number)
            if number >= 2:
                while not os.path.exists(f"{number - 2}.sagemaker-uploaded"):
                    time.sleep(0.02)
                os.remove(f"{number - 2}")
        """
    )
    name = job["TrainingJobName"]
    assert jobs.keys(f"checkpoints/{name}") == [f"checkpoints/{name}/deep/er/{number}" for number in (2, 3)]
    deleted = jobs.events("checkpoint", job=name, action="delete")
    assert [line["key"] for line in deleted] == ["deep/er/0", "deep/er/1"]


def test_checkpoints_are_uploaded_while_a_job_runs_and_after_its_end(jobs: Jobs) -> None:
    script = """
        import os, time
        os.chdir("/opt/ml/checkpoints")
        for count in (1, 2, 3):
            with open("count.sagemaker-ignore", "w") as file:
                file.write(str(count))
            os.replace("count.sagemaker-ignore", "count")
            while count < 3 and not os.path.exists("count.sagemaker-uploaded"):
                time.sleep(0.02)
            if count < 3:
                os.remove("count.sagemaker-uploaded")
    """
    name = jobs.run(script)["TrainingJobName"]
    story = [line for line in jobs.sm.audit if line.get("job") == name]
    assert Settings("").checkpoint_seconds <= 2
    actions = [line["action"] for line in story if line["event"] in ("process", "checkpoint")]
    assert actions[: actions.index("exited")].count("upload") >= 2
    assert jobs.get(f"s3://bucket/checkpoints/{name}/count") == b"3"


def test_a_new_job_with_the_same_prefix_resumes(jobs: Jobs) -> None:
    prefix = {"S3Uri": f"{jobs.put('seed/count', '7').rpartition('/')[0]}/"}
    job = jobs.run(counter(9), CheckpointConfig=prefix)
    assert jobs.output(job["TrainingJobName"])[0] == ["first 8", "step 8", "step 9"]
    assert jobs.get("s3://bucket/seed/count") == b"9"


@pytest.mark.parametrize(("reclaim", "warned"), [("term", True), ("kill", False)])
def test_one_interruption_may_be_of_another_kind_than_the_services(jobs: Jobs, reclaim: str, warned: bool) -> None:
    """With SIGTERM the script says goodbye; whichever service it is."""
    script = """
        import os, signal, sys, time
        def leave(*_):
            open("/opt/ml/checkpoints/warned", "w").close()
            sys.exit(0)
        signal.signal(signal.SIGTERM, leave)
        if not os.path.exists("/opt/ml/checkpoints/begun"):
            open("/opt/ml/checkpoints/begun", "w").close()
            time.sleep(600)
        print("warned:", os.path.exists("/opt/ml/checkpoints/warned"))
    """
    name = jobs.start(script)
    jobs.wait_for_checkpoint(name)
    jobs.sm.interrupt(name, reclaim=reclaim)
    assert jobs.end(name)["TrainingJobStatus"] == "Completed"
    assert jobs.output(name)[-1] == [f"warned: {warned}"]
    with pytest.raises(RuntimeError, match="it can be 'term' or 'kill'"):
        jobs.sm.interrupt(name, reclaim="gently")
