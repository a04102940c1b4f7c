"""A task's links to its job, which are of no weight beside the job."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from airflow_spot.compat.xcoms import timeouts_wait
from airflow_spot.core.events import AttemptAttached, AttemptCreated, AttemptFound, Event, JobStopped
from airflow_spot.links import console
from airflow_spot.links.training import (
    SageMakerCheckpointsLink,
    SageMakerModelLink,
    SageMakerTrainingJobLink,
    SageMakerTrainingLogsLink,
    SpotTimelineLink,
)

if TYPE_CHECKING:
    from airflow_spot.compat.sdk import Context
    from airflow_spot.core.attempt import Attempt


class TaskLinks:
    """
    Keeps a task's links: to its newest attempt, its model, its page.

    Nothing here raises: the job exists by then. What is asked of the connection for them may fail, and the XCom may
    not be taken.
    """

    def __init__(self, operator: Any, context: Context) -> None:
        self._operator = operator
        self._ti: Any = context.get("ti")
        self._found: Attempt | None = None

    def begin(self) -> None:
        """Keep the link to the run's page, at the start of a try."""
        self._bear("its page", lambda: SpotTimelineLink.keep_own(self._ti))

    def observe(self, event: Event) -> None:
        """Point the links to the newest attempt: found, created or attached to."""
        if isinstance(event, AttemptFound):
            self._found = event.attempt  # one of up to ten: only the last of them is worth the calls
            return
        if isinstance(event, JobStopped):
            return  # it may be told in a signal handler, which came in the middle of another write
        newest = event.attempt if isinstance(event, (AttemptCreated, AttemptAttached)) else self._found
        self._found = None
        if newest is not None:
            self._bear(f"training job {newest.job_name}", lambda: self._keep_attempt(newest))

    def model(self, job_name: str, uri: str | None) -> None:
        """Point a link to the model of the job that completed."""
        if uri:
            self._bear(
                f"the model of training job {job_name}",
                lambda: self._keep(SageMakerModelLink, console.object_url(self._place, str(uri), job_name)),
            )

    @property
    def _place(self) -> console.Place:
        hook = self._operator.hook
        return console.Place(hook.conn_region_name, hook.conn_partition, hook.endpoint_url)

    def _keep_attempt(self, attempt: Attempt) -> None:
        place, name, uri = self._place, attempt.job_name, attempt.checkpoint_s3_uri
        self._keep(SageMakerTrainingJobLink, console.job_url(place, name))
        self._keep(SageMakerTrainingLogsLink, console.logs_url(place, name))
        if uri:
            self._keep(SageMakerCheckpointsLink, console.folder_url(place, uri, name))

    def _keep(self, kind: Any, url: str) -> None:
        if url:
            kind.keep(self._ti, url)

    def _bear(self, what: str, keep: Callable[[], None]) -> None:
        try:
            with timeouts_wait():
                keep()
        except Exception as error:
            self._operator.log.warning("Could not set the task's links to %s: %s", what, error)
