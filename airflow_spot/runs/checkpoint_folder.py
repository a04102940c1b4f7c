"""Where a generation keeps its checkpoints: where its newest attempt does, whatever the configuration renders to."""

from __future__ import annotations

from airflow_spot.core.history import History
from airflow_spot.core.plan import Plan
from airflow_spot.observers import Log


class CheckpointFolder:
    """The one truth of a run's checkpoint folder; warns once where the configuration names another."""

    def __init__(self, plan: Plan, log: Log) -> None:
        self._plan = plan
        self._log = log
        self._checked = False

    def of(self, history: History) -> str:
        """Return the folder of a generation, an S3 URI; of one that has no job yet, the configuration's."""
        return history.checkpoint_s3_uri or self._plan.checkpoint_s3_uri(history.generation)

    def check(self, history: History) -> str:
        """Return the folder, and warn, once, where the configuration now names another."""
        folder, configured = self.of(history), self._plan.checkpoint_s3_uri(history.generation)
        if folder != configured and not self._checked:
            self._checked = True
            self._log.warning(
                "checkpoint_s3_uri (or S3OutputPath) now renders to %s; this run keeps its checkpoints in %s, where "
                "its earlier training jobs wrote them",
                configured,
                folder,
            )
        return folder
