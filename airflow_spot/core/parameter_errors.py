"""The error of a wrong parameter or field: it names the field, the value and the fix."""

from __future__ import annotations

import re
from typing import Any

from airflow_spot.core.urls import without_credentials

#: Fields whose values may be secrets: errors name the key, never the value.
SECRET_FIELDS = frozenset({"HyperParameters", "Environment"})
#: And those of AlgorithmSpecification: a command line is a place for passwords too.
SECRET_ARGUMENTS = frozenset({"ContainerEntrypoint", "ContainerArguments"})


class Described(str):
    """Words about a value that is not shown, or not there; in an error they stand without quotes."""

    def __repr__(self) -> str:
        return str(self)


_KINDS: dict[type, str] = {
    type(None): "nothing",
    str: "text",
    bool: "true or false",
    int: "a number",
    float: "a number",
    dict: "a mapping",
    list: "a list",
    tuple: "a list",
}


def kind_of(value: Any) -> Described:
    """Return what kind of value it is, in words, for an error that must not show it."""
    return Described(_KINDS.get(type(value)) or f"an object of {type(value).__name__}")


class InvalidParameterError(ValueError):
    """
    One field of a request cannot be right; nothing was sent.

    :param name: the field, as a path into the request or the name of a parameter.
    :param value: what was given. It is not shown where it may be a secret.
    :param fix: what to do about it.
    """

    def __init__(self, name: str, value: Any, fix: str) -> None:
        #: The value as it may be shown, in a hundred characters; empty where it may be a secret.
        self.shown = "" if _may_be_secret(name) else _shorten(value)
        super().__init__(f"{name} is {self.shown}: {fix}" if self.shown else f"{name}: {fix}")
        self.name = name
        self.value = value
        self.fix = fix


class MissingFileError(InvalidParameterError):
    """A file or folder that a parameter names is not on this machine; on another worker it may be."""


def _may_be_secret(name: str) -> bool:
    parts = re.split(r"\W+", name)
    # As a whole, AlgorithmSpecification holds the arguments.
    return parts[-1] == "AlgorithmSpecification" or not (SECRET_FIELDS | SECRET_ARGUMENTS).isdisjoint(parts)


def _shorten(value: Any) -> str:
    """Show a value in at most 103 characters; of a path the end matters as much as the beginning."""
    text = without_credentials(repr(value))
    return text if len(text) <= 100 else f"{text[:60]}...{text[-40:]}"
