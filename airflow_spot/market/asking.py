"""One question to AWS: an answer, kept for a while, or half a sentence of why there is none. Nothing raises."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from airflow_spot.market.cache import Cache

#: Seconds for which a refusal is remembered: it is asked and told once.
REFUSED_AGE = 3600.0
#: Seconds for which it is remembered that nobody answered: networks mend sooner than policies.
UNANSWERED_AGE = 300.0
#: What the clients of the market should wait, in seconds; see ``docs/advise.md``.
TIMEOUT_SECONDS = 3

#: What error codes of AWS begin with, what is said of them, and whether it is a refusal that lasts.
_CODES: tuple[tuple[tuple[str, ...], str, bool], ...] = (
    (
        ("AccessDenied", "UnauthorizedOperation", "AuthorizationError", "NotAuthorized", "OptInRequired"),
        "needs {permission}",
        True,
    ),
    (
        ("UnrecognizedClient", "InvalidClientTokenId", "ExpiredToken", "AuthFailure", "InvalidSignature"),
        "AWS does not accept the credentials: {code}",
        False,
    ),
    (("Throttling", "TooManyRequests", "RequestLimitExceeded"), "AWS throttles {permission}", False),
    (("MaxConfigLimitExceeded",), "AWS scores no other set of types in 24 hours", True),
    (
        ("UnknownOperation", "InvalidAction", "NotImplemented", "UnknownService", "InvalidEndpoint"),
        "{permission} is not offered here",
        True,
    ),
    (("",), "{permission} answers {code}", True),
)
#: Errors without a code of AWS, by the names of their classes: botocore's, and those of the standard library.
_CLASSES: tuple[tuple[frozenset[str], str], ...] = (
    (
        frozenset(("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "TokenRetrievalError")),
        "no AWS credentials",
    ),
    (
        frozenset(("ConnectTimeoutError", "ReadTimeoutError", "TimeoutError", "timeout")),
        f"no answer within {TIMEOUT_SECONDS} s",
    ),
    (frozenset(("HTTPError",)), "the address answers with an error"),
    (
        frozenset(
            ("EndpointConnectionError", "ConnectionError", "HTTPClientError", "ProxyConnectionError", "URLError")
        ),
        "no connection",
    ),
)


def reason(error: BaseException, permission: str) -> tuple[str, bool]:
    """
    Return why a call has no answer, as half a sentence, and whether it is AWS's own refusal.

    :param permission: the IAM action that it needs, such as ``pricing:GetProducts``.
    """
    if code := _code(error):
        for begins, words, lasts in _CODES:
            if code.startswith(begins):
                return words.format(permission=permission, code=code[:60]), lasts
    inner = getattr(error, "reason", None)  # of urllib's, what its connection said
    names = {each.__name__ for one in (error, inner) for each in type(one).__mro__}
    return next(
        (words for classes, words in _CLASSES if classes & names), f"cannot be read ({type(error).__name__})"
    ), False


def _code(error: BaseException) -> str:
    response = getattr(error, "response", None)
    inner = response.get("Error") if isinstance(response, dict) else None
    code = inner.get("Code") if isinstance(inner, dict) else None
    return str(code) if code else ""


class Asking:
    """
    Asks, and keeps what it heard.

    :param cache: what was heard before.
    :param now: the time, in UTC.
    :param prefix: begins every key: what tells accounts and endpoints apart.
    """

    def __init__(self, cache: Cache, now: Callable[[], datetime], prefix: str = "") -> None:
        self._cache = cache
        self._now = now
        self._prefix = prefix
        #: By source, why it was not read: each source once.
        self.refused: dict[str, str] = {}

    @property
    def now(self) -> datetime:
        """The time."""
        return self._now()

    def ask(
        self, key: str, max_age: float, permission: str, call: Callable[[], Any]
    ) -> tuple[Any, datetime | None, str]:
        """
        Return the answer, when it was read, and why there is none; either the answer or the reason is empty.

        :param key: what is asked.
        :param max_age: how old the answer may be, in seconds.
        :param permission: the IAM action of the call; or what else is read, such as a file.
        :param call: returns a JSON value.
        """
        key = f"{self._prefix}|{permission}|{key}"
        if found := self._cache.get(key, max(max_age, REFUSED_AGE), self.now):
            kept, read = found
            age = (self.now - read).total_seconds()
            if isinstance(kept, dict) and isinstance(why := kept.get("why"), str):
                if age <= (REFUSED_AGE if kept.get("refused") is True else UNANSWERED_AGE):
                    self.refused.setdefault(permission, why)
                    return None, None, why
            elif isinstance(kept, dict) and "value" in kept and age <= max_age:
                return kept["value"], read, ""
        try:
            value = call()
        except Exception as error:  # nothing of the market may fail a task, whatever the answer or the client
            why, refused = reason(error, permission)
            self._cache.put(key, {"why": why, "refused": refused}, self.now)
            self.refused.setdefault(permission, why)
            return None, None, why
        read = self.now
        self._cache.put(key, {"value": value}, read)
        return value, read, ""
