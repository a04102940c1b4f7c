"""What runs for a container image, since no container runs here."""

from __future__ import annotations

import re
import shlex
import shutil
from fnmatch import fnmatchcase
from pathlib import Path

from airflow_spot.local.builtin import algorithm
from airflow_spot.local.settings import Settings


class Images:
    """The ``--image PATTERN=COMMAND`` table; the first pattern that matches wins."""

    def __init__(self, settings: Settings) -> None:
        self._rules = [(pattern, shlex.split(command)) for pattern, command in settings.images]
        self._python = settings.python

    def command(self, image: str | None) -> list[str] | None:
        """Return the command given for an image, or None if none was."""
        if image is not None:
            for pattern, command in self._rules:
                if fnmatchcase(image, pattern):
                    return list(command)
        return None

    def interpreter(self, image: str | None) -> list[str]:
        """Return what runs a Python script in this image: the command given for it, else the service's ``python``."""
        return self.command(image) or [self._python]

    def path(self, image: str | None) -> str | None:
        """Return the folder of the program that was given for an image: first in the PATH of its jobs."""
        given = self.command(image)
        found = shutil.which(given[0]) if given else None
        return str(Path(found).absolute().parent) if found is not None else None

    def entrypoint(self, image: str | None) -> list[str] | None:
        """Return what was given to stand in for the image's entrypoint; None if nothing was, or a bare Python."""
        given = self.command(image)
        return None if given is None or _is_interpreter(given) else given

    def built_in(self, image: str | None) -> list[str] | None:
        """Return what stands in for the image of one of AWS's built-in algorithms, by the image's Python; else None."""
        known = algorithm(image)
        return None if known is None else known.command(self.interpreter(image))


def _is_interpreter(command: list[str]) -> bool:
    return len(command) == 1 and re.fullmatch(r"python[\d.]*", Path(command[0]).name) is not None


def parse_image(text: str) -> tuple[str, str]:
    """Return ``PATTERN=COMMAND`` as its two parts.

    :raises ValueError: if either is missing. The pattern ends at the first ``=``: image names have none.
    """
    pattern, equals, command = text.partition("=")
    if not pattern.strip() or not equals or not command.strip():
        raise ValueError(f"{text!r} is not PATTERN=COMMAND, e.g. '*xgboost*=python3'")
    return pattern.strip(), command.strip()
