"""One question to AWS: an answer, kept for a while, or half a sentence of why there is none. Nothing raises."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from airflow_spot.core.outcomes import BAD_CREDENTIALS, DENIED_CODES
from airflow_spot.market.cache import Cache

#: Seconds for which a refusal is remembered: it is asked and told once.
REFUSED_AGE = 3600.0
#: Seconds for which it is remembered that nobody answered: networks mend sooner than policies.
UNANSWERED_AGE = 300.0
#: What the clients of the market should wait, in seconds; see ``docs/advise.md``.
TIMEOUT_SECONDS = 3


@dataclass(frozen=True)
class Refusal:
    """
    Why a call has no answer.

    :param why: half a sentence.
    :param lasts: whether it is AWS's own answer, and not the want of one.
    :param any_question: whether every other question to the same operation would end so: it is not asked.
    """

    why: str
    lasts: bool
    any_question: bool


#: What error codes of AWS begin with, what is said of them, whether that lasts, and whether for every question.
_CODES: tuple[tuple[tuple[str, ...], str, bool, bool], ...] = (
    (
        (*sorted(DENIED_CODES), "AuthorizationError", "NotAuthorized", "OptInRequired"),
        "needs {permission}",
        True,
        True,
    ),
    (BAD_CREDENTIALS, "AWS does not accept the credentials: {code}", False, True),
    (("Throttling", "TooManyRequests", "RequestLimitExceeded"), "AWS throttles {permission}", False, True),
    (("MaxConfigLimitExceeded",), "AWS scores no other set of types in 24 hours", True, False),
    (
        ("UnknownOperation", "InvalidAction", "NotImplemented", "UnknownService", "InvalidEndpoint"),
        "{permission} is not offered here",
        True,
        True,
    ),
    (("",), "{permission} answers {code}", True, False),
)
#: Errors without a code of AWS, by the names of their classes (botocore's and the standard library's), what is said of
#: them, and whether for every question.
_CLASSES: tuple[tuple[frozenset[str], str, bool], ...] = (
    (
        frozenset(("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "TokenRetrievalError")),
        "no AWS credentials",
        True,
    ),
    (
        frozenset(("ConnectTimeoutError", "ReadTimeoutError", "TimeoutError", "timeout")),
        f"no answer within {TIMEOUT_SECONDS} s",
        True,
    ),
    (frozenset(("HTTPError",)), "the address answers with an error", True),
    (
        frozenset(("EndpointConnectionError", "ConnectionError", "HTTPClientError", "URLError")),
        "no connection",
        True,
    ),
)


def reason(error: BaseException, permission: str) -> Refusal:
    """
    Return why a call has no answer.

    :param permission: the IAM action that it needs, such as ``pricing:GetProducts``.
    """
    if code := _code(error):
        for begins, words, lasts, any_question in _CODES:
            if code.startswith(begins):
                return Refusal(words.format(permission=permission, code=code[:60]), lasts, any_question)
    inner = getattr(error, "reason", None)  # of urllib's, what its connection said
    names = {each.__name__ for one in (error, inner) for each in type(one).__mro__}
    for classes, words, any_question in _CLASSES:
        if classes & names:
            return Refusal(words, False, any_question)
    return Refusal(f"cannot be read ({type(error).__name__})", False, False)


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
        every = f"{self._prefix}|{permission}"
        for kept in (f"{every}|{key}", every):
            if found := self._cache.get(kept, max(max_age, REFUSED_AGE), self.now):
                value, read = found
                age = (self.now - read).total_seconds()
                if why := _refused(value, age):
                    self.refused.setdefault(permission, why)
                    return None, None, why
                if isinstance(value, dict) and "value" in value and age <= max_age:
                    return value["value"], read, ""
        try:
            answer = call()
        except Exception as error:  # nothing of the market may fail a task, whatever the answer or the client
            refusal = reason(error, permission)
            kept = every if refusal.any_question else f"{every}|{key}"
            self._cache.put(kept, {"why": refusal.why, "lasts": refusal.lasts}, self.now)
            self.refused.setdefault(permission, refusal.why)
            return None, None, refusal.why
        read = self.now
        self._cache.put(f"{every}|{key}", {"value": answer}, read)
        return answer, read, ""


def _refused(kept: Any, age: float) -> str:
    """Return the reason of a refusal that still counts; empty where it is none."""
    why = kept.get("why") if isinstance(kept, dict) else None
    if not isinstance(why, str):
        return ""
    return why if age <= (REFUSED_AGE if kept.get("lasts") is True else UNANSWERED_AGE) else ""
