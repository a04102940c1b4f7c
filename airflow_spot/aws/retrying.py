"""A client that retries transient errors: throttling, errors of the service, cut connections, expired credentials."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Collection, Iterator
from typing import Any, TypeVar

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    CredentialRetrievalError,
    HTTPClientError,
    MetadataRetrievalError,
)

from airflow_spot.core.durations import human
from airflow_spot.core.outcomes import DENIED_CODES, EXPIRED_CODES, HTTP_SERVER_ERROR, TRANSIENT_CODES

T = TypeVar("T")

#: Seconds between two tries of a call, after botocore's own retries are spent: doubled up to the second number.
PAUSES = (2.0, 60.0)
#: Seconds for which a client is borne with that has never had an answer: a wrong endpoint does not mend.
FIRST_ANSWER_SECONDS = 600.0
#: Seconds beyond the deadline for the calls that end a run: throttling at that moment must not leave its job running.
ENDING_SECONDS = 300.0
#: Seconds for which expired credentials are renewed in vain: by then nobody renews them any more.
EXPIRED_SECONDS = 7200.0
#: Seconds for which a denial of what was permitted before is not believed: policies and roles are changed in steps.
DENIED_SECONDS = 300.0
#: Seconds for which a create is repeated that SageMaker answers by its own error: by then it is of this request.
CREATE_SECONDS = 3600.0
_REMINDER_SECONDS = 600.0


def is_denied(error: Exception) -> bool:
    """Return whether a call was refused for want of permission."""
    return isinstance(error, ClientError) and error.response["Error"].get("Code", "") in DENIED_CODES


def is_expired(error: Exception) -> bool:
    """Return whether an error is of credentials that have run out: a fresh session mends them."""
    if isinstance(error, (CredentialRetrievalError, MetadataRetrievalError)):
        return True
    return isinstance(error, ClientError) and error.response["Error"].get("Code", "") in EXPIRED_CODES


def is_transient(error: Exception) -> bool:
    """Return whether the same call is worth repeating after an error."""
    if isinstance(error, (HTTPClientError, ConnectionError)) or is_expired(error):
        return True
    if not isinstance(error, ClientError):
        return False
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") or 0)
    return error.response["Error"].get("Code", "") in TRANSIENT_CODES or status >= HTTP_SERVER_ERROR


def _denies(error: Exception, call: str) -> bool:
    """Return whether a call itself is denied, and not what it does beside, such as to tag what it creates."""
    if not is_denied(error):
        return False
    said = re.search(r"not authorized to perform:?\s+[a-z0-9-]+:([A-Za-z]+)", str(error))
    return said is None or said[1].lower() == call.replace("_", "")


def _longest(call: str, error: Exception) -> float:
    """Return for how many seconds a call is repeated after an error, whatever the deadline."""
    if is_expired(error):
        return EXPIRED_SECONDS
    if call == "create_training_job" and isinstance(error, ClientError):
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") or 0)
        if status >= HTTP_SERVER_ERROR or error.response["Error"].get("Code", "").startswith("Internal"):
            return CREATE_SECONDS
    return float("inf")


class RetryingClient:
    """
    A boto3 client whose calls are repeated until they are answered.

    A call that was carried out although its answer was lost is repeated too: so only calls belong here of which a
    second one does no harm. CreateTrainingJob is one, by its name: it is answered by ``ResourceInUse``.

    :param connect: gives a client; told whether it has to be of a fresh session, since credentials have run out.
    :param sleep: waits so many seconds, and raises if the task is killed meanwhile.
    :param deadline: says after which of ``clock``'s seconds an error is raised after all; None for never. Where it is
        over already, the calls are those of an ending.
    :param log: gets one line when a call begins to fail, and one when it is answered again.
    :param permitted: the calls that were permitted before this client was made, as what is there proves: a denial of
        one of them, as of one that this client had an answer to, is believed after ``DENIED_SECONDS`` only.
    :ivar permitted: these, and those that were answered.
    """

    def __init__(
        self,
        connect: Callable[[bool], Any],
        sleep: Callable[[float], None],
        log: Any,
        *,
        deadline: float | None = None,
        permitted: Collection[str] = (),
        clock: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._connect = connect
        self._connected: Any = None
        self._sleep = sleep
        self._log = log
        self._deadline = deadline
        self._clock = clock
        self._jitter = jitter
        self._answered = False
        self.permitted = set(permitted)
        if deadline is not None and clock() >= deadline:
            self.extend_deadline()

    def extend_deadline(self) -> None:
        """Retry transient errors for ``ENDING_SECONDS`` from now, even past the deadline."""
        if self._deadline is not None:
            self._deadline = max(self._deadline, self._clock() + ENDING_SECONDS)

    @property
    def plain(self) -> Any:
        """The client itself, which does not retry."""
        if self._connected is None:
            self._connected = self._connect(False)
        return self._connected

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.plain, name)
        if name in ("meta", "exceptions") or not callable(value):
            return value
        return lambda *args, **kwargs: self.call(name, lambda: getattr(self.plain, name)(*args, **kwargs))

    def get_paginator(self, operation: str) -> _RetryingPages:
        """Page through an operation; a page that fails restarts the whole."""
        return _RetryingPages(self, operation)

    def call(self, name: str, call: Callable[[], T]) -> T:
        """
        Repeat a call until it is answered.

        :raises ClientError: an answer, and not one that passes; or the deadline is over.
        :raises BotoCoreError: likewise.
        """
        begun, failures, told = self._clock(), 0, 0.0
        while True:
            try:
                answer = call()
            except (ClientError, BotoCoreError) as error:
                now = self._clock()
                doubted = name in self.permitted and _denies(error, name) and now - begun < DENIED_SECONDS
                if not (doubted or is_transient(error)) or self._is_over(begun, now):
                    raise
                if now - begun >= _longest(name, error):
                    raise
                if not failures or now - told >= _REMINDER_SECONDS:
                    told = now
                    self._log.warning("%s failed (%s); retrying", name, summarize_error(error))
                if is_expired(error):
                    self._connected = self._connect(True)
                pause = min(PAUSES[1], PAUSES[0] * 2.0 ** min(failures, 10))
                failures += 1
                self._sleep(pause * (1 - self._jitter() / 2))
            else:
                self._answered = True
                self.permitted.add(name)
                if failures:
                    self._log.info("%s succeeded after retrying for %s", name, human(self._clock() - begun))
                return answer

    def _is_over(self, begun: float, now: float) -> bool:
        if not self._answered and now - begun >= FIRST_ANSWER_SECONDS:
            return True
        return self._deadline is not None and now >= self._deadline


class _RetryingPages:
    def __init__(self, client: RetryingClient, operation: str) -> None:
        self._client = client
        self._operation = operation

    def paginate(self, **asked: Any) -> Iterator[dict[str, Any]]:
        """Return all pages."""

        def pages() -> list[dict[str, Any]]:
            return list(self._client.plain.get_paginator(self._operation).paginate(**asked))

        return iter(self._client.call(self._operation, pages))


def summarize_error(error: BaseException) -> str:
    """Name an error without what it repeats of a request."""
    if isinstance(error, ClientError):
        return f"{error.response['Error'].get('Code')} at {error.operation_name}"
    return type(error).__name__
