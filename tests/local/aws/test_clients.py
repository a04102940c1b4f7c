"""Clients of Local SageMaker: cheap to make, however many."""

from __future__ import annotations

import pytest
from botocore.loaders import JSONFileLoader

from airflow_spot.local.aws.moto import make_client


def test_a_services_model_is_read_once_in_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    first = make_client("sagemaker", "http://127.0.0.1:9", "us-east-1")

    def read(*_: object) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr(JSONFileLoader, "load_file", read)
    second = make_client("sagemaker", "http://127.0.0.1:10", "eu-west-1")
    assert (second.meta.endpoint_url, second.meta.region_name) == ("http://127.0.0.1:10", "eu-west-1")
    assert first.meta.endpoint_url == "http://127.0.0.1:9"
