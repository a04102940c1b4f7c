"""docker-compose.yaml: what it promises, and all of it at work, in processes, since CI has no container engine."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.compose.composefile import Service, interpolate, read_compose, variables
from tests.compose.native import Native
from tests.support.pythons import find_python, make_environment, uv

ROOT = Path(__file__).parent.parent.parent
FILE = ROOT / "docker-compose.yaml"
# One interruption, on a machine of any speed: the example trains for longer than the first capacity lasts.
SERVICES = read_compose(FILE, {"SPOT_MARKET": "script:up=10,down=2,up=inf"})
TASKS = 10  # of the example pipeline


def test_it_is_valid_compose() -> None:
    pytest.importorskip("check_jsonschema")
    command = ["-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", FILE]
    done = subprocess.run([sys.executable, *command], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not re.search("^version:", FILE.read_text(), re.MULTILINE)


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
def test_each_service_is_safe_and_waits_for_what_it_needs(service: Service) -> None:
    assert service.user.split(":")[0] not in ("", "0", "root")
    assert all(port.startswith("127.0.0.1:") for port in service.ports)
    assert service.runs_on == (service.health is not None)
    for other, condition in service.depends_on.items():
        wanted = "service_healthy" if SERVICES[other].runs_on else "service_completed_successfully"
        assert condition == wanted, other
    assert {source for source in service.volumes.values() if source.startswith(".")} <= {"./dags", "./dist"}


def test_the_example_environment_names_every_variable_with_its_default() -> None:
    told = dict(re.findall(r"^# ([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert told.keys() == variables(FILE).keys()
    assert {k: v for k, v in variables(FILE).items() if k != "AIRFLOW_SECRET_KEY"} == {
        k: v for k, v in told.items() if k != "AIRFLOW_SECRET_KEY"
    }
    # Shorter ones are refused, or warned of, for the algorithm that signs the tasks' tokens.
    assert len(variables(FILE)["AIRFLOW_SECRET_KEY"]) >= 64


def test_interpolation_is_composes() -> None:
    assert interpolate(["${A:-b} $$C ${D:-}"], {"A": "x"}) == ["x $C "]
    assert interpolate("${A:-b}", {"A": ""}) == "b"
    with pytest.raises(ValueError, match="stray"):
        interpolate("$HOSTNAME", {})


def _database_path() -> str:
    """Where PostgreSQL's and Redis's programs are; installs them from Debian's packages where root may."""
    if not (_postgres_folder() and shutil.which("redis-server")):
        if os.geteuid() != 0 or not shutil.which("apt-get"):
            pytest.skip("no PostgreSQL or Redis")
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update"], ["install", "-y", "postgresql", "redis-server"]):
            subprocess.run(["apt-get", "-qq", *command], check=True, env=environment, capture_output=True)
    folder = _postgres_folder()
    assert folder is not None
    return f"{folder}:/usr/bin:/bin"


def _postgres_folder() -> Path | None:
    return next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)


@pytest.fixture
def native(tmp_path: Path) -> Native:
    """The project, ready to run: the wheel is built, and what the images hold is installed."""
    databases = _database_path()
    dist = tmp_path / "dist"
    subprocess.run(["make", "wheel", f"DIST={dist}"], check=True, cwd=ROOT, capture_output=True, timeout=900)
    (wheel,) = dist.glob("*.whl")
    tag = re.fullmatch(r"apache/airflow:([\d.]+)-python([\d.]+)", SERVICES["scheduler"].image)
    assert tag is not None
    airflow = make_environment(
        tmp_path / "airflow",
        find_python(tag[2]),
        f"apache-airflow[celery,postgres]=={tag[1]}",
        "apache-airflow-providers-amazon",
        "celery<5.7",  # as in the image: the newest Celery provider cannot be imported with 5.7
    )
    project = Native(
        SERVICES,
        base=ROOT,
        mounts={"./dist": dist},
        ports=(5432, 6379, 5005, 8080, 8974, 8793, 8794),
        paths={
            "postgres": databases,
            "redis": "/usr/bin:/bin",
            "apache/airflow": f"{airflow.parent}:/usr/bin:/bin",
            "python": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        },
    )
    # The service makes this environment itself and fetches 900 MB into it with pip. That it then finds them there, as
    # at a container's second start, is all that is spared.
    venv = project.root("local-sagemaker") / "tmp" / "venv"
    uv("venv", "--quiet", "--seed", "--python", sys.executable, venv)
    uv("pip", "install", "--quiet", "--python", venv / "bin" / "python", f"{wheel}[local,examples]")
    uv("pip", "uninstall", "--quiet", "--python", venv / "bin" / "python", "airflow-spot")
    return project


@pytest.mark.slow
@pytest.mark.airflow
@pytest.mark.timeout(3600)
def test_the_demo_succeeds_through_celery(native: Native) -> None:
    with native:
        native.up(timeout=1200)
        said = native.run("demo", timeout=1200)
        assert re.search(r"^demo-\d+: success", said, re.MULTILINE), said

        # Every task was Celery's, and none of another executor's.
        assert _query(native, "select state, count(*) from task_instance group by state") == f"success|{TASKS}"
        # The training came back from its deferral, so it was Celery's twice.
        # The last one's worker may still be on its way out.
        results = "select status, count(*) from celery_taskmeta group by status"
        deadline = time.monotonic() + 120
        while "STARTED" in _query(native, results) and time.monotonic() < deadline:
            time.sleep(1)
        assert _query(native, results) == f"SUCCESS|{TASKS + 1}"

        audit = native.root("local-sagemaker") / "tmp" / "sagemaker" / "audit.jsonl"
        lines = [json.loads(line) for line in audit.read_text().splitlines()]
        assert any(line.get("secondary") == "Interrupted" for line in lines)

        token = _post(native, "/auth/token", {"username": "admin", "password": "admin"})["access_token"]
        assert token
        with pytest.raises(urllib.error.HTTPError, match="401"):
            _post(native, "/auth/token", {"username": "admin", "password": "wrong"})
        # Each of them was healthy once; now, after the work, they still are.
        sick, deadline = {name for name, service in SERVICES.items() if service.health}, time.monotonic() + 300
        while (sick := {name for name in sick if not native.healthy(name)}) and time.monotonic() < deadline:
            time.sleep(2)
        assert sick == set()
    assert native.left() == []


def _query(native: Native, sql: str) -> str:
    script = 'PGPASSWORD="$POSTGRES_PASSWORD" psql -h localhost -p 5432 -U airflow -At -c "$1"'
    done = native.execute("postgres", ["bash", "-c", script, "psql", sql])
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def _post(native: Native, path: str, body: dict[str, str]) -> dict[str, str]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{native.ports[8080]}{path}",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=120) as response:
        answer: dict[str, str] = json.loads(response.read())
        return answer
