"""Restarts a serving process whenever it has ended."""

from __future__ import annotations

import logging
import threading

from airflow_spot.local.errors import JobError
from airflow_spot.local.serving.model_server import ModelServer

log = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 30.0


class Supervisor:
    """Restarts one server after each end of its process, on a thread of its own, until it is closed.

    How often that is needed does not matter [A]. The pause before each start doubles, up to the longest, as long as
    the process ends before it has answered a ping; one that has answered has the first pause again.

    :param server: that has been started, with :meth:`ended` as what is called at its end.
    :param name: for the log.
    :param startup_seconds: how long it has until its first answer to a ping, in service time.
    """

    def __init__(self, server: ModelServer, name: str, startup_seconds: float) -> None:
        self._server = server
        self._name = name
        self._startup_seconds = startup_seconds
        self._changed = threading.Event()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._supervise, name=f"supervisor-{name}", daemon=True)

    def ended(self) -> None:
        """Notice that the process has ended. Does not wait."""
        self._changed.set()

    def begin(self) -> None:
        """Supervise the server from now on. Called once; only the supervisor starts it then."""
        self._thread.start()

    def cancel(self) -> None:
        """Stop it soon. Does not wait, and may be called again."""
        self._closed.set()
        self._changed.set()

    def close(self) -> None:
        """Stop, and wait for it: it calls the server no more. May be called again, and before :meth:`begin`."""
        self.cancel()
        if self._thread.is_alive():
            self._thread.join()

    def _supervise(self) -> None:
        pause, healthy = FIRST_PAUSE_SECONDS, True
        while not self._closed.is_set():
            if healthy and self._server.poll() is None:
                self._changed.wait()
                self._changed.clear()
                continue
            log.warning("%s is down (exit code %s); it restarts in %s s", self._name, self._server.poll(), pause)
            if self._closed.wait(pause):
                return
            healthy = self._restart()
            pause = FIRST_PAUSE_SECONDS if healthy else min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _restart(self) -> bool:
        """Start the server's process; return whether it answers."""
        try:
            self._server.restart(self.ended)
            return self._server.await_ping(self._startup_seconds, self._closed)
        except JobError as error:
            log.warning("%s: %s", self._name, error)
        except Exception:
            log.exception("%s", self._name)
        return False
