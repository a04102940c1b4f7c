"""Pages of what is told: as :mod:`airflow_spot.local.api.pagination` makes them, with each service's own errors."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from airflow_spot.local.api.pagination import page
from airflow_spot.local.errors import ServiceError

T = TypeVar("T")


def paged(
    items: Iterable[T], params: dict[str, Any], place: Callable[[T], tuple[Any, ...]], *, size: int, error: str
) -> tuple[list[T], str]:
    """Return a page, sorted by ``place``, and the token of the next one; an empty text if there is none.

    :param size: of a page, unless the request says.
    :param error: the code for a token that is not one of this request's.
    :raises ServiceError: with that code.
    """
    try:
        shown, token = page(items, params, place, default_size=size)
    except ServiceError as refused:
        raise ServiceError(error, refused.message) from None
    return shown, token.get("NextToken", "")
