"""The wheel of this package: read, or made again from what is installed."""

from __future__ import annotations

import base64
import email
import hashlib
import json
import zipfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

NAME = "airflow-spot"
# What installers write beside a distribution; RECORD is written again.
_INSTALLERS = frozenset({"INSTALLER", "REQUESTED", "RECORD", "direct_url.json", "uv_build.json", "uv_cache.json"})
#: A zip's smallest date, so that the same content is the same file.
EPOCH = (1980, 1, 1, 0, 0, 0)


class WheelError(RuntimeError):
    """There is no wheel, or it is not one of this package; the message says what to do."""


@dataclass(frozen=True)
class Wheel:
    """A wheel of this package, as its metadata describes it."""

    path: Path
    version: str
    #: Without extras.
    requirements: tuple[Requirement, ...]


def read_wheel(path: Path) -> Wheel:
    """Read a wheel's metadata.

    :raises WheelError: if it is not a wheel of this package that any platform can install.
    """
    try:
        name, version, _, tags = parse_wheel_filename(path.name)
    except InvalidWheelFilename as error:
        raise WheelError(f"{path} is not a wheel: {error}") from None
    if name != NAME or {str(tag) for tag in tags} != {"py3-none-any"}:
        raise WheelError(f"{path} is not a wheel of {NAME} for any platform (py3-none-any)")
    try:
        with zipfile.ZipFile(path) as archive:
            text = archive.read(f"airflow_spot-{version}.dist-info/METADATA").decode()
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise WheelError(f"{path} cannot be read: {error}") from None
    required = (Requirement(line) for line in email.message_from_string(text).get_all("Requires-Dist", []))
    return Wheel(path, str(version), tuple(one for one in required if "extra" not in str(one.marker or "")))


def pack_installed(folder: Path) -> Path:
    """Make a wheel of the installed distribution in a folder and return its path.

    A pure wheel is its files and a list of them, and an installation keeps both.

    :raises WheelError: if it is installed from a checkout, which has no such files.
    """
    try:
        distribution = metadata.distribution(NAME)
    except metadata.PackageNotFoundError:
        raise WheelError(f"{NAME} is not installed here: name its wheel with --wheel") from None
    if json.loads(distribution.read_text("direct_url.json") or "{}").get("dir_info", {}).get("editable"):
        raise WheelError("this is a checkout: run `make wheel`, and name the file in dist/ with --wheel")
    path = folder / f"{canonicalize_name(NAME).replace('-', '_')}-{distribution.version}-py3-none-any.whl"
    record = ""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(distribution.files or (), key=str):
            # Outside of site-packages are scripts, which every installer makes itself.
            if file.parts[0] == ".." or file.suffix == ".pyc" or file.name in _INSTALLERS:
                continue
            content = file.read_binary()
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            record += f"{file.as_posix()},sha256={digest},{len(content)}\n"
            archive.writestr(zipfile.ZipInfo(file.as_posix(), EPOCH), content)
        listing = f"airflow_spot-{distribution.version}.dist-info/RECORD"
        archive.writestr(zipfile.ZipInfo(listing, EPOCH), f"{record}{listing},,\n")
    return path
