"""The web page: what it shows, what it keeps to itself, and whom it does not obey."""

from __future__ import annotations

import http.client
import re
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from airflow_spot.local import LocalSageMaker
from airflow_spot.local.app import build
from airflow_spot.local.backend import Backend
from airflow_spot.local.page import content
from airflow_spot.local.page.handler import PREFIX, Page
from airflow_spot.local.settings import Settings
from airflow_spot.local.training.job import TRAINING_JOBS, TrainingJob
from airflow_spot.render.words import duration
from tests.local.jobs import ROLE, Jobs, counter, statuses, until
from tests.render.checks import check

HTML = {"Accept": "text/html,application/xhtml+xml"}
HOSTILE = "<script>alert('x')</script><img src=x onerror=alert(1)>\x1b[31m\x00\u202e"
SIMULATED = {"simulated_seconds": "600", "simulated_checkpoint_seconds": "1"}


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    text: str

    @property
    def token(self) -> str:
        found = re.search(r'name="token" value="([^"]+)"', self.text)
        assert found is not None
        return found[1]


def ask(sm: LocalSageMaker, method: str, path: str, body: str = "", **headers: str | None) -> Answer:
    """One request, with headers just as they are given: ``Content_Type`` is Content-Type, None is none."""
    address = urlsplit(sm.endpoint_url).netloc
    given = {"Host": address, **HTML, **{name.replace("_", "-"): value for name, value in headers.items()}}
    connection = http.client.HTTPConnection(address, timeout=120)
    try:
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in given.items():
            if value is not None:
                connection.putheader(name, value)
        if body:
            connection.putheader("Content-Type", "application/x-www-form-urlencoded")
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body.encode() or None)
        response = connection.getresponse()
        return Answer(response.status, dict(response.getheaders()), response.read().decode())
    finally:
        connection.close()


def press(
    sm: LocalSageMaker, action: str, headers: dict[str, str | None] | None = None, **fields: str | None
) -> Answer:
    """Send one of the page's forms as a browser does, with what is given instead or (None) left out."""
    token = ask(sm, "GET", "/").token
    sent = {"token": token, "back": "/", "region": "us-east-1", **fields}
    body = urlencode({name: value for name, value in sent.items() if value is not None})
    return ask(sm, "POST", PREFIX + action, body, **{"Origin": sm.endpoint_url, **(headers or {})})


def page_of(name: str) -> str:
    return f"{PREFIX}training/us-east-1/{name}"


@pytest.fixture
def simulated(simulated_jobs: Jobs) -> Iterator[Jobs]:
    """Jobs that train for ten minutes; none does, and the market is as ever, once the test has ended."""
    yield simulated_jobs
    simulated_jobs.sm.set_market("always")
    live = simulated_jobs.sagemaker.list_training_jobs(StatusEquals="InProgress", MaxResults=100)
    for line in live["TrainingJobSummaries"]:
        simulated_jobs.sagemaker.stop_training_job(TrainingJobName=line["TrainingJobName"])
        simulated_jobs.end(line["TrainingJobName"])


def test_a_browser_gets_the_jobs_and_what_there_is_else(jobs: Jobs) -> None:
    done = jobs.run("print('hello')")
    jobs.sagemaker.create_model(
        ModelName=f"m-{done['TrainingJobName']}", ExecutionRoleArn=ROLE, PrimaryContainer={"Image": "image:1"}
    )
    answer = ask(jobs.sm, "GET", "/")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert page_of(done["TrainingJobName"]) in answer.text
    assert "1 x ml.m5.large, spot" in answer.text
    assert f"m-{done['TrainingJobName']}" in answer.text.split("<h2>Models</h2>")[1]
    assert "<strong>Spot:</strong> <code>always</code>" in answer.text
    assert "<title>Local SageMaker</title>" in answer.text
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert "<script" not in answer.text


def test_a_jobs_page_tells_its_life(jobs: Jobs) -> None:
    name = jobs.start(counter(16, hold=8))
    jobs.wait_for_checkpoint(name)
    jobs.sm.interrupt(name)
    job = jobs.end(name)
    shown = ask(jobs.sm, "GET", page_of(name)).text
    timeline, steps = (shown.split(f"<h2>{name}</h2>")[1].split("<h2>")[0] for name in ("Timeline", "Statuses"))
    assert re.findall(r'<td data-l="status"><span class="chip \w+">(\w+)</span></td>', steps) == statuses(job)
    for transition in job["SecondaryStatusTransitions"]:
        assert f">{transition['StatusMessage']}</td>" in steps
    # A lane to scale, with the interruption above it and what the audit log has of checkpoints below.
    lane = timeline[: timeline.index('class="legend"')]
    assert len(re.findall('<title>training, |<rect class="T"', lane)) >= 2
    assert lane.count('class="I"') == 1
    assert lane.count('class="tick"') >= 1
    facts = dict(re.findall(r'<th scope="row">(.*?)</th><td>(.*?)</td>', shown))
    assert facts["checkpoints"] == job["CheckpointConfig"]["S3Uri"]
    assert facts["interruptions"] == "1"
    # What the API says, and nothing else.
    assert facts["training"] == duration(job["TrainingTimeInSeconds"])
    assert facts["billable"] == duration(job["BillableTimeInSeconds"])
    assert facts["savings"] == f"{100 * (1 - job['BillableTimeInSeconds'] / job['TrainingTimeInSeconds']):.1f} %"
    assert facts["model"] == job["ModelArtifacts"]["S3ModelArtifacts"]
    assert "step 16" in shown.split("<pre>")[1]
    assert 'http-equiv="refresh"' not in shown


def test_of_a_log_only_the_end_is_shown(jobs: Jobs) -> None:
    name = jobs.run("for i in range(300): print(f'line {i}.')\nprint('x' * 20_000)")["TrainingJobName"]
    shown = ask(jobs.sm, "GET", page_of(name)).text.split("<pre>")[1].split("</pre>")[0]
    lines = shown.splitlines()
    assert len(lines) == content.LOG_LINES
    assert lines[-2] == "line 299."
    assert len(lines[-1]) < 3_000


def test_hostile_text_stays_text(jobs: Jobs) -> None:
    script = f"print({HOSTILE!r})\nraise ValueError({HOSTILE!r})"
    name = jobs.start(script, CheckpointConfig={"S3Uri": "s3://bucket/<script>checkpoints"})
    job = jobs.end(name)
    assert "<script>alert" in job["FailureReason"]
    answers = [ask(jobs.sm, "GET", path) for path in ("/", page_of(name))]
    for shown in (answer.text for answer in answers):
        assert "<script" not in shown
        assert "<img" not in shown
        assert not {"\x1b", "\x00", "\u202e"} & set(shown)
    assert "ValueError: <script>alert('x')" in unescape(answers[1].text.split("<pre>")[0])
    assert "<script>alert('x')" in unescape(answers[1].text.split("<pre>")[1])
    assert "s3://bucket/&lt;script&gt;checkpoints" in answers[1].text


def test_hostile_statuses_regions_and_markets_stay_text(backend: Backend) -> None:
    request = {
        "ResourceConfig": {"InstanceType": HOSTILE, "InstanceCount": 1},
        "OutputDataConfig": {"S3OutputPath": ""},
    }
    job = TrainingJob(HOSTILE, HOSTILE, request, 1.0)
    job.enter(HOSTILE, 2.0, HOSTILE)
    backend.store.table(TRAINING_JOBS).add(job)
    backend.capacity.set_markets(spot="ml.<script>=never;*=always")
    backend.capacity.outlook(HOSTILE, spot=False)
    page = Page(backend)
    index = page.answer(request_of("/"))
    unknown = page.answer(Request({**request_of("/").environ, "PATH_INFO": f"{PREFIX}training/x"}))
    # Its name has a slash, so that no path leads to it.
    own = page._job(HOSTILE, HOSTILE, paused=False)
    assert [answer.status_code for answer in (index, unknown, own)] == [200, 404, 200]
    for text in (answer.get_data(as_text=True) for answer in (index, unknown, own)):
        assert "<script" not in text
        assert "<img" not in text
        assert not {"\x1b", "\x00", "\u202e"} & set(text)
    assert "&lt;script&gt;alert" in own.get_data(as_text=True)


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[Backend]:
    """The service's inside, in this process, without a port. It runs no job: whether it could in a namespace, which
    takes processes to find out, does not matter."""
    made = build(Settings(directory=str(tmp_path), temporary=True, isolation="relocate"))
    yield made
    made.close()


def request_of(path: str, *, remote: str = "127.0.0.1", **headers: str) -> Request:
    builder = EnvironBuilder(path, base_url="http://127.0.0.1:5005", headers={**HTML, **headers})
    return Request({**builder.get_environ(), "REMOTE_ADDR": remote})


def make_job(backend: Backend, name: str = "job", **more: Any) -> TrainingJob:
    """A spot job that trains since ten seconds, without a thread that makes it go on."""
    now = backend.clock.now()
    request = {
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
        "OutputDataConfig": {"S3OutputPath": "s3://bucket"},
        "EnableManagedSpotTraining": True,
        **more,
    }
    job = TrainingJob("us-east-1", name, request, now - 20.0)
    for status, ago in (("Starting", 20.0), ("Pending", 20.0), ("Downloading", 12.0), ("Training", 10.0)):
        job.enter(status, now - ago)
    job.begin_instances(now - 12.0)
    backend.store.table(TRAINING_JOBS).add(job)
    return job


def test_what_a_button_asked_is_told_until_it_happens(backend: Backend) -> None:
    job, page = make_job(backend), Page(backend)
    page._asked["us-east-1", "job"] = ("interrupt", len(job.transitions))
    paths = ("/", page_of("job"))
    for path in paths:
        assert "interrupt asked for" in page.answer(request_of(path)).get_data(as_text=True)
    job.enter("Interrupted", backend.clock.now())
    for path in paths:
        assert "asked for" not in page.answer(request_of(path)).get_data(as_text=True)


def test_a_model_is_named_only_where_one_was_made(backend: Backend) -> None:
    made, failed = make_job(backend, "made"), make_job(backend, "failed")
    now, page = backend.clock.now(), Page(backend)
    made.finish("Completed", "Completed", now)
    failed.finish("Failed", "Failed", now, "AlgorithmError: exit code 1")
    live = make_job(backend, "live")
    shown = {
        job.name: page.answer(request_of(page_of(job.name))).get_data(as_text=True) for job in (made, failed, live)
    }
    assert {name for name, text in shown.items() if "model.tar.gz" in text} == {"made"}
    assert "known at its end" in shown["live"]
    assert '<p class="notice bad"><b>Failed:</b> AlgorithmError: exit code 1</p>' in shown["failed"]


@pytest.mark.parametrize("path", ["/", page_of("job"), page_of("none")])
def test_pages_are_sound(backend: Backend, path: str) -> None:
    make_job(backend, CheckpointConfig={"S3Uri": "s3://bucket/checkpoints/"})
    backend.audit.write("checkpoint", action="upload", job="job", key="round-5", start=1)
    text = Page(backend).answer(request_of(path)).get_data(as_text=True)
    # The one style sheet that the policy allows by its hash; all else as on every page.
    document = check(re.sub("<style>.*?</style>", "", text, flags=re.DOTALL))
    assert "Local SageMaker" in document.text
    assert len(text) < 100_000


def test_the_list_is_bounded(backend: Backend) -> None:
    for number in range(content.MOST_JOBS + 7):
        request = {"ResourceConfig": {"InstanceType": "ml.m5.large"}, "OutputDataConfig": {"S3OutputPath": "s3://b"}}
        job = TrainingJob("us-east-1", f"job-{number}", request, float(number))
        backend.store.table(TRAINING_JOBS).add(job)
    text = Page(backend).answer(request_of("/")).get_data(as_text=True)
    names = re.findall(r">job-(\d+)</a>", text)
    assert [int(name) for name in names] == list(range(content.MOST_JOBS + 6, 6, -1))
    assert "7 older ones are not shown." in text
    assert len(text) < 300_000


@pytest.mark.parametrize("remote", ["192.0.2.1", "10.0.0.8", "", "not an address"])
def test_other_machines_are_not_answered(backend: Backend, remote: str) -> None:
    for path in ("/", page_of("a")):
        answer = Page(backend).answer(request_of(path, remote=remote))
        assert answer.status_code == 403
        assert "token" not in answer.get_data(as_text=True)


def test_neither_hyperparameters_nor_environment_are_shown(jobs: Jobs) -> None:
    secrets = [f"secret-{place}" for place in ("hyperparameter", "environment", "argument", "tag")]
    name = jobs.run(
        "pass",
        HyperParameters={"password": secrets[0]},
        Environment={"PASSWORD": secrets[1]},
        Tags=[{"Key": "password", "Value": secrets[3]}],
    )["TrainingJobName"]
    algorithm = {"TrainingImage": "x", "TrainingInputMode": "File", "ContainerEntrypoint": ["true", secrets[2]]}
    with_argument = jobs.run(AlgorithmSpecification=algorithm)["TrainingJobName"]
    for path in ("/", page_of(name), page_of(with_argument)):
        text = ask(jobs.sm, "GET", path).text
        assert not [secret for secret in secrets if secret in text]


def test_a_failed_scripts_arguments_are_not_shown(jobs: Jobs) -> None:
    name = jobs.start("raise ValueError('broken')", HyperParameters={"password": "secret-hyperparameter"})
    assert "--password secret-hyperparameter" in jobs.end(name)["FailureReason"]
    text = ask(jobs.sm, "GET", page_of(name)).text
    assert "ValueError: broken" in text
    assert "secret-hyperparameter" not in text


# GET / is S3's too.


def test_s3_clients_still_list_their_buckets(jobs: Jobs) -> None:
    sm = jobs.sm
    assert "bucket" in [bucket["Name"] for bucket in sm.client("s3").list_buckets()["Buckets"]]
    unsigned = boto3.client(
        "s3", endpoint_url=sm.endpoint_url, region_name="us-east-1", config=Config(signature_version=UNSIGNED)
    )
    assert "Buckets" in unsigned.list_buckets()
    for version in ("s3v4", "s3"):
        client = boto3.client(
            "s3",
            endpoint_url=sm.endpoint_url,
            region_name="us-east-1",
            aws_access_key_id="local",
            aws_secret_access_key="local",
            config=Config(signature_version=version),
        )
        url = client.generate_presigned_url("list_buckets")
        # Opened by a person, in a browser.
        with urllib.request.urlopen(urllib.request.Request(url, headers=HTML), timeout=120) as answer:
            assert b"<ListAllMyBucketsResult" in answer.read()
    for accept in ("*/*", None):
        assert "<ListAllMyBucketsResult" in ask(sm, "GET", "/", Accept=accept).text
    signed = "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=x"
    assert "<ListAllMyBucketsResult" in ask(sm, "GET", "/", Authorization=signed).text


# Whom the page does not obey.


def test_a_form_of_the_page_is_obeyed(simulated: Jobs) -> None:
    name = simulated.start(HyperParameters=SIMULATED)
    simulated.reach(name, "Training")
    answer = press(simulated.sm, "interrupt", job=name, capacity_gap="0", back=page_of(name))
    assert (answer.status, answer.headers["Location"]) == (303, page_of(name))
    simulated.reach(name, "Interrupted")
    answer = press(simulated.sm, "stop", {"Origin": None, "Referer": f"{simulated.sm.endpoint_url}/"}, job=name)
    assert answer.status == 303
    assert simulated.end(name)["SecondaryStatus"] == "Stopped"
    assert [line["action"] for line in simulated.events("page", job=name)] == ["interrupt", "stop"]


def test_other_forms_change_nothing(simulated: Jobs, jobs: Jobs) -> None:
    sm = simulated.sm
    name = simulated.start(HyperParameters=SIMULATED)
    simulated.reach(name, "Training")
    address = urlsplit(sm.endpoint_url)
    refused: list[tuple[dict[str, str | None], dict[str, str | None]]] = [
        ({}, {"token": None}),
        ({}, {"token": ""}),
        ({}, {"token": "guessed"}),
        ({}, {"token": "\N{SNOWMAN}"}),
        ({"Origin": "http://example.com"}, {}),
        ({"Origin": "null"}, {}),
        ({"Origin": f"http://127.0.0.1:{(address.port or 0) + 1}"}, {}),
        ({"Origin": f"https://{address.netloc}"}, {}),
        ({"Origin": "http://["}, {}),
        ({"Origin": None}, {}),
        ({"Origin": None, "Referer": "http://example.com/"}, {}),
        ({"Origin": "http://example.com", "Referer": f"{sm.endpoint_url}/"}, {}),
        # A foreign name that was made to resolve to this machine is one origin with itself.
        ({"Host": f"evil.example:{address.port}", "Origin": f"http://evil.example:{address.port}"}, {}),
    ]
    for headers, fields in refused:
        for action in ("interrupt", "stop", "capacity-off"):
            assert press(sm, action, headers, job=name, **fields).status == 403, (headers, fields)
    # Another service's token: made again at each start.
    assert press(sm, "stop", job=name, token=ask(jobs.sm, "GET", "/").token).status == 403
    assert press(sm, "stop", job=name, token="x" * 100_000).status == 413
    assert statuses(simulated.describe(name))[-1] == "Training"
    assert simulated.events("page", job=name) == []
    assert "switched off" not in ask(sm, "GET", "/").text


@pytest.mark.parametrize("path", ["/", PREFIX, page_of("a")])
@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "evil.example:80", "", "[", "169.254.169.254"]
)
def test_other_names_of_this_machine_are_not_answered(sm: LocalSageMaker, host: str, path: str) -> None:
    answer = ask(sm, "GET", path, Host=host)
    assert answer.status in (400, 403)
    assert "token" not in answer.text
    assert "ListAllMyBucketsResult" not in answer.text


def test_the_names_of_this_machine_are(sm: LocalSageMaker) -> None:
    port = urlsplit(sm.endpoint_url).port
    for host in (f"localhost:{port}", f"LOCALHOST:{port}", f"127.0.0.1:{port}", f"127.0.0.2:{port}", f"[::1]:{port}"):
        assert ask(sm, "GET", "/", Host=host).status == 200, host


def test_scripts_of_other_pages_are_not_answered(sm: LocalSageMaker) -> None:
    """Neither by the page nor by anything else; its own origin may send its forms, and no more."""
    for origin in ("http://example.com", sm.endpoint_url, "null"):
        assert ask(sm, "GET", "/", Origin=origin).status == 403
        assert ask(sm, "OPTIONS", f"{PREFIX}stop", Origin=origin).status == 403
        assert ask(sm, "POST", "/_airflow_spot/market", '{"spot": "never"}', Origin=origin).status == 403
        assert ask(sm, "GET", "/bucket/key", Origin=origin).status == 403
        target = "SageMaker.ListTrainingJobs"
        assert ask(sm, "POST", "/", "{}", Origin=origin, X_Amz_Target=target, Accept="*/*").status == 403


def test_what_there_is_not_is_said(jobs: Jobs) -> None:
    sm = jobs.sm
    for path in (PREFIX, f"{PREFIX}training", f"{PREFIX}training/us-east-1/nobody", f"{PREFIX}%3Cscript%3E"):
        answer = ask(sm, "GET", path)
        assert answer.status == 404
        assert "<script" not in answer.text
    assert ask(sm, "PUT", f"{PREFIX}stop").status == 405
    assert press(sm, "destroy").status == 404
    assert press(sm, "stop", job="nobody").status == 400
    on_demand = jobs.start("import time; time.sleep(3600)", spot=False)
    jobs.reach(on_demand, "Training")
    shown = ask(sm, "GET", page_of(on_demand)).text
    assert f'action="{PREFIX}interrupt"' not in shown
    assert f'action="{PREFIX}stop"' in shown
    assert "on-demand job" in press(sm, "interrupt", job=on_demand).text
    for gap in ("-1", "nan", "inf", "soon"):
        assert press(sm, "interrupt", job=on_demand, capacity_gap=gap).status == 400
    # Only to a page of its own, wherever a form would have it go.
    answer = press(sm, "stop", job=on_demand, back="//evil.example/")
    assert (answer.status, answer.headers["Location"]) == (303, "/")
    assert jobs.end(on_demand)["TrainingJobStatus"] == "Stopped"


# Capacity.


def test_capacity_is_switched_off_and_on(simulated: Jobs) -> None:
    sm = simulated.sm
    sm.set_market("script:up=600,down=600")
    name = simulated.start(HyperParameters=SIMULATED)
    simulated.reach(name, "Training")
    assert capacity(sm) == ["capacity"]
    assert press(sm, "capacity-off").status == 303
    simulated.reach(name, "Interrupted")
    until(lambda: "Insufficient capacity" in ask(sm, "GET", page_of(name)).text, "the job waits")
    assert capacity(sm) == ["no capacity"]
    assert "switched off" in ask(sm, "GET", "/").text
    assert press(sm, "capacity-on").status == 303
    until(lambda: statuses(simulated.describe(name))[-1] == "Training", "the job continues")
    shown = ask(sm, "GET", "/").text
    assert "script:up=600,down=600" in shown
    assert "switched off" not in shown
    # A market that is set is on.
    press(sm, "capacity-off")
    sm.set_market("always")
    assert "switched off" not in ask(sm, "GET", "/").text


def capacity(sm: LocalSageMaker) -> list[Any]:
    """What the pools of the spot market have."""
    spot = ask(sm, "GET", "/").text.split("<strong>Spot:</strong>")[1].split("<strong>On-demand:</strong>")[0]
    return re.findall(r'<td><span class="chip \w+">([^<]+)</span></td>', spot)
