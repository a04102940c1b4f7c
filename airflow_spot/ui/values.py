"""What the pages' shells hand over: a request and an answer of no framework, and whoever asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


class Viewer(Protocol):
    """Somebody who is logged in; rights are Airflow's auth manager's to give."""

    @property
    def name(self) -> str:
        """What the audit log calls them."""

    def may_read(self, dag_id: str) -> bool:
        """Return whether they may see the task instances of a DAG."""

    def may_edit(self, dag_id: str) -> bool:
        """Return whether they may change the task instances of a DAG."""

    def readable(self, dag_ids: frozenset[str]) -> frozenset[str]:
        """Return those of some DAGs whose task instances they may see."""


@dataclass(frozen=True)
class Request:
    """
    One request.

    :param path: below the pages' base, as it came: percent-encoded.
    :param viewer: None where nobody is logged in.
    :param headers: by their names in small letters.
    :param base: the path of the pages, as a browser has it.
    :param airflow: the path of Airflow's own pages.
    :param shells: a page is served without its content, which its script asks for: where a browser sends no credentials
        by itself, as with Airflow 3.0 and the first 3.1.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    viewer: Viewer | None
    base: str
    airflow: str = ""
    shells: bool = False


@dataclass(frozen=True)
class Answer:
    """What is sent back."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
