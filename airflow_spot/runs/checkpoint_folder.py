"""Where a generation keeps its checkpoints: where its newest attempt does, whatever the configuration renders to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_spot.aws.checkpoint_store import measure
from airflow_spot.aws.retrying import summarize_error
from airflow_spot.core.history import History
from airflow_spot.core.plan import Plan
from airflow_spot.core.service_errors import SeenFolder
from airflow_spot.observers import Log

if TYPE_CHECKING:
    from airflow_spot.hooks.training import SageMakerSpotTrainingHook

#: How many lists of a thousand objects are asked for to say how large a folder is.
PAGES = 5


class CheckpointFolder:
    """The one truth of a run's checkpoint folder; warns once where the configuration names another, or none."""

    def __init__(self, plan: Plan, log: Log) -> None:
        self._plan = plan
        self._log = log
        self._checked = False

    def of(self, history: History) -> str | None:
        """
        Return the folder of a generation's next attempt, an S3 URI; None where SageMaker is to keep no checkpoints.

        Of a generation that has none yet, it is the configuration's.
        """
        configured = self._plan.checkpoint_s3_uri(history.generation)
        return configured and (history.checkpoint_s3_uri or configured)

    def kept(self, history: History) -> str:
        """Return where checkpoints of a generation are, for people; empty where SageMaker keeps none."""
        newest = history.live or history.last
        if newest is not None and newest.whole:
            return newest.checkpoint_s3_uri
        return history.checkpoint_s3_uri or self._plan.checkpoint_s3_uri(history.generation) or ""

    def check(self, history: History) -> str | None:
        """Return the folder, and warn, once, where the configuration now names another, or no longer the same."""
        folder, configured = self.of(history), self._plan.checkpoint_s3_uri(history.generation)
        before = history.checkpoint_s3_uri
        if self._checked:
            return folder
        if folder is None and before:
            self._checked = True
            self._log.warning(
                "use_checkpoints=False: what earlier training jobs of this run kept in %s stays there, and is not "
                "restored",
                before,
            )
        elif folder is not None and folder != configured:
            self._checked = True
            self._log.warning(
                "checkpoint_s3_uri (or S3OutputPath) now renders to %s; this run keeps its checkpoints in %s, where "
                "its earlier training jobs wrote them",
                configured,
                folder,
            )
        return folder


def look_into(hook: SageMakerSpotTrainingHook, uri: str) -> SeenFolder:
    """
    Return how large a checkpoint folder is. It fails nothing: what could not be seen says so.

    :param uri: an S3 URI; empty where SageMaker keeps no checkpoints.
    """
    if not uri:
        return SeenFolder("")
    try:
        found = measure(hook.s3_hook.get_conn(), uri, PAGES)
    except Exception as error:
        return SeenFolder(uri, problem=summarize_error(error))
    return SeenFolder(uri, 0) if found is None else SeenFolder(uri, found.objects, found.bytes, found.more)
