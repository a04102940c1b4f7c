"""Linux namespaces by ctypes: a view of the machine in which ``/opt/ml`` and ``/tmp`` are a job's own directories.

Runs inside the shim (standard library only). Everything is done inside namespaces that end with the job, so the
host never sees a mount, and never gets a directory.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE = 0x2, 0x4, 0x8, 0x1000, 0x4000, 0x40000
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36

OPT = "/opt"
OPT_ML = "/opt/ml"
TMP = "/tmp"  # noqa: S108 - of the container's own
#: Each is a mount, and a place for it that goes with the job: 2,000 take a second or two at each start.
MOST_ENTRIES = 500

#: Of what is in a folder: its name, whether it is a link, and a directory, and when it was changed last.
Entry = tuple[str, bool, bool, float]

_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    assert _libc is not None  # noqa: S101 - callers are behind `enter_*`, which Linux alone reaches
    arguments = (os.fsencode(source), os.fsencode(target), kind.encode(), ctypes.c_ulong(flags), data.encode())
    _check(_libc.mount(*arguments), f"mount {target}")


def unshare(flags: int) -> None:
    """Call unshare(2); Python has it from 3.12 on only.

    :raises OSError: where the machine does not allow it.
    """
    if _libc is None:
        raise OSError("this platform has no namespaces")
    _check(_libc.unshare(flags), "unshare")


def die_with_parent(signal_number: int) -> None:
    """Make the kernel send this process ``signal_number`` when its parent dies. No effect except on Linux."""
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, signal_number, 0, 0, 0)


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent dies, so that none is lost. No effect except on Linux."""
    if _libc is not None:
        _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def enter_process_namespace() -> None:
    """Put the children of this process into a PID namespace of their own, which the kernel empties as it ends.

    An ordinary user needs a user namespace for that, in which user and group numbers stay the same: a
    script runs as the user who started the service, who owns its files.

    :raises OSError: where the machine does not allow it.
    """
    uid, gid = os.getuid(), os.getgid()
    try:
        unshare(CLONE_NEWPID)
    except PermissionError:
        unshare(CLONE_NEWUSER | CLONE_NEWPID)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")


def enter_mount_namespace(
    root: str, hostname: str, hosts: Mapping[str, str], scratch: str, paths: Iterable[str] = ()
) -> None:
    """Show ``root`` at ``/opt/ml``, a directory of the job at ``/tmp``, set ``hostname``, and resolve ``hosts``.

    :param root: the job's directory on the host.
    :param hosts: names to addresses, added to those of the machine's /etc/hosts.
    :param scratch: a directory of the job outside ``root``, for the file that stands in for /etc/hosts, and ``tmp``.
    :param paths: what the job is certain to need of the machine, such as its program.
    :raises OSError: where the machine does not allow it.
    """
    unshare(CLONE_NEWNS | CLONE_NEWUTS)
    _mount("none", "/", "", MS_REC | MS_PRIVATE)
    hosts_file = Path(scratch) / "etc-hosts"
    etc_hosts = Path("/etc/hosts")
    known = etc_hosts.read_text() if etc_hosts.exists() else ""
    hosts_file.write_text(known + "".join(f"{address}\t{name}\n" for name, address in hosts.items()))
    # A descriptor outlives what is mounted over the path, should the job's directory itself be below /opt.
    root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY)
    if etc_hosts.exists():
        _mount(str(hosts_file), "/etc/hosts", "", MS_BIND)
    if Path(TMP).is_dir():
        _cover_tmp(Path(scratch) / "tmp", {path.split("/")[2] for path in paths if path.startswith(f"{TMP}/")})
    if not Path(OPT_ML).is_dir():
        _cover_opt()
    _mount(f"/proc/self/fd/{root_fd}", OPT_ML, "", MS_BIND | MS_REC)
    os.close(root_fd)
    if hostname:
        name = hostname.encode()
        assert _libc is not None  # noqa: S101 - unshare has raised otherwise
        _check(_libc.sethostname(name, len(name)), "sethostname")
    try:
        _mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    except OSError:
        # Inside a container parts of /proc may be masked, and then an ordinary user gets no new one. The old one
        # shows the host's process numbers and does no harm.
        return


def _cover_opt() -> None:
    """Put a fresh /opt in place that has all that /opt had, and ``ml``. An interpreter may well live in /opt."""
    old = os.open(OPT, os.O_PATH | os.O_DIRECTORY)
    entries = _entries(OPT)
    _mount("tmpfs", OPT, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755")
    for entry in entries:
        _show(old, OPT, *entry[:3])
    Path(OPT_ML).mkdir()
    os.close(old)


def _cover_tmp(own: Path, needed: Collection[str]) -> None:
    """Put a directory of the job in place of /tmp, with what /tmp had: data or an interpreter may be there.

    What is made in it is the job's own, and its paths are as short as a Unix socket's have to be.
    """
    own.mkdir(exist_ok=True)
    own.chmod(0o1777)  # as any /tmp: a script may start programs as another user
    own_fd = os.open(own, os.O_PATH | os.O_DIRECTORY)
    old = os.open(TMP, os.O_PATH | os.O_DIRECTORY)
    entries = chosen(_entries(TMP), needed)
    _mount(f"/proc/self/fd/{own_fd}", TMP, "", MS_BIND)
    for entry in entries:
        # Others use /tmp too: what was there may be gone.
        with contextlib.suppress(OSError):
            _show(old, TMP, *entry[:3])
    os.close(old)
    os.close(own_fd)


def chosen(entries: list[Entry], needed: Collection[str], most: int = MOST_ENTRIES) -> list[Entry]:
    """Return what is shown of a /tmp: all, or of very many what is needed, and then what was changed last."""
    if len(entries) <= most:
        return entries
    return sorted(entries, key=lambda entry: (entry[0] not in needed, -entry[3]))[:most]


def _entries(folder: str) -> list[Entry]:
    """Return what is in a folder."""
    found = []
    for entry in os.scandir(folder):
        with contextlib.suppress(FileNotFoundError):  # others use /tmp too
            changed = entry.stat(follow_symlinks=False).st_mtime
            found.append((entry.name, entry.is_symlink(), entry.is_dir(), changed))
    return found


def _show(old: int, folder: str, name: str, is_link: bool, is_directory: bool) -> None:
    """Show an entry of the directory ``old`` in the folder that has taken its place."""
    here, there = f"{folder}/{name}", f"/proc/self/fd/{old}/{name}"
    # A container before may have left a place for it: that of an installation is followed by the job's.
    if is_link:
        with contextlib.suppress(FileExistsError):
            Path(here).symlink_to(Path(there).readlink())
        return
    if is_directory:
        Path(here).mkdir(exist_ok=True)
    else:
        Path(here).touch()
    _mount(there, here, "", MS_BIND | MS_REC)
