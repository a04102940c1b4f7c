"""
The pytest plugin: SageMaker as a fixture. It comes with the package; a test needs nothing but this::

    @pytest.mark.local_sagemaker(market="script:up=5,down=2")
    def test_training(local_sagemaker):
        boto3.client("sagemaker").create_training_job(...)
        local_sagemaker.interrupt(...)

The mark takes what :class:`~airflow_spot.local.client.LocalSageMaker` takes. Guarantee: AWS clients that are made
while a test with one of the fixtures runs talk to Local SageMaker, whatever this machine has configured.

Every pytest of an environment that has the package loads this module, so that it imports nothing else before a fixture
is asked for, and works with pytest 7, 8 and 9.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from airflow_spot.local.client import LocalSageMaker

OWN = "local_sagemaker"
SHARED = "local_sagemaker_session"
AUDIT_LINES = 30
LOG_CHARACTERS = 2_000

#: What can be changed while a service runs, and what it is by default.
CHANGEABLE = {"market": "always", "on_demand_market": "always", "faults": ""}


@dataclass
class _Shared:
    """
    The service that tests share.

    :ivar options: those of CHANGEABLE that it was started with.
    :ivar item: the test that runs.
    :ivar patch: its environment, while it uses this service.
    """

    service: LocalSageMaker | None = None
    options: dict[str, str] = field(default_factory=dict)
    item: pytest.Item | None = None
    patch: pytest.MonkeyPatch | None = None


@dataclass(frozen=True)
class _Used:
    """
    A service that a test uses.

    :param since: where its audit log ended when the test began, in bytes.
    """

    service: LocalSageMaker
    since: int

    @classmethod
    def now(cls, service: LocalSageMaker) -> _Used:
        return cls(service, (service.dir / "audit.jsonl").stat().st_size)


_SHARED_KEY = pytest.StashKey[_Shared]()
_USED_KEY = pytest.StashKey[_Used]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_SHARED_KEY] = _Shared()
    config.addinivalue_line(
        "markers",
        f"{OWN}(market=..., faults=..., quotas=..., engine=..., ...): how the Local SageMaker of a test is started: "
        "any keyword of airflow_spot.local.LocalSageMaker",
    )


@pytest.fixture(scope="session")
def local_sagemaker_options() -> Mapping[str, Any]:
    """Keywords of LocalSageMaker for every service of these tests: override it in conftest.py."""
    return {}


@pytest.fixture
def local_sagemaker(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, local_sagemaker_options: Mapping[str, Any]
) -> Iterator[LocalSageMaker]:
    """A Local SageMaker for this test alone, started with the options of its mark; the environment points at it."""
    with _started({**local_sagemaker_options, **_marked(request.node)}) as service:
        request.node.stash[_USED_KEY] = _Used.now(service)
        _point(monkeypatch, service)
        yield service


@pytest.fixture(scope="session")
def local_sagemaker_session(
    pytestconfig: pytest.Config, local_sagemaker_options: Mapping[str, Any]
) -> Iterator[LocalSageMaker]:
    """
    One Local SageMaker for all tests that use this fixture; the environment points at it while one of them runs.

    Each test gets the markets and faults of its mark, else those that the service was started
    with, and whatever the tests before it have left in SageMaker and S3.
    """
    shared = pytestconfig.stash[_SHARED_KEY]
    with _started(local_sagemaker_options) as service:
        shared.options = {name: local_sagemaker_options.get(name, default) for name, default in CHANGEABLE.items()}
        shared.service = service
        if shared.item is not None:
            _prepare(shared, service, shared.item)
        try:
            yield service
        finally:
            shared.service = None


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Before any fixture of the test: those of other plugins may make clients."""
    shared = item.config.stash[_SHARED_KEY]
    shared.item = item
    if shared.service is not None and SHARED in getattr(item, "fixturenames", ()):
        _prepare(shared, shared.service, item)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, Any, None]:
    """After all fixtures of the test."""
    yield
    shared = item.config.stash[_SHARED_KEY]
    shared.item = None
    if shared.patch is not None:
        shared.patch.undo()
        shared.patch = None


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, None]:
    """What the service did goes into the report of a test that failed."""
    outcome = yield
    report = outcome.get_result()
    used = item.stash.get(_USED_KEY, None)
    if used is not None and report.failed and report.when != "teardown":
        report.sections.extend(_report_sections(used))


def _prepare(shared: _Shared, service: LocalSageMaker, item: pytest.Item) -> None:
    """Make the shared service, and the environment, ready for a test."""
    # With both fixtures, the mark is for the test's own service.
    marked = {} if OWN in getattr(item, "fixturenames", ()) else _marked(item)
    others = [name for name in marked if name not in CHANGEABLE]
    if others:
        pytest.fail(
            f"{SHARED} runs already: of its mark, {', '.join(CHANGEABLE)} can be set for one test, and not "
            f"{', '.join(others)}. Use the fixture {OWN}, which starts a service for each test, or set it for all "
            "tests with the fixture local_sagemaker_options.",
            pytrace=False,
        )
    wanted = {**shared.options, **marked}
    try:
        service.set_market(wanted["market"], on_demand_market=wanted["on_demand_market"])
        service.set_faults(wanted["faults"])
    except RuntimeError as error:
        pytest.fail(f"{OWN}: {error}", pytrace=False)
    item.stash[_USED_KEY] = _Used.now(service)
    if shared.patch is None:
        shared.patch = pytest.MonkeyPatch()
        _point(shared.patch, service)


def _marked(item: pytest.Item) -> dict[str, Any]:
    """Return the keywords of a test's marks; the mark that is nearest to the test counts."""
    options: dict[str, Any] = {}
    for mark in reversed(list(item.iter_markers(OWN))):
        if mark.args:
            pytest.fail(f"@pytest.mark.{OWN} takes keywords only, not {mark.args!r}", pytrace=False)
        options.update(mark.kwargs)
    _check(options)
    return options


def _check(options: Mapping[str, Any]) -> None:
    import inspect

    from airflow_spot.local.client import LocalSageMaker

    known = sorted(inspect.signature(LocalSageMaker).parameters)
    unknown = [name for name in options if name not in known]
    if unknown:
        pytest.fail(
            f"{OWN}: LocalSageMaker does not know {', '.join(map(repr, unknown))}; it knows {', '.join(known)}",
            pytrace=False,
        )


@contextlib.contextmanager
def _started(options: Mapping[str, Any]) -> Iterator[LocalSageMaker]:
    from airflow_spot.local.client import LocalSageMaker

    _check(options)
    try:
        service = LocalSageMaker(**options)
        service.start()
    except (ValueError, RuntimeError) as error:
        pytest.fail(f"{OWN}: {error}", pytrace=False)
    try:
        yield service
    finally:
        service.stop()


def _point(patch: pytest.MonkeyPatch, service: LocalSageMaker) -> None:
    """Send AWS clients to a service; nothing of the machine's own settings may lead them astray."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        patch.delenv(name)
    files = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    for name, value in {**service.environ, **files}.items():
        patch.setenv(name, value)
    # boto3.client() uses a session that remembers the credentials which it was made with.
    patch.setattr(sys.modules["boto3"], "DEFAULT_SESSION", None)


def _report_sections(used: _Used) -> Iterator[tuple[str, str]]:
    """Yield sections of a report: the ends of both logs, neither of which has hyperparameters or environments."""
    folder = used.service.dir
    with contextlib.suppress(OSError):
        with (folder / "audit.jsonl").open("rb") as file:
            file.seek(used.since)
            lines = [json.loads(line) for line in file if line.endswith(b"\n")]
        if lines:
            begin = lines[0]["time"]
            text = "\n".join(_format_line(line, begin) for line in lines[-AUDIT_LINES:])
            yield f"Local SageMaker: the last of {len(lines)} events", text
    with contextlib.suppress(OSError):
        log = (folder / "service.log").read_text(encoding="utf-8", errors="replace").strip()
        if log:
            yield "Local SageMaker: the end of its log", log[-LOG_CHARACTERS:]


def _format_line(line: dict[str, Any], begin: float) -> str:
    facts = (f"{name}={value}" for name, value in line.items() if name not in ("time", "event") and value is not None)
    return f"{line['time'] - begin:8.2f} s  {line['event']:<10} {' '.join(facts)}"
