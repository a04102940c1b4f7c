"""``airflow-spot local``: what it refuses, what it prints, and that it leaves nothing behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_spot.cli.local import main
from airflow_spot.local.settings import url


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the command makes its folder, which is to be gone."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--log-level", "foo"], "log_level is 'FOO'"),
        (["--port", "-1"], "port is -1"),
        (["--port", "70000"], "port is 70000"),
        (["--port", "70000", "--env"], "port is 70000"),
        (["--port", "0", "--env"], "--env needs the port"),
        (["--grace", "nan"], "grace_seconds is nan"),
        (["--grace", "inf"], "grace_seconds is inf"),
        (["--pending-timeout", "nan"], "pending_timeout_seconds is nan"),
        (["--pending-timeout", "inf"], "pending_timeout_seconds is inf"),
        (["--python", "no-such-python"], "--python no-such-python: there is no such program"),
        (["--engine", "simulated", "--time-scale", "nan"], "time_scale is nan"),
        (["--engine", "simulated", "--time-scale", "inf"], "time_scale is inf"),
    ],
)
def test_wrong_options_are_named_and_leave_nothing(
    arguments: list[str], message: str, temporary: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert message in capsys.readouterr().err
    assert list(temporary.iterdir()) == []


def ended(arguments: list[str], temporary: Path) -> str:
    """What the command says on stderr, when it ends by itself."""
    command = [sys.executable, "-m", "airflow_spot.local", *arguments]
    environment = {**os.environ, "TMPDIR": str(temporary)}
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=environment)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    return result.stderr


def test_a_port_in_use_leaves_nothing(temporary: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"in use (while attempting to bind on address ('127.0.0.1', {port})" in ended(
            ["--port", str(port)], temporary
        )
    assert list(temporary.iterdir()) == []


def test_an_address_of_another_machine_leaves_nothing(temporary: Path) -> None:
    assert "192.0.2.1" in ended(["--host", "192.0.2.1", "--port", "0"], temporary)
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", "http://127.0.0.1:6007"),
        ("0.0.0.0", "http://127.0.0.1:6007"),
        ("::", "http://127.0.0.1:6007"),
        ("::1", "http://[::1]:6007"),
        ("localhost", "http://localhost:6007"),
    ],
)
def test_env_names_an_address_that_can_be_called(host: str, expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--env", "--host", host, "--port", "6007"]) == 0
    lines = [line.replace("'", "") for line in capsys.readouterr().out.splitlines()]
    assert f"export AWS_ENDPOINT_URL={expected}" in lines
    assert url(host, 6007) == expected


def test_what_is_printed_is_what_env_prints(temporary: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    assert main(["--env", "--port", port]) == 0
    expected = capsys.readouterr().out.splitlines()
    process = subprocess.Popen(
        [sys.executable, "-m", "airflow_spot.local", "--port", port], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        first, *printed = [process.stdout.readline().rstrip("\n") for _ in range(len(expected) + 1)]
    finally:
        process.kill()
        process.communicate()
    assert first.startswith("# Local SageMaker: ")
    assert printed == expected


class Command:
    """The command, while it serves."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self.process = process
        line = process.stdout.readline()
        self.url = line.removeprefix("# Local SageMaker: ").split()[0]

    def health(self) -> int:
        request = urllib.request.Request(f"{self.url}/_airflow_spot/health", b"{}", method="POST")
        with urllib.request.urlopen(request, timeout=120) as response:
            return int(response.status)


@pytest.fixture
def served(request: pytest.FixtureRequest, temporary: Path) -> Iterator[Command]:
    command = [*request.param[0], sys.executable, "-m", "airflow_spot.local", "--port", "0", *request.param[1]]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    yield Command(process)
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


#: Runs what follows it so that SIGHUP reaches it: the tests themselves may run under nohup.
HUNG_UP_ON = [
    sys.executable,
    "-c",
    "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])",
]


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


@needs_ipv6
@pytest.mark.parametrize("served", [(HUNG_UP_ON, ["--host", "::1"])], indirect=True)
def test_a_hang_up_ends_it_and_an_address_of_ipv6_can_be_called(served: Command, temporary: Path) -> None:
    assert served.url.startswith("http://[::1]:")
    assert served.health() == 200
    assert [entry.name.startswith("airflow-spot-local-") for entry in temporary.iterdir()] == [True]
    served.process.send_signal(signal.SIGHUP)
    assert served.process.wait(120) == 0
    assert list(temporary.iterdir()) == []


@needs_ipv6
@pytest.mark.parametrize("served", [(["nohup"], ["--host", "::"])], indirect=True)
def test_nohup_holds_and_all_addresses_are_loopback_too(served: Command, temporary: Path) -> None:
    assert served.url.startswith("http://127.0.0.1:")
    served.process.send_signal(signal.SIGHUP)
    assert served.health() == 200
    served.process.terminate()
    assert served.process.wait(120) == 0
    assert list(temporary.iterdir()) == []
