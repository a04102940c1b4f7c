"""The links lead to the run's pages in the console of its region and partition, and each is one XCom."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from airflow.sdk.bases.xcom import BaseXCom

from airflow_spot.links import console
from airflow_spot.links.console import Place, folder_url, job_url, logs_url, object_url
from airflow_spot.links.training import KEPT_LINKS, LINKS, SageMakerTrainingJobLink, SpotTimelineLink
from airflow_spot.local.page.handler import PREFIX
from tests.support.task import TaskInstance

JOB = "train-afspot-abcdefghij-1-1"
HERE = Place("eu-west-1")
LOCAL = Place("eu-west-1", endpoint_url="http://127.0.0.1:4599")


def test_the_job() -> None:
    link = urlsplit(job_url(HERE, JOB))
    assert (link.scheme, link.netloc, link.path) == ("https", "console.aws.amazon.com", "/sagemaker/home")
    assert parse_qs(link.query)["region"] == ["eu-west-1"]
    assert link.fragment == f"/jobs/{JOB}"


def test_the_logs_are_of_all_restarts_and_of_no_other_job() -> None:
    link = urlsplit(logs_url(HERE, JOB))
    assert parse_qs(link.query)["region"] == ["eu-west-1"]
    # The console writes its fragment encoded twice, with $ for %.
    plain = unquote(unquote(link.fragment.replace("$", "%")))
    assert plain == (f"logsV2:log-groups/log-group//aws/sagemaker/TrainingJobs?logStreamNameFilter={JOB}/")


def test_the_checkpoints_whatever_the_prefix_holds() -> None:
    link = urlsplit(folder_url(HERE, "s3://a-bucket/a b/ü&x=1#y/g0001", JOB))
    assert link.path == "/s3/buckets/a-bucket"
    assert not link.fragment
    assert parse_qs(link.query) == {"region": ["eu-west-1"], "prefix": ["a b/ü&x=1#y/g0001/"]}


def test_the_model_is_one_object() -> None:
    link = urlsplit(object_url(HERE, f"s3://a-bucket/out put/{JOB}/output/model.tar.gz", JOB))
    assert link.path == "/s3/object/a-bucket"
    assert parse_qs(link.query) == {"region": ["eu-west-1"], "prefix": [f"out put/{JOB}/output/model.tar.gz"]}


@pytest.mark.parametrize(
    ("partition", "region", "host"),
    [
        ("aws", "eu-west-1", "console.aws.amazon.com"),
        ("aws-cn", "cn-north-1", "console.amazonaws.cn"),
        ("aws-us-gov", "us-gov-west-1", "console.amazonaws-us-gov.com"),
        ("aws-eusc", "eusc-de-east-1", "console.amazonaws-eusc.eu"),
    ],
)
def test_every_partition_has_its_console(partition: str, region: str, host: str) -> None:
    place = Place(region, partition)
    urls = (
        job_url(place, JOB),
        logs_url(place, JOB),
        folder_url(place, "s3://b/p", JOB),
        object_url(place, "s3://b/k", JOB),
    )
    assert {urlsplit(url).netloc for url in urls} == {host}


def test_a_partition_whose_console_is_not_known_has_no_link() -> None:
    place = Place("us-iso-east-1", "aws-iso")
    assert {job_url(place, JOB), logs_url(place, JOB), folder_url(place, "s3://b/p", JOB)} == {""}


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:4599", "http://localhost:4599/", "http://[::1]:4599"])
def test_local_sagemaker_shows_its_own_jobs(endpoint: str) -> None:
    place = Place("eu-west-1", endpoint_url=endpoint)
    base = f"{endpoint.rstrip('/')}{PREFIX}training/eu-west-1/{JOB}"
    assert job_url(place, JOB) == base
    assert folder_url(place, "s3://b/p", JOB).partition("#")[0] == base
    assert logs_url(place, JOB).partition("#")[0] == object_url(place, "s3://b/k", JOB).partition("#")[0] == base


def test_an_endpoint_elsewhere_is_aws() -> None:
    place = Place("eu-west-1", endpoint_url="https://api.sagemaker.eu-west-1.amazonaws.com")
    assert job_url(place, JOB) == job_url(HERE, JOB)


def test_local_sagemakers_pages_are_where_it_says() -> None:
    assert f"{console.LOCAL_PAGES}/" == PREFIX


# ---- one XCom each


class Rows:
    """The XComs of Airflow 3's database, written and read past any backend."""

    def __init__(self) -> None:
        self.rows: dict[tuple[Any, ...], Any] = {}
        self.writes: list[str] = []

    def write(self, key: str, value: Any, **ids: Any) -> None:
        self.rows[self._place(key, ids)] = value
        self.writes.append(key)

    def read(self, *, key: str, **ids: Any) -> Any:
        return SimpleNamespace(value=self.rows.get(self._place(key, ids)))

    @staticmethod
    def _place(key: str, ids: dict[str, Any]) -> tuple[Any, ...]:
        return (ids["dag_id"], ids["run_id"], ids["task_id"], ids["map_index"], key)


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> Iterator[Rows]:
    kept = Rows()
    monkeypatch.setattr(BaseXCom, "_set_xcom_in_db", kept.write)
    monkeypatch.setattr(BaseXCom, "_get_xcom_db_ref", kept.read)
    yield kept


def task_ends(ti: Any) -> None:
    """What Airflow 3's task runner does with links whenever a task ends, fails or defers."""
    for link in (kind() for kind in LINKS):
        BaseXCom._set_xcom_in_db(
            key=link.xcom_key,
            value=link.get_link(operator=None, ti_key=ti),
            dag_id=ti.dag_id,
            task_id=ti.task_id,
            run_id=ti.run_id,
            map_index=ti.map_index,
        )


def test_what_airflow_pushes_at_the_end_is_the_same_row(rows: Rows) -> None:
    ti: Any = TaskInstance("train", map_index=3)
    for kind in KEPT_LINKS:
        kind.keep(ti, f"https://console.example/{kind.key}")
    SpotTimelineLink.keep_own(ti)
    kept = dict(rows.rows)
    task_ends(ti)
    assert rows.rows == kept
    assert len(kept) == len(LINKS) == 5
    assert not ti.xcoms


def test_another_task_instances_link_is_not_shown(rows: Rows) -> None:
    ti: Any = TaskInstance("train", map_index=3)
    SageMakerTrainingJobLink.keep(ti, "https://console.example/")
    other: Any = TaskInstance("train", map_index=4)
    assert SageMakerTrainingJobLink().get_link(None, ti_key=ti) == "https://console.example/"
    assert SageMakerTrainingJobLink().get_link(None, ti_key=other) == ""


def test_where_the_database_is_not_to_be_reached_so_it_is_an_xcom_like_others() -> None:
    ti: Any = TaskInstance("train")
    SageMakerTrainingJobLink.keep(ti, "https://console.example/")
    assert ti.xcoms == {SageMakerTrainingJobLink.key: "https://console.example/"}


@pytest.mark.parametrize("kind", LINKS)
@pytest.mark.parametrize("value", [None, 7, {"job_name": "x"}])
def test_a_task_without_a_job_has_no_link_and_no_error(
    kind: Any, value: Any, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Airflow 3.0 a link that raises breaks the task."""
    monkeypatch.setattr(rows, "read", lambda **_: SimpleNamespace(value=value))
    monkeypatch.setattr(BaseXCom, "_get_xcom_db_ref", rows.read)
    ti = TaskInstance("train")
    assert (kind().get_link(None, ti_key=ti) == "") is (kind is not SpotTimelineLink)
    assert kind().get_link(None, ti_key=None) == ""


@pytest.mark.parametrize(
    ("base_url", "prefix"),
    [(None, ""), ("http://localhost:8080", ""), ("https://example.com/af/", "/af")],
)
def test_the_timelines_page_is_below_airflows_own(
    monkeypatch: pytest.MonkeyPatch, base_url: str | None, prefix: str
) -> None:
    monkeypatch.delenv("AIRFLOW__API__BASE_URL", raising=False)
    if base_url is not None:
        monkeypatch.setenv("AIRFLOW__API__BASE_URL", base_url)
    ti = TaskInstance("group.train", "a dag", "manual__2026-01-01T00:00:00+00:00", 2)
    url = SpotTimelineLink().get_link(None, ti_key=ti)
    assert url.startswith(f"{prefix}/airflow-spot/")
    assert [unquote(part) for part in url.split("/")][-4:] == ["a dag", ti.run_id, "group.train", "2"]


def test_names_and_keys_are_distinct() -> None:
    assert len({kind.name for kind in LINKS}) == len({kind.key for kind in LINKS}) == len(LINKS)
    assert all(kind().xcom_key == kind.key for kind in LINKS)
