"""One session for the clients of a task, and one reading of botocore's models for all."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.amazon.aws.hooks import base_aws

from airflow_spot.hooks.training import SageMakerSpotTrainingHook


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> SageMakerSpotTrainingHook:
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", "aws://one:secret@/?region_name=eu-west-1")
    return SageMakerSpotTrainingHook()


def test_s3_and_logs_have_the_connection_and_the_session_of_the_hook(hook: SageMakerSpotTrainingHook) -> None:
    s3 = hook.s3_hook.get_conn()
    logs = hook.logs_hook.get_conn()
    assert s3.meta.region_name == logs.meta.region_name == hook.conn.meta.region_name == "eu-west-1"
    assert hook.s3_hook.get_session("eu-west-1") is hook.get_session("eu-west-1")
    assert s3.meta.config.retries["total_max_attempts"] == 6


def test_a_renewed_client_is_of_a_connection_read_again(
    hook: SageMakerSpotTrainingHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, signal_client = hook._connect(False), hook.signal_client
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", "aws://two:secret@/?region_name=eu-west-1")
    after = hook._connect(True)
    assert after is not before and hook.signal_client is not signal_client
    for client in (after, hook.signal_client, hook.s3_hook.get_conn()):
        assert client._request_signer._credentials.access_key == "two"


def test_the_signal_handlers_client_shares_no_credentials_that_could_be_locked(hook: SageMakerSpotTrainingHook) -> None:
    assert hook.signal_client is hook.signal_client
    assert hook.signal_client._request_signer._credentials is not hook.conn._request_signer._credentials


def test_models_are_read_once_in_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", "aws://one:secret@/?region_name=eu-west-1")
    loaders = [hook.get_session()._session.get_component("data_loader") for hook in _hooks(2)]
    assert loaders[0] is loaders[1]


def test_the_operator_is_named_to_aws_once_for_all_clients(
    hook: SageMakerSpotTrainingHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    real = base_aws.AwsGenericHook._generate_user_agent_extra_field

    def counted(self: Any, existing_user_agent_extra: str) -> str:
        asked.append(existing_user_agent_extra)
        return str(real(self, existing_user_agent_extra))

    monkeypatch.setattr(base_aws.AwsGenericHook, "_generate_user_agent_extra_field", counted)
    for client in (hook.conn, hook.signal_client, hook.s3_hook.get_conn(), hook.logs_hook.get_conn()):
        assert "Airflow/" in client.meta.config.user_agent_extra
    assert len(asked) == 1


def _hooks(number: int) -> list[SageMakerSpotTrainingHook]:
    return [SageMakerSpotTrainingHook() for _ in range(number)]


def test_a_new_client_for_s3_reads_the_credentials_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "old")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    hook = SageMakerSpotTrainingHook(aws_conn_id=None, region_name="us-east-1")
    before = hook.s3_hook.get_conn()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "new")
    assert hook.s3_hook.get_conn() is before
    hook.renew_s3()
    after = hook.s3_hook.get_conn()
    assert after._request_signer._credentials.access_key == "new"


def test_the_operator_is_found_as_airflow_finds_it(hook: SageMakerSpotTrainingHook) -> None:
    class Operator:
        def execute(self) -> tuple[str, str, str]:
            agent: str = hook.conn.meta.config.user_agent_extra
            return hook._get_caller(), base_aws.AwsGenericHook._get_caller(hook), agent

    ours, airflows, agent = Operator().execute()
    assert ours == airflows == "Operator"
    assert "Caller/Operator" in agent
    assert hook._get_caller() == "Unknown"
