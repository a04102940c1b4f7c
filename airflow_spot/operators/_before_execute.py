"""What happens to a task while its code does not hear of it: a kill or a template's error before, a mark meanwhile."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NoReturn

from airflow_spot.aws.retrying import is_transient
from airflow_spot.compat.task_states import state_in_task
from airflow_spot.core.orphans import OVER
from airflow_spot.core.sentences import sentences
from airflow_spot.core.stop_reasons import StopReason
from airflow_spot.core.templates import plain_copy
from airflow_spot.errors import RenderError, RunKilledError

if TYPE_CHECKING:
    from airflow.sdk.bases.operator import BaseOperator as _Base

    from airflow_spot.core.identity import RunIdentity
    from airflow_spot.runs.controller import TrainingRun
    from airflow_spot.runs.startup import StartupGuard
else:
    _Base = object


class BeforeExecute(_Base):
    """
    Keeps what came before ``execute`` or a resume, which has no run yet that could answer for a live job.

    Airflow tells a task of a signal from the moment that its process has begun, and renders its templates before it
    runs it. A Variable that was deleted meanwhile would fail the task, and nobody would wait for the job.
    """

    _killed = False
    _render_error: RenderError | None = None
    #: The config's file lies in S3, which did not answer.
    _unread = False
    config: Any
    _rendered_config: Any = None
    _run: StartupGuard | TrainingRun | None

    def _read_config_file(self) -> None:
        """Put what a JSON file holds in place of its name."""

    def _read_config_again(self) -> None:
        if self._unread:
            self._read_config_file()
            self._unread, self._rendered_config = False, plain_copy(self.config)

    def defer(self, **how: Any) -> NoReturn:
        """
        Go on in the triggerer, unless a user has ended the task while it got so far: then its jobs are stopped.

        A worker looks for such a mark every five seconds only. Airflow 3 refuses a deferral after it, when the task's
        code is over, so that neither a worker nor a trigger would be left to stop the job; Airflow 2 forgets the mark.

        :raises RunKilledError: the task was ended.
        """
        run: Any = self._run
        try:
            state = _state(run.plan.run)
        except BaseException:  # Airflow's timeout, and on Airflow 2 its kill
            run.stop_and_wait(StopReason.KILLED if self._killed else StopReason.TIMEOUT)
            raise
        if state in OVER:
            disposition = run.stopping.stop_and_wait(StopReason.KILLED)
            raise RunKilledError(sentences(f"The task was marked {state} before it began to wait", disposition))
        super().defer(**how)

    def _do_render_template_fields(
        self, parent: Any, template_fields: Iterable[str], *args: Any, **kwargs: Any
    ) -> None:
        # What a DAG file does not load is loaded here, before Airflow counts the task's time: a timeout in the middle
        # of an import would end the task with nothing that answers for its job.
        import airflow_spot.operators._task_try  # noqa: F401

        # One by one: the connection's fields are needed to deal with the error of another one.
        for field in template_fields:
            try:
                super()._do_render_template_fields(parent, (field,), *args, **kwargs)
            except Exception as error:
                if parent is not self:  # a field within a field of ours
                    raise
                self._render_error = self._render_error or RenderError(field, error)
        if parent is self:
            named = getattr(self, "config", None)
            try:
                self._read_config_file()
            except Exception as error:
                self._unread = is_transient(error)  # then it is read once calls that fail in passing are repeated
                if not self._unread:
                    self._render_error = self._render_error or RenderError("config", error, f"{named} cannot be read")
            self._rendered_config = plain_copy(getattr(self, "config", None))


def _state(run: RunIdentity) -> str | None:
    """Return the state of a run's task; None also where nobody says."""
    try:
        return state_in_task(run).state
    except Exception:
        return None
