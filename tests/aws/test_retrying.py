"""How long a client bears what passes: to its deadline, and beyond it for the calls that end a run."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from botocore.exceptions import ClientError

from airflow_spot.aws.retrying import CREATE_SECONDS, DENIED_SECONDS, ENDING_SECONDS, EXPIRED_SECONDS, RetryingClient
from tests.support.sagemaker import error


class Throttled:
    """A service that throttles for so many seconds of a clock that only sleeping moves."""

    def __init__(self, until: float) -> None:
        self.now = 0.0
        self.until = until

    def sleep(self, amount: float) -> None:
        self.now += amount

    def patient(self, deadline: float | None) -> RetryingClient:
        log = logging.getLogger("test")
        return RetryingClient(lambda fresh: self, self.sleep, log, deadline=deadline, clock=lambda: self.now)

    def stop(self, **_: Any) -> str:
        if self.now < self.until:
            raise error("ThrottlingException", "Rate exceeded", "StopTrainingJob")
        return "stopped"


def test_a_call_is_repeated_up_to_the_deadline_and_no_longer() -> None:
    assert Throttled(50.0).patient(60.0).stop() == "stopped"
    service = Throttled(1_000.0)
    with pytest.raises(ClientError):
        service.patient(60.0).stop()
    assert 60.0 <= service.now < 125.0


def test_the_calls_of_an_ending_have_time_beyond_the_deadline() -> None:
    service = Throttled(200.0)
    client = service.patient(60.0)
    service.now = 59.0
    client.extend_deadline()
    assert client.stop() == "stopped"
    service.until = 10_000.0
    with pytest.raises(ClientError):
        client.stop()
    assert service.now < 59.0 + ENDING_SECONDS + 60.0


def test_a_client_that_is_made_after_the_deadline_is_for_an_ending() -> None:
    service = Throttled(1_200.0)
    service.now = 1_000.0
    assert service.patient(900.0).stop() == "stopped"


def test_an_ending_shortens_no_patience() -> None:
    for deadline in (None, 5_000.0):
        service = Throttled(550.0)
        client = service.patient(deadline)
        client.extend_deadline()
        assert client.stop() == "stopped"


class Denying(Throttled):
    """Denies every call until a moment, and from another one on."""

    allowed_at = 0.0
    denied_at = float("inf")

    def look(self, **_: Any) -> str:
        if not self.allowed_at <= self.now < self.denied_at:
            raise error("AccessDeniedException", "not authorized", "Look")
        return "seen"


def test_a_denial_of_what_was_permitted_is_believed_after_minutes_only() -> None:
    service = Denying(0.0)
    client = service.patient(None)
    assert client.look() == "seen"
    service.allowed_at = 100.0
    assert client.look() == "seen"
    assert service.now >= 100.0
    service.allowed_at = service.now + 10_000.0
    begun = service.now
    with pytest.raises(ClientError):
        client.look()
    assert DENIED_SECONDS <= service.now - begun < DENIED_SECONDS + 60.0


def test_what_was_never_permitted_is_denied_at_once_unless_it_is_known_to_have_been() -> None:
    service = Denying(0.0)
    service.allowed_at = 100.0
    with pytest.raises(ClientError):
        service.patient(None).look()
    assert service.now == 0.0
    log = logging.getLogger("test")
    known = RetryingClient(lambda fresh: service, service.sleep, log, permitted=["look"], clock=lambda: service.now)
    assert known.look() == "seen"


def test_the_deadline_comes_before_patience_with_a_denial() -> None:
    service = Denying(0.0)
    client = service.patient(30.0)
    client.look()
    service.denied_at = 0.0
    with pytest.raises(ClientError):
        client.look()
    assert service.now < 100.0


def test_what_a_call_does_beside_is_denied_at_once() -> None:
    """A create with tags, where they may not be added: it is repeated without them."""

    class Untagged(Throttled):
        def create_training_job(self) -> None:
            message = "User: u is not authorized to perform: sagemaker:AddTags on resource: r"
            raise error("AccessDeniedException", message, "CreateTrainingJob")

    service = Untagged(0.0)
    client = service.patient(None)
    client.permitted.add("create_training_job")
    with pytest.raises(ClientError):
        client.create_training_job()
    assert service.now == 0.0


@pytest.mark.parametrize("code", ["ExpiredTokenException", "InvalidSignatureException", "RequestTimeTooSkewed"])
def test_credentials_that_nobody_renews_end_a_task_without_a_limit(code: str) -> None:
    class Expired(Throttled):
        def look(self) -> None:
            if self.now > 0:
                raise error(code, "Signature expired: 20261128T010000Z is now earlier than ...", "Look")

    service = Expired(0.0)
    client = service.patient(None)
    client.look()
    service.now = 1.0
    with pytest.raises(ClientError, match=code):
        client.look()
    assert EXPIRED_SECONDS <= service.now < EXPIRED_SECONDS + 120.0


@pytest.mark.parametrize(("code", "ends"), [("InternalFailure", True), ("ThrottlingException", False)])
def test_a_create_that_sagemaker_always_fails_by_its_own_error_ends(code: str, ends: bool) -> None:
    class Broken(Throttled):
        def create_training_job(self) -> str:
            if self.now < 3 * CREATE_SECONDS:
                raise error(code, "", "CreateTrainingJob")
            return "created"

        def look(self) -> str:
            return "seen"

    service = Broken(0.0)
    client = service.patient(None)
    client.look()
    if ends:
        with pytest.raises(ClientError, match=code):
            client.create_training_job()
        assert CREATE_SECONDS <= service.now < CREATE_SECONDS + 120.0
    else:
        assert client.create_training_job() == "created"
