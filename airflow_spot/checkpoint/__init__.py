"""
Checkpoints that survive a kill at any moment, for scripts that train on managed spot.

Standard library only, Python 3.6 and newer: it runs in the container, where Airflow is not. The operator packs it
beside ``entry_point``; the file can also be copied. SageMaker copies the folder to S3 while the script runs, and back
before it starts again; a kill can come in the middle of a write, and of a copy.

    from airflow_spot.checkpoint import Checkpointer

    checkpoints = Checkpointer()
    found = checkpoints.load(read)              # read(path) -> whatever write(path) wrote
    first = found.step if found else 0
    checkpoints.on_sigterm()
    for step in range(first, total):
        train_one()
        if checkpoints.due(step + 1, every=100):
            checkpoints.save(step + 1, write)
        checkpoints.progress(step + 1, total, {"loss": loss})
"""

import hashlib
import json
import math
import operator
import os
import re
import shutil
import signal
import sys
import threading
import time
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Set, Tuple

#: Where SageMaker restores checkpoints to, unless the request says otherwise (CheckpointConfig.LocalPath).
DEFAULT_PATH = "/opt/ml/checkpoints"
#: SageMaker uploads no file of this ending, and puts one of the others beside each that it has uploaded.
IGNORED, UPLOADING, UPLOADED = ".sagemaker-ignore", ".sagemaker-uploading", ".sagemaker-uploaded"
_MARKERS = (UPLOADING, UPLOADED)
#: The small file that tells the operator how far the training is.
PROGRESS_NAME = "airflow-spot-progress.json"
#: Seconds between two writes of it: each is an upload.
PROGRESS_SECONDS = 30.0
#: How the shell tells a process that SIGTERM ended; the operator takes it for an interruption.
SIGTERM_EXIT_CODE = 128 + int(signal.SIGTERM)
#: By step, and by the milliseconds of the clock: a step may be saved twice.
_MANIFEST = re.compile(r"^step-(\d{12})-[0-9a-f]{12}\.json$")
_DATA = re.compile(r"^step-\d{12}-[0-9a-f]{12}\.data$")
#: What torchrun, and mpirun, tell each process: which it is of all, and of its host's.
_RANKS = (("RANK", "LOCAL_RANK"), ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK"))
_VERSION = 1
_CHUNK = 1 << 20
#: Seconds between two interruptions, until one was seen: for the advice only.
_HOUR = 3600.0
#: Seconds after the first save within which markers come, if it is SageMaker that looks after the folder.
_MARKERS_AFTER = 300.0
#: Seconds after the first save within which an upload is through, for hosts that do not see it.
_THROUGH_AFTER = 1800.0


class CheckpointError(Exception):
    """Checkpoints are there and none of them can be used."""


class Damaged(Exception):
    """A checkpoint is not what was written."""


class _Missing(Damaged):
    """A part of it is not there."""


#: A whole checkpoint. ``path`` is what ``write`` wrote, a file or a folder; ``state`` is what ``read`` made of it.
Checkpoint = NamedTuple("Checkpoint", [("step", int), ("path", str), ("metrics", Dict[str, Any]), ("state", Any)])


class Checkpointer:
    """
    The checkpoints of one training in one folder.

    :param path: the folder; None: ``SM_CHECKPOINT_DIR``, else ``/opt/ml/checkpoints``.
    :param keep: so many of the newest stay, at least 1.
    :param barrier: with several hosts or processes, waits until all have called it (``torch.distributed.barrier``).
        One writes, and the others wait for it.
    :param tell: takes a line for the log.
    """

    def __init__(
        self,
        path: Optional[str] = None,
        keep: int = 2,
        barrier: Optional[Callable[[], Any]] = None,
        tell: Callable[[str], Any] = lambda line: print(line, flush=True),
    ) -> None:
        if keep < 1:
            raise ValueError("keep is %r: keep at least 1 checkpoint" % (keep,))
        self.path = str(path or os.environ.get("SM_CHECKPOINT_DIR") or DEFAULT_PATH)
        self.keep = keep
        self.stopping = False
        self._process = os.getpid()
        self._first_saved: Optional[float] = None
        self._lock = threading.RLock()
        self.barrier = barrier
        self._tell = tell
        self._writes, self._cleans = _roles(os.environ)
        self._saves = 0
        self._last = ""
        self._save_seconds = 0.0
        self._interval_began = time.monotonic()
        self._progress_at = -math.inf
        self._told: Set[str] = set()
        self._damaged: Set[str] = set()
        os.makedirs(self.path, exist_ok=True)
        self._restored = [name for _, name in self._manifests()]

    # ---- reading

    def latest(self) -> Optional[Checkpoint]:
        """
        Return the newest checkpoint that is whole, without reading it into memory; None where there is none.

        :raises CheckpointError: several are there and all are damaged: a training is not started over in silence. Where
            each lacks files, none has ever been in S3 as a whole, and the training begins.
        """
        found = self._newest_whole()
        return None if found is None else Checkpoint(*found, None)

    def load(self, read: Callable[[str], Any]) -> Optional[Checkpoint]:
        """
        Read the newest checkpoint that is whole; one that is damaged is said, and the one before it is taken.

        :param read: makes the state of the path that ``write`` wrote. What it raises of a whole checkpoint is raised:
            an older one would not be read either.
        :return: None where there is none, and the training begins.
        :raises CheckpointError: as :meth:`latest` does.
        """
        found = self._newest_whole()
        if found is None:
            self._say("no checkpoint in %s: training begins" % self.path)
            return None
        step, path, metrics = found
        state = read(path)
        self._say("resuming from the checkpoint of step %d" % step)
        return Checkpoint(step, path, metrics, state)

    # ---- writing

    def due(self, step: int, every: Optional[int] = None, seconds: Optional[float] = None) -> bool:
        """
        Return whether to save now: every so many steps, or seconds, and always once SIGTERM has come.

        :param every: steps between two checkpoints.
        :param seconds: seconds between two; used where ``every`` is None. None: as :meth:`advised_seconds` says.
        """
        if self.stopping:
            return True
        if every is not None:
            return step % max(every, 1) == 0
        interval = self.advised_seconds() if seconds is None else seconds
        return time.monotonic() - self._interval_began >= interval

    def save(self, step: int, write: Callable[[str], Any], metrics: Optional[Mapping[str, Any]] = None) -> None:
        """
        Write a checkpoint so that a reader sees all of it or nothing, then drop the oldest.

        Ends the process with 143 where SIGTERM has come: what was trained is kept.

        :param step: what the next start resumes from; a number of 12 digits at most, not negative.
        :param write: writes a file, or makes a folder, at the path that it is given. Called where this process writes.
        :param metrics: small numbers that are kept with it, as JSON.
        """
        step = operator.index(step)
        if not 0 <= step < 10**12:
            raise ValueError("step is %r: it has to be a number from 0 to 999999999999" % (step,))
        # Numbers of frameworks are no JSON. Before the write: what is wrong must not leave half a checkpoint.
        plain = json.loads(json.dumps(dict(metrics or {}), default=float))
        with self._lock:
            self._save(step, write, plain)
        if self.stopping:
            self._say("saved step %d after SIGTERM, ending with exit code %d" % (step, SIGTERM_EXIT_CODE))
            _end()

    def _save(self, step: int, write: Callable[[str], Any], metrics: Mapping[str, Any]) -> None:
        began = time.monotonic()
        if self._writes:
            self._write(step, write, metrics)
        if self.barrier is not None:
            self.barrier()
        self._saves += 1
        if self._first_saved is None:
            self._first_saved = time.monotonic()
        if self._cleans:
            self._drop_oldest()
        now = time.monotonic()
        self._advise(now - began, began - self._interval_began)
        self._save_seconds, self._interval_began = now - began, now

    def on_sigterm(self) -> None:
        """
        Have SIGTERM noted, not obeyed at once: :meth:`due` says yes from then on, and :meth:`save` ends the process.

        A spot instance may also go without SIGTERM, or before the save is done: what was saved before counts.
        """
        self._process = os.getpid()
        signal.signal(signal.SIGTERM, self._note_sigterm)

    def progress(self, step: int, total: Optional[int] = None, metrics: Optional[Mapping[str, Any]] = None) -> None:
        """
        Tell how far the training is, by a small file that reaches S3 with the checkpoints; twice a minute at most.

        :param step: how many steps are done.
        :param total: of how many; None where that is not known.
        :param metrics: numbers; what is not finite is left out.
        """
        now, step = time.monotonic(), operator.index(step)
        total = None if total is None else operator.index(total)
        done = total is not None and step >= total
        if not self._writes or (now - self._progress_at < PROGRESS_SECONDS and not done):
            return
        self._progress_at = now
        numbers = {str(key): float(value) for key, value in (metrics or {}).items() if _is_number(value)}
        said = {"v": _VERSION, "step": step, "total": total, "metrics": numbers, "at": time.time()}
        try:
            self._put_json(PROGRESS_NAME, said)
        except OSError as error:  # a full disk: the training is worth more than the word on it
            self._say_once("progress", "the progress cannot be written: %s" % error)

    def advised_seconds(self, between_interruptions: float = _HOUR) -> float:
        """
        Return the interval that loses least, sqrt(2 x save time x time between interruptions) (Young, 1974).

        :param between_interruptions: seconds; an hour where none was seen.
        """
        return max(math.sqrt(2 * self._save_seconds * between_interruptions), 1.0) if self._save_seconds else 60.0

    # ---- inside

    def _write(self, step: int, write: Callable[[str], Any], metrics: Mapping[str, Any]) -> None:
        stem = self._new_stem(step)
        aside = os.path.join(self.path, "%s.data%s" % (stem, IGNORED))
        try:
            write(aside)
            _check_written(aside)
            _remove_markers(aside)
            files = {name: _digest(os.path.join(aside, name) if name else aside) for name in _files(aside)}
            for name in files:
                _sync(os.path.join(aside, name) if name else aside)
            os.rename(aside, os.path.join(self.path, stem + ".data"))
        except BaseException:
            for name in _beside(aside):
                _remove(os.path.join(self.path, name))
            raise
        _sync(self.path)
        # Last of all: without it the data are no checkpoint.
        manifest = {"v": _VERSION, "step": step, "files": files, "metrics": dict(metrics)}
        self._put_json(stem + ".json", manifest)
        self._last = stem + ".json"
        self._say("checkpoint of step %d: %s" % (step, _size_of(files)))

    def _new_stem(self, step: int) -> str:
        """Return a name that sorts behind those of the same step, also where the clock went back or stood."""
        start = "step-%012d-" % step
        taken = [name[len(start) : len(start) + 12] for name in os.listdir(self.path) if name.startswith(start)]
        after = [int(each, 16) + 1 for each in taken if re.match("^[0-9a-f]{12}$", each)]
        return "%s%012x" % (start, max([int(time.time() * 1000), *after]))

    def _put_json(self, name: str, said: Mapping[str, Any]) -> None:
        aside = os.path.join(self.path, name + IGNORED)
        with open(aside, "w") as file:
            json.dump(said, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, os.path.join(self.path, name))
        _sync(self.path)

    def _newest_whole(self) -> Optional[Tuple[int, str, Dict[str, Any]]]:
        manifests = self._manifests()
        arrived = 0
        for step, name in manifests:
            try:
                manifest, path = self._verified(name)
            except Damaged as why:
                arrived += not isinstance(why, _Missing)
                self._damaged.add(name)
                self._say_once(name, "checkpoint of step %d is damaged: %s" % (step, why))
            else:
                return step, path, dict(manifest.get("metrics") or {})
        if len(manifests) > 1 and arrived:
            raise CheckpointError(
                "%s holds %d checkpoints and none is whole. Look at them, or set them aside to train from the beginning"
                % (self.path, len(manifests))
            )
        # One alone that is damaged is the first: the kill came before all of it was in S3. So it did where each of
        # several lacks files: uploads of large ones are overtaken by small ones, and what was whole in S3 stays there.
        return None

    def _manifests(self) -> List[Tuple[int, str]]:
        """Return steps and names, newest first: names sort by step and time."""
        matches = map(_MANIFEST.match, sorted(os.listdir(self.path), reverse=True))
        return [(int(match.group(1)), match.group()) for match in matches if match]

    def _verified(self, name: str) -> Tuple[Dict[str, Any], str]:
        """Return a manifest and its data's path."""
        try:
            with open(os.path.join(self.path, name)) as file:
                manifest = json.load(file)
            files = manifest["files"]
            if manifest["v"] > _VERSION:
                raise Damaged("it was written by a newer version of this library (%s)" % manifest["v"])
            expected = {str(each): (int(size), str(digest)) for each, (size, digest) in files.items()}
        except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
            raise Damaged("its manifest %s cannot be read (%s)" % (name, type(error).__name__)) from None
        data = os.path.join(self.path, name[: -len(".json")] + ".data")
        for each, (size, digest) in expected.items():
            path = os.path.join(data, each) if each else data
            if not os.path.isfile(path):
                raise _Missing("%s is missing" % path)
            there = os.path.getsize(path)
            if there != size:
                raise Damaged("%s has %d of %d bytes" % (path, there, size))
            if _digest(path)[1] != digest:
                raise Damaged("%s is not what was written" % path)
        return manifest, data

    def _drop_oldest(self) -> None:
        """Drop what is beyond ``keep``, but for the newest that is in S3, and what is on its way there."""
        self._remove_leftovers()
        if not self._writes:
            # Another host writes. What was restored here is uploaded again if it is deleted there alone, so it goes
            # here too, but late: this host does not see when the new ones are in S3, and until then has S3 delete all.
            if time.monotonic() - (self._first_saved or 0.0) < _THROUGH_AFTER:
                return
            spare = self._restored[max(self.keep - max(self._saves - 1, 0), 0) :]
            self._restored = [name for name in self._restored if name not in spare]
            self._drop(spare)
            return
        manifests = [name for _, name in self._manifests()]
        # Also where the very first is still on its way, or a part of a folder.
        uploads = any(name.endswith(_MARKERS) for name in os.listdir(self.path)) or any(
            map(self._is_on_its_way, manifests)
        )
        # One that is damaged is in nobody's way, and counts for none.
        whole = [name for name in manifests if name not in self._damaged]
        if self._last in whole[self.keep :]:
            # Whatever is there: a training that began again below what was left would keep nothing.
            whole.remove(self._last)
            whole.insert(0, self._last)
            self._say_once("below", "checkpoints of later steps are here, and the next start takes those")
        # What was restored is in S3 for certain.
        stored = [name for name in self._restored if name in whole][:1]
        kept = whole[: self.keep]
        if uploads:
            stored = [name for name in whole if self._is_uploaded(name)][:1] or stored
            # What is on its way stays too: dropped, it would never arrive where saves are faster than uploads.
            newer = whole[: whole.index(stored[0])] if stored else whole
            kept += stored + [name for name in newer if self._is_on_its_way(name)]
        elif time.monotonic() - (self._first_saved or 0.0) < _MARKERS_AFTER:
            kept += stored  # nothing tells yet whether anything newer is there
        self._drop([name for name in manifests if name not in kept])

    def _drop(self, manifests: List[str]) -> None:
        for name in manifests:
            data = os.path.join(self.path, name[: -len(".json")] + ".data")
            # The manifest first: data without one are no checkpoint, one without data is a damaged one.
            for path in (os.path.join(self.path, name), data):
                for each in ("", *_MARKERS):
                    _remove(path + each)

    def _is_uploaded(self, name: str) -> bool:
        return all(os.path.exists(path + UPLOADED) for path in self._paths_of(name))

    def _is_on_its_way(self, name: str) -> bool:
        return any(os.path.exists(path + each) for path in self._paths_of(name) for each in _MARKERS)

    def _paths_of(self, name: str) -> List[str]:
        data = os.path.join(self.path, name[: -len(".json")] + ".data")
        return [os.path.join(self.path, name), *(os.path.join(data, each) if each else data for each in _files(data))]

    def _remove_leftovers(self) -> None:
        """
        Remove what a kill left half done.

        Only beside a save: another process of the script may look into the folder while one writes.
        """
        names = os.listdir(self.path)
        for name in names:
            half = name.endswith(IGNORED) and name.startswith("step-")
            if half or (_DATA.match(name) and name[: -len(".data")] + ".json" not in names):
                _remove(os.path.join(self.path, name))
            elif name.startswith("step-") and name.endswith(_MARKERS) and os.path.splitext(name)[0] not in names:
                _remove(os.path.join(self.path, name))  # its upload was under way when it was dropped

    def _advise(self, save_seconds: float, interval: float) -> None:
        """Log once where the interval between two saves is far from the best."""
        if self._saves < 2 or save_seconds <= 0.05:
            return
        best = math.sqrt(2 * save_seconds * _HOUR)
        if not best / 5 < interval < best * 5:
            self._say_once(
                "advice",
                "a save takes %.1f s and comes every %.0f s; with an interruption an hour, every %.0f s loses least"
                % (save_seconds, interval, best),
            )

    def _note_sigterm(self, number: int, frame: Any) -> None:
        if os.getpid() != self._process:
            # A forked worker has this handler too. One that only notes SIGTERM never ends: Pool.terminate() would hang.
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        self.stopping = True

    def _say(self, line: str) -> None:
        if self._writes:
            self._tell("airflow_spot.checkpoint: " + line)

    def _say_once(self, key: str, line: str) -> None:
        if key not in self._told:
            self._told.add(key)
            self._say(line)


def _roles(environ: Mapping[str, str]) -> Tuple[bool, bool]:
    """Return whether this process writes the checkpoints, and whether it cleans up on its host."""
    for name, local in _RANKS:
        if environ.get(name, "").isdigit():
            rank = int(environ[name])
            return rank == 0, rank == 0 or environ.get(local, "0") == "0"
    if environ.get("LOCAL_RANK", "0") != "0":
        return False, False  # Lightning starts its processes so, and they share the folder of their host
    try:
        hosts = json.loads(environ.get("SM_HOSTS") or "[]")
    except ValueError:
        hosts = []
    here = environ.get("SM_CURRENT_HOST")
    return not hosts or here is None or here == min(hosts, key=natural), True


def natural(host: str) -> Tuple[int, str]:
    """Return what a host is sorted by: ``algo-2`` comes before ``algo-10``. The first writes."""
    number = re.search(r"(\d+)$", host)
    return (int(number.group(1)) if number else 0, host)


def _files(path: str) -> Iterator[str]:
    """Name the files below a folder, relative to it; the empty name for a file itself."""
    if not os.path.isdir(path):
        yield ""
        return
    for folder, folders, names in os.walk(path):
        folders.sort()
        for name in sorted(names):
            if not name.endswith((UPLOADED, IGNORED, UPLOADING)):
                yield os.path.relpath(os.path.join(folder, name), path).replace(os.sep, "/")


def _digest(path: str) -> Tuple[int, str]:
    """Return a file's size and the SHA-256 of its content."""
    made, size = hashlib.sha256(), 0
    with open(path, "rb") as file:
        for chunk in iter(lambda: file.read(_CHUNK), b""):
            made.update(chunk)
            size += len(chunk)
    return size, made.hexdigest()


def _beside(aside: str) -> List[str]:
    """Name what was written at a path, and what has its name with an ending: some writers add their own."""
    folder, start = os.path.split(aside)
    return [name for name in os.listdir(folder) if name.startswith(start)]


def _check_written(aside: str) -> None:
    """
    Look at what ``write`` made.

    :raises CheckpointError: it is nothing that comes back from S3 as it is.
    """
    if not os.path.exists(aside):
        other = [name[len(os.path.basename(aside)) :] for name in _beside(aside)]
        raise CheckpointError(
            "write() wrote nothing at the path that it was given: %s%s"
            % (aside, ", but added %r to it: give it an open file, or write into a folder" % other[0] if other else "")
        )
    links = [path for path in _paths(aside) if os.path.islink(path)]
    if links:
        raise CheckpointError("write() made a symbolic link, and S3 has none: %s" % links[0])
    if os.path.isdir(aside) and not list(_files(aside)):
        raise CheckpointError("write() made a folder without a file, and S3 has none such: %s" % aside)


def _remove_markers(aside: str) -> None:
    """Remove markers of SageMaker that came with a copy from the checkpoint folder: of this nothing is in S3 yet."""
    for path in list(_paths(aside)):
        if path.endswith(_MARKERS):
            _remove(path)


def _paths(path: str) -> Iterator[str]:
    yield path
    for folder, folders, names in os.walk(path):
        for name in (*folders, *names):
            yield os.path.join(folder, name)


def _end() -> None:
    """End the process as SIGTERM does, also where a thread has saved: SystemExit would end that thread alone."""
    if threading.current_thread() is threading.main_thread():
        sys.exit(SIGTERM_EXIT_CODE)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(SIGTERM_EXIT_CODE)


def _sync(path: str) -> None:
    """Flush a file, or a folder's names, to the disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    except OSError:
        pass  # some file systems have no fsync of folders
    finally:
        os.close(number)


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)
    elif os.path.lexists(path):
        os.remove(path)


def _is_number(value: Any) -> bool:
    try:
        return math.isfinite(float(value))
    except (TypeError, ValueError, OverflowError, RuntimeError):  # RuntimeError: a tensor of several numbers
        return False


def _size_of(files: Mapping[str, Tuple[int, str]]) -> str:
    amount = float(sum(size for size, _ in files.values()))
    for unit in ("B", "kB", "MB"):
        if amount < 1000:
            return "%.0f %s" % (amount, unit)
        amount /= 1000
    return "%.1f GB" % amount
