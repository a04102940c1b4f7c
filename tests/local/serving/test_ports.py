"""The ports that model servers listen on."""

from __future__ import annotations

import socket

import pytest

from airflow_spot.local.serving import ports


def test_it_can_be_listened_on_and_no_outgoing_connection_takes_it() -> None:
    with socket.create_server(("127.0.0.1", port := ports.free_port())):
        assert port < 32768


def test_one_that_is_taken_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", ports.free_port())) as taken:
        number = taken.getsockname()[1]
        monkeypatch.setattr(ports.random.SystemRandom, "sample", lambda *_: [number, number])
        with pytest.raises(OSError, match="none was free"):
            ports.free_port()
