"""
What stands on jobs that exist, letter for letter.

A change here makes unfinished runs unknown to the version that brings it. See docs/decisions/0001-identity.md.
"""

from __future__ import annotations

from airflow_spot.core.identity import MARKER, JobName, RunIdentity, checkpoint_prefix, name_filter
from airflow_spot.core.marks import RequestMark, StopMark, encode_tag, fingerprint, run_tags, tag_map
from airflow_spot.core.roles import Role
from airflow_spot.core.run_marker import marker_text
from airflow_spot.core.stop_reasons import StopReason
from airflow_spot.core.try_marks import TryMark

MAPPED = RunIdentity("prod", "dag=1 ✓", "scheduled__2026-01-01T00:00:00+00:00", "group.train", 4)
PLAIN = RunIdentity("a-namespace", "a_dag", "manual__2026-01-01T00:00:00+00:00", "train")


def test_keys() -> None:
    assert PLAIN.key == "g4zplcagwl"
    assert MAPPED.key == "zx5la55iq5"


def test_names() -> None:
    assert MARKER == "afspot"
    assert name_filter(PLAIN.key) == "afspot-g4zplcagwl-"
    assert str(JobName("train-model", PLAIN.key, 2, 13)) == "train-model-afspot-g4zplcagwl-2-13"
    assert str(JobName("train", PLAIN.key, 2, 3, Role.PROBE)) == "train-afspot-g4zplcagwl-2-p3"
    assert str(JobName("train", PLAIN.key, 2, 3, Role.STANDBY)) == "train-afspot-g4zplcagwl-2-s3"
    assert str(JobName("x" * 80, PLAIN.key, 1, 1)) == f"{'x' * 41}-afspot-g4zplcagwl-1-1"


def test_folders() -> None:
    assert checkpoint_prefix("s3://bucket/base/", PLAIN, 12) == (
        "s3://bucket/base/a-namespace-vgtjwa6i/a_dag-mtzvjfqq/train-cfxvjra5/g4zplcagwl/g0012"
    )
    assert checkpoint_prefix("s3://b", MAPPED, 1) == (
        "s3://b/prod-m5kk7frs/dag_1_-4vrcrheu/group.train-thrativw/zx5la55iq5/g0001"
    )


def test_the_marker() -> None:
    assert marker_text(MAPPED) == (
        '{"v": 1, "namespace": "prod", "dag_id": "dag=1 \\u2713", '
        '"run_id": "scheduled__2026-01-01T00:00:00+00:00", "task_id": "group.train", "map_index": 4}'
    )


def test_tags() -> None:
    assert tag_map(run_tags(MAPPED, 3)) == {
        "airflow-spot:dag": "dag=3D1 =E2=9C=93",
        "airflow-spot:run": "scheduled__2026-01-01T00:00:00+00:00",
        "airflow-spot:task": "group.train",
        "airflow-spot:map-index": "4",
        "airflow-spot:owner": "3",
        "airflow-spot:role": "attempt",
    }
    assert encode_tag("é" * 100) == f"{'=C3=A9' * 41}==xbu5a2wl"


def test_marks() -> None:
    assert (
        str(TryMark(2, 5, 3, 1)),
        str(TryMark(2, 5)),
        str(StopMark("killed", 2)),
        str(RequestMark("on-demand", 4)),
    ) == (
        "2 5 3 1",
        "2 5 - -",
        "killed 2",
        "on-demand 4",
    )
    assert {reason.name: reason.value for reason in StopReason} == {
        "KILLED": "killed",
        "TIMEOUT": "timeout",
        "FAILURE": "failure",
        "RUNG_TIMEOUT": "rung-timeout",
        "CAPACITY_TIMEOUT": "capacity-timeout",
        "MAX_TOTAL_RUN": "max-total-run",
        "RESTART": "restart",
        "SUPERSEDED": "superseded",
        "CLI": "cli",
        "ORPHAN": "orphan",
        "MOVE": "move",
        "REQUEST": "request",
        "NO_PROGRESS": "no-progress",
        "MAX_COST": "max-cost",
        "DEADLINE": "deadline",
        "PROBE": "probe",
        "WITHDRAWN": "withdrawn",
    }


def test_the_fingerprint() -> None:
    """Not a matter of finding the job: another would say of every job that its configuration changed."""
    request = {
        "AlgorithmSpecification": {"TrainingImage": "image:1", "TrainingInputMode": "File"},
        "HyperParameters": {
            "depth": "6",
            "sagemaker_program": '"train.py"',
            "sagemaker_submit_directory": '"s3://bucket/code/0123/sourcedir.tar.gz"',
            "sagemaker_region": '"us-east-1"',
        },
        "InputDataConfig": [{"ChannelName": "train", "DataSource": {"S3DataSource": {"S3Uri": "s3://bucket/data"}}}],
    }
    assert fingerprint(request) == "image:zikoi54b script:ynpnlbmo hyperparameters:xu2vtjb6 channels:qisj5nfa"
