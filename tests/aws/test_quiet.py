"""Botocore's own lines do not drown the story."""

from __future__ import annotations

import logging

import pytest

from airflow_spot.aws import quiet


def test_a_repeated_line_of_botocores_is_dropped_and_a_warning_is_not(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(quiet, "_ONCE", quiet._Once())
    log = logging.getLogger("botocore.credentials")
    before = list(log.filters)
    try:
        log.filters.clear()
        quiet.say_once()
        quiet.say_once()
        with caplog.at_level(logging.INFO, logger="botocore.credentials"):
            for _ in range(3):
                log.info("Found credentials in %s", "environment variables.")
                log.warning("Expired")
        assert [record.getMessage() for record in caplog.records] == ["Found credentials in environment variables."] + [
            "Expired"
        ] * 3
    finally:
        log.filters[:] = before
