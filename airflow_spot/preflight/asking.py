"""Asks AWS, a call at a time, within a limit of time and of permissions. Nothing raises."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_spot.core.iam.permissions import NEEDS, made_by_every_run
from airflow_spot.core.outcomes import BAD_CREDENTIALS, DENIED_OR_STATUS
from airflow_spot.market.asking import reason

#: Returns a boto3 client of a service in a region, with a ``botocore`` config.
Clients = Callable[[str, str, Any], Any]


@dataclass(frozen=True)
class Answer:
    """
    What a call was answered.

    :param value: the response; empty where there is none.
    :param code: of AWS's error; empty where it is no answer of AWS.
    :param why: half a sentence of why there is no value; empty where there is one.
    :param skipped: it was not to be asked.
    """

    value: Mapping[str, Any] = field(default_factory=dict)
    code: str = ""
    why: str = ""
    skipped: bool = False

    @property
    def known(self) -> bool:
        """Whether AWS said something of what was asked, and not of the one who asks."""
        return not self.why or (bool(self.code) and self.code not in DENIED_OR_STATUS and not self.bad_credentials)

    @property
    def bad_credentials(self) -> bool:
        """Whether AWS does not take the credentials at all."""
        return self.code.startswith(BAD_CREDENTIALS)


class Asker:
    """
    Makes calls for the checks.

    :param clients: makes clients.
    :param region: of the training.
    :param call_seconds: how long a call may take; it is not repeated.
    :param only_needed: make only calls that need no permission beside those of the run itself.
    """

    def __init__(self, clients: Clients, region: str, *, call_seconds: float, only_needed: bool) -> None:
        self._clients = clients
        self.region = region
        self.only_needed = only_needed
        self._call_seconds = call_seconds
        self._made: dict[tuple[str, str], Any] = {}
        # A session makes one client at a time.
        self._lock = threading.Lock()

    def may_ask(self, call: str) -> bool:
        """Return whether a call is to be made, named as in the table of permissions."""
        return not self.only_needed or made_by_every_run(call)

    def client(self, service: str, region: str = "") -> Any:
        """Return a client whose calls end in time, and are made once."""
        with self._lock:
            key = (service, region or self.region)
            if key not in self._made:
                self._made[key] = self._clients(*key, self._config())
            return self._made[key]

    def ask(self, call: str, *, in_region: str = "", **given: Any) -> Answer:
        """
        Make a call.

        :param call: ``service:Operation``, as in the table of permissions.
        :param given: its parameters.
        """
        if not self.may_ask(call):
            return Answer(why="not asked", skipped=True)
        from botocore import xform_name

        service, _, operation = call.partition(":")
        try:
            value = getattr(self.client(service, in_region), xform_name(operation))(**given)
            return Answer(value if isinstance(value, Mapping) else {})
        except Exception as error:  # a check fails no task, whatever the answer or the client
            response = getattr(error, "response", None)
            said = response.get("Error") if isinstance(response, Mapping) else None
            code = str(said.get("Code") or "") if isinstance(said, Mapping) else ""
            permissions = " and ".join(permissions_of(call)) or call
            if code in DENIED_OR_STATUS:
                return Answer(code=code, why=f"needs {permissions}")
            return Answer(_details(response), code, reason(error, permissions).why)

    def _config(self) -> Any:
        from botocore.config import Config

        return Config(
            connect_timeout=self._call_seconds / 3,
            read_timeout=self._call_seconds * 2 / 3,
            retries={"mode": "standard", "total_max_attempts": 1},
            s3={"us_east_1_regional_endpoint": "regional"},
        )


def permissions_of(call: str) -> list[str]:
    """Return the actions of IAM that permit a call."""
    return list(dict.fromkeys(action for need in NEEDS if need.call == call for action in need.actions))


def _details(response: Any) -> Mapping[str, Any]:
    """Return what an error tells beside its code, such as the region of a bucket."""
    found = response.get("ResponseMetadata") if isinstance(response, Mapping) else None
    return {"ResponseMetadata": found} if isinstance(found, Mapping) else {}
