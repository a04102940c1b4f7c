"""Hooks of one task: connection and session are made once for all of them, and botocore's models read once."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from airflow.providers.amazon.aws.hooks.logs import AwsLogsHook
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from botocore.config import Config

from airflow_spot.aws.models import share_models


class OneSessionHook(AwsBaseHook):
    """An AWS hook that makes its clients of one session: the second one costs a twentieth of the first."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._sessions: dict[str | None, Any] = {}
        self._merged_config: Any = None

    def get_session(self, region_name: str | None = None, deferrable: bool = False) -> Any:
        """Return Airflow's session for a region, made at the first call; an asynchronous one is made again."""
        if deferrable:
            return super().get_session(region_name=region_name, deferrable=True)
        if region_name not in self._sessions:
            self._sessions[region_name] = self._new_session(region_name)
        return self._sessions[region_name]

    def separate_client(self, config: Config) -> Any:
        """
        Return a client that has nothing in common with the others that could be held: no credentials, no lock.

        :param config: what is other than in the hook's botocore configuration.
        """
        kept, self._sessions = self._sessions, {}
        try:
            return self.get_client_type(region_name=self.region_name, config=self._get_config().merge(config))
        finally:
            self._sessions = kept

    def clients_of_any_service(self) -> Callable[[str, str, Config], Any]:
        """
        Return what makes clients of other services on this connection, as the preflight takes it.

        The connection is read now, and the session is one of its own: it may be used in another thread, which must not
        ask Airflow anything, and may be in the middle of a call that nobody waits for any longer.

        :return: is given a service, a region, and what is other than in the hook's botocore configuration.
        """
        connection, config, verify = self.conn_config, self._get_config(), self.verify
        session = self._new_session(self.region_name)

        def client(service: str, region: str, other: Config) -> Any:
            url = connection.get_service_endpoint_url(service_name=service)
            made = config.merge(other) if config is not None else other
            return session.client(service, region_name=region, endpoint_url=url, config=made, verify=verify)

        return client

    def _new_session(self, region_name: str | None) -> Any:
        session = super().get_session(region_name=region_name)
        share_models(session)
        return session

    def _get_caller(self, target_function_name: str = "execute") -> str:
        # Airflow's own looks for the source of all that is on the stack, to name the operator to AWS: 0.05 s a worker.
        frame: FrameType | None = sys._getframe()
        while frame is not None:
            if frame.f_code.co_name == target_function_name and "self" in frame.f_locals:
                return type(frame.f_locals["self"]).__name__
            frame = frame.f_back
        return "Unknown"

    def _get_config(self, config: Any = None) -> Any:
        if self._merged_config is None:
            self._merged_config = super()._get_config()
        return self._merged_config if config is None else config

    def forget_session(self) -> None:
        """Read the connection again and make a session of it, for the next client."""
        self.__dict__.pop("conn_config", None)
        self._sessions.clear()
        self._merged_config = None


class _SiblingHook(AwsBaseHook):
    """A hook with the session, connection, region, verify and botocore configuration of another one."""

    def __init__(self, main: OneSessionHook) -> None:
        super().__init__()
        self._main = main

    def get_session(self, region_name: str | None = None, deferrable: bool = False) -> Any:
        """Return the other hook's session."""
        return self._main.get_session(region_name, deferrable)

    def _get_config(self, config: Any = None) -> Any:
        return self._main._get_config(config)

    @property
    def conn_config(self) -> Any:
        """Airflow's connection, as the other hook has read it."""
        return self._main.conn_config

    @property
    def config(self) -> Any:
        """The botocore configuration of the clients."""
        return self._main.config


class SiblingS3Hook(_SiblingHook, S3Hook):
    """S3 with the connection of another hook."""


class SiblingLogsHook(_SiblingHook, AwsLogsHook):
    """CloudWatch Logs with the connection of another hook."""
