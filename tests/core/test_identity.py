"""Names are legal and known beforehand, runs are told apart, and no folder is a part of another."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from airflow_spot.core.identity import (
    JobName,
    RunIdentity,
    checkpoint_base,
    checkpoint_prefix,
    legal_prefix,
    name_filter,
    short_hash,
)
from airflow_spot.core.locations import check_s3_uri
from airflow_spot.core.parameter_errors import InvalidParameterError
from tests.core.cases import RUN

#: TrainingJobName's pattern in botocore's model.
SAGEMAKER_NAME = re.compile("[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")

ids = st.text(min_size=1, max_size=300)
runs = st.builds(RunIdentity, ids, ids, ids, ids, st.integers(-1, 5_000))
numbers = st.integers(1, 9_999)


@given(runs, ids, numbers, numbers)
@example(RUN, "a" * 40 + "-b", 1, 1)  # cut just behind the dash
def test_any_ids_give_a_legal_name_that_reads_back(
    run: RunIdentity, wanted: str, generation: int, attempt: int
) -> None:
    try:
        prefix = legal_prefix(wanted)
    except InvalidParameterError:
        assume(False)
    name = str(JobName(prefix, run.key, generation, attempt))
    assert len(name) <= 63
    assert SAGEMAKER_NAME.fullmatch(name)
    parsed = JobName.parse(name)
    assert parsed is not None
    assert (parsed.key, parsed.generation, parsed.number) == (run.key, generation, attempt)
    assert prefix.startswith(parsed.prefix)
    assert str(parsed) == name
    assert name_filter(run.key) in name


@given(numbers, numbers)
def test_a_prefix_that_looks_like_a_job_name_does_not_confuse(generation: int, attempt: int) -> None:
    other = JobName("x", "abcdefghij", 7, 7)
    assert JobName.parse(str(JobName(str(other), RUN.key, generation, attempt))) is not None
    parsed = JobName.parse(str(JobName(str(other), RUN.key, generation, attempt)))
    assert parsed is not None and (parsed.key, parsed.generation, parsed.number) == (RUN.key, generation, attempt)


@given(st.text())
def test_a_strangers_name_is_not_ours(text: str) -> None:
    parsed = JobName.parse(text)
    assert parsed is None or str(parsed) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "train",
        "train-afspot",
        "train-afspot-abcdefghij",
        "train-afspot-abcdefghij-1",
        "train-afspot-abcdefghij-0-1",
        "train-afspot-abcdefghij-1-0",
        "train-afspot-abcdefghij-01-1",
        "train-afspot-ABCDEFGHIJ-1-1",
        "train-afspot-abcdefghi-1-1",
        "train-afspot-abcdefghij-1-1-and-more",
        "-afspot-abcdefghij-1-1",
        "train-other-abcdefghij-1-1",
    ],
)
def test_nearly_ours_is_not_ours(text: str) -> None:
    assert JobName.parse(text) is None


@given(runs, runs)
def test_different_runs_have_different_keys(one: RunIdentity, other: RunIdentity) -> None:
    assert (one.key == other.key) == (one == other)


def test_every_part_of_the_identity_is_in_the_key() -> None:
    variants = [
        RUN,
        RunIdentity("other", RUN.dag_id, RUN.run_id, RUN.task_id),
        RunIdentity(RUN.namespace, "other", RUN.run_id, RUN.task_id),
        RunIdentity(RUN.namespace, RUN.dag_id, "other", RUN.task_id),
        RunIdentity(RUN.namespace, RUN.dag_id, RUN.run_id, "other"),
        RunIdentity(RUN.namespace, RUN.dag_id, RUN.run_id, RUN.task_id, 0),
        RunIdentity("a-namespacea", "_dag", RUN.run_id, RUN.task_id),
    ]
    assert len({run.key for run in variants}) == len(variants)


def test_the_key_never_changes() -> None:
    """It names jobs that exist: a change would make every unfinished run unknown."""
    assert RUN.key == "g4zplcagwl"


@pytest.mark.parametrize(
    ("text", "prefix"),
    [
        ("train", "train"),
        ("group.train_model", "group-train-model"),
        ("Größe ✓", "Groe"),
        ("--a--b--", "a-b"),
        ("ﬁne", "fine"),
        ("2026-01-01T00:00:00+00:00", "2026-01-01T00-00-00-00-00"),
    ],
)
def test_a_legal_prefix_keeps_what_it_can(text: str, prefix: str) -> None:
    assert legal_prefix(text) == prefix


@pytest.mark.parametrize("text", ["", "---", "訓練", "✓✓"])
def test_a_name_that_cannot_be_made_legal_is_refused(text: str) -> None:
    with pytest.raises(InvalidParameterError) as refused:
        legal_prefix(text)
    assert refused.value.name == "TrainingJobName"
    assert repr(text) in str(refused.value)
    assert "at least one letter" in str(refused.value)


@given(runs, st.lists(numbers, min_size=2, max_size=6, unique=True))
def test_no_generations_folder_is_the_beginning_of_anothers(run: RunIdentity, generations: list[int]) -> None:
    folders = [checkpoint_prefix("s3://bucket/base", run, generation) for generation in generations]
    for one in folders:
        assert [other for other in folders if other.startswith(one)] == [one]


@given(runs, runs, numbers, numbers)
def test_no_runs_folder_is_the_beginning_of_anothers(
    one: RunIdentity, other: RunIdentity, mine: int, theirs: int
) -> None:
    assume(one != other)
    first, second = checkpoint_prefix("s3://b", one, mine), checkpoint_prefix("s3://b", other, theirs)
    assert not first.startswith(second)
    assert not second.startswith(first)


@given(runs, numbers)
@example(RunIdentity("n", "..", "r", "."), 1)
def test_the_folder_keeps_its_base_and_is_a_plain_key(run: RunIdentity, generation: int) -> None:
    base = "s3://bucket/Größe/with space"
    for written in (base, f"{base}/", f"{base}//"):
        folder = checkpoint_prefix(written, run, generation)
        assert folder.startswith(f"{base}/")
        assert len(folder) - len(base) <= 200
        added = folder.removeprefix(f"{base}/").split("/")
        assert len(added) == 5
        assert checkpoint_base(folder, run) == written.rstrip("/")
        assert all(re.fullmatch(r"[A-Za-z0-9._-]+", part) for part in added)
        assert not {".", ".."}.intersection(added)


@pytest.mark.parametrize("uri", ["s3://bucket", "s3://bucket/", "s3://my.bucket-1/a/b c/ü", "s3://b1_c/x"])
def test_an_s3_uri_passes(uri: str) -> None:
    assert check_s3_uri("checkpoint_s3_uri", uri) == uri


@pytest.mark.parametrize(
    "uri", ["", "bucket/a", "/tmp/a", "s3:/bucket", "s3://", "s3:///a", "s3://-b/a", "https://s3/b"]
)
def test_what_is_no_s3_uri_is_refused_by_name(uri: str) -> None:
    with pytest.raises(InvalidParameterError) as refused:
        check_s3_uri("checkpoint_s3_uri", uri)
    assert refused.value.name == "checkpoint_s3_uri"
    assert repr(uri) in str(refused.value)
    assert "s3://bucket/prefix" in str(refused.value)


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("s3://b/o", "the bucket's name 'b' is too short, S3's have at least 3 characters: must be an S3 URI"),
        (f"s3://{'b' * 256}/o", "the bucket's name is too long: must be an S3 URI"),
        ("s3://-bb/o", "'-bb' cannot be a bucket's name, of letters"),
        ("s3:///o", "must be an S3 URI: s3://bucket/prefix"),
    ],
    ids=range(4),
)
def test_what_is_wrong_with_a_bucket_is_said(uri: str, said: str) -> None:
    with pytest.raises(InvalidParameterError) as refused:
        check_s3_uri("model_s3_uri", uri)
    assert refused.value.fix.startswith(said)


def test_a_hash_follows_the_value_and_not_its_order() -> None:
    assert short_hash({"a": 1, "b": 2}) == short_hash({"b": 2, "a": 1})
    assert short_hash({"a": 1}) != short_hash({"a": 2})
    assert re.fullmatch("[a-z2-7]{8}", short_hash(None))
