"""What is known of whose account it is, before anything is asked. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable


def known_names(
    account: str, role_path: str, bucket: str, image: str, *, default_image: bool, sessions: Iterable[str] = ()
) -> dict[str, str]:
    """
    Return names, by what they are called in the report.

    :param role_path: what stands in the role's ARN behind ``role/``.
    :param default_image: whether the image is one of AWS's, whose parts say nothing of anybody.
    :param sessions: the names of the caller's profile and session.
    """
    names = dict.fromkeys(sessions, "<user>")
    if not default_image:
        names |= dict.fromkeys(_parts_of_image(image), "<image>")
    names[image] = "<image>"
    names |= dict.fromkeys((role_path.strip("/"), *role_path.split("/")), "<role>")
    names |= {bucket: "<bucket>", account: "<account>"}
    return {name: label for name, label in names.items() if name}


def _parts_of_image(image: str) -> list[str]:
    """Return the repository of an image, with and without its registry and tag, and its parts."""
    untagged = re.sub(r"(@[^/]*|:[^/@]*(@[^/]*)?)$", "", image)
    first, _, rest = untagged.partition("/")
    # As Docker tells them apart: a registry has a dot or a port.
    repository = rest if rest and re.search(r"[.:]|^localhost$", first) else untagged
    return [untagged, repository, *repository.split("/")]
